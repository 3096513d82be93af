package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/admin"
	"github.com/isantarget/isantarget/provision"
)

// A host is the daemon of this host, and what it stands on.
type host struct {
	admin.Status
	socket string
	pid    int // of the daemon; 0: it is not known
	limits string
	now    time.Time
	// statfs asks for the file system of a path: its type and free bytes.
	statfs func(path string) (kind int64, free uint64, err error)
}

// hostCheck is a row about the host: what it looks at is no examination.
type hostCheck struct {
	Check
	look func(*host) (string, error)
}

// HostChecks are the checks of the daemon and its host, in their order.
func HostChecks() []Check {
	var all []Check
	for _, c := range hostChecks() {
		all = append(all, c.Check)
	}
	return all
}

func hostChecks() []hostCheck {
	row := func(id string, look func(*host) (string, error), title, breaks, remedy string) hostCheck {
		return hostCheck{Check{ID: id, For: []Consumer{Host}, Title: title, Breaks: breaks, Remedy: remedy}, look}
	}
	return []hostCheck{
		row("configuration", lookConfiguration, "the configuration has no warnings", "what the warning says", "change what it names, and run isantarget reload"),
		row("luns-ready", lookReady, "every LUN is ready, and nothing breaks it on purpose", "its initiators get errors", "isantarget lun list, lun recover, lun fault clear"),
		row("luns-mapped", lookMapped, "every target has a LUN", "initiators log in and see no disk", "isantarget lun map LUN --target IQN"),
		row("space", lookSpace, "the file systems of the images have the space that was promised", "writes fail with SPACE ALLOCATION FAILED once it is used up: virtual machines pause, file systems go read only",
			"make room, or LUNs smaller; isantarget store list"),
		row("image-file-system", lookFileSystem, "images lie on a local file system that outlives a restart, and gives unmapped space back",
			"a restart loses the disks (tmpfs), or flushes, locks and UNMAP do not do what they say (network file systems, FAT)", "put images on ext4, XFS or btrfs, or serve a block device"),
		row("state-space", lookState, "the state directory has space, and is for the daemon alone", "reservations and objects cannot be recorded: registrations with APTPL are refused; or others read what is in it",
			"make room there; chmod 700"),
		row("open-files", lookOpenFiles, "the daemon may open many more files than its LUNs and sessions need", "initiators cannot connect (too many open files)", "LimitNOFILE=65536 in the unit, or ulimit -n"),
		row("clock", lookClock, "the clock is set", "times in logs and events are of no use; certificates are not valid yet", "run an NTP client"),
		row("access", lookAccess, "who shall use a target from elsewhere is admitted", "hosts are refused at login", "isantarget initiator create NAME --target IQN --initiator IQN"),
		row("sessions", lookSessions, "a host has one name, and a name one host", "reservations of two hosts are taken for one: a fenced host writes on", "give each host an initiator name of its own (/etc/iscsi/initiatorname.iscsi)"),
	}
}

// ExamineHost examines the daemon that answers at socket: the host it runs on, then every
// target of it through its first portal. The error says why nothing could be examined.
func ExamineHost(ctx context.Context, socket string, o Options) (*Report, error) {
	client := admin.NewClient(socket)
	defer client.Close()
	status, err := client.Status(ctx)
	if err != nil {
		return nil, err
	}
	h := &host{Status: status, socket: socket, pid: processAt(socket), now: time.Now(), statfs: statfs}
	if h.pid != 0 {
		limits, _ := os.ReadFile(fmt.Sprintf("/proc/%d/limits", h.pid)) // unreadable: not known
		h.limits = string(limits)
	}
	r := &Report{Examinations: []Examination{{Subject: socket, Findings: h.examine()}}, Left: []string{}}
	for _, t := range status.Targets {
		place := Place{Target: t.Name, LUN: AnyLUN}
		if len(t.Portals) == 0 {
			r.add(place, []Finding{unreached("the target has no portal")})
			continue
		}
		place.Portal = dialable(t.Portals[0].Address)
		one, err := Examine(ctx, place, o)
		if one != nil {
			r.Examinations, r.Left = append(r.Examinations, one.Examinations...), append(r.Left, one.Left...)
		}
		if ctx.Err() != nil {
			return r, ctx.Err()
		}
		if err != nil {
			r.add(place, []Finding{unreached(err.Error())})
		}
	}
	return r, nil
}

// unreached is why a target of the daemon was not examined: its rules may be right to keep us out.
func unreached(why string) Finding {
	return Finding{Check: "login", For: []Consumer{Everybody}, Title: "the target lets the doctor in", Verdict: NotChecked, Found: printable(why)}
}

func (h *host) examine() []Finding {
	findings := []Finding{}
	for _, c := range hostChecks() {
		findings = append(findings, c.finding(c.look(h)))
	}
	return findings
}

// dialable is the address by which this host reaches a portal that may listen on all of them.
func dialable(portal string) string {
	name, port, err := net.SplitHostPort(portal)
	if err != nil {
		return portal
	}
	switch addr, err := netip.ParseAddr(name); {
	case name == "" || err == nil && addr == netip.IPv4Unspecified():
		name = "127.0.0.1"
	case err == nil && addr == netip.IPv6Unspecified():
		name = "::1"
	}
	return net.JoinHostPort(name, port)
}

// processAt is the process that listens at a socket; 0: nobody knows.
func processAt(socket string) int {
	conn, err := net.DialTimeout("unix", socket, 5*time.Second)
	if err != nil {
		return 0
	}
	defer conn.Close()
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0
	}
	pid := 0
	_ = raw.Control(func(fd uintptr) {
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			pid = int(cred.Pid)
		}
	})
	return pid
}

func statfs(path string) (kind int64, free uint64, err error) {
	var s unix.Statfs_t
	err = unix.Statfs(path, &s)
	return int64(s.Type), s.Bavail * uint64(s.Bsize), err
}

func lookConfiguration(h *host) (string, error) {
	if len(h.Warnings) > 0 {
		return "", errors.New(strings.Join(h.Warnings, "; "))
	}
	return "isantarget " + h.Version, nil
}

func lookReady(h *host) (string, error) {
	var wrong []string
	for _, l := range h.LUNs {
		if l.NotReady != "" {
			wrong = append(wrong, fmt.Sprintf("LUN %s: %s", l.Name, l.NotReady))
		}
		for _, alert := range l.Alerts {
			wrong = append(wrong, fmt.Sprintf("LUN %s: %s", l.Name, alert))
		}
		if len(l.Faults) > 0 {
			wrong = append(wrong, fmt.Sprintf("LUN %s is broken on purpose: %s", l.Name, strings.Join(l.Faults, ", ")))
		}
	}
	if len(wrong) > 0 {
		return "", errors.New(strings.Join(wrong, "; "))
	}
	return fmt.Sprintf("%d LUNs", len(h.LUNs)), nil
}

func lookMapped(h *host) (string, error) {
	for _, t := range h.Targets {
		if len(t.LUNs) == 0 {
			return "", fmt.Errorf("%s has none", t.Name)
		}
		if _, ok := t.LUNs[0]; !ok {
			return "", fmt.Errorf("%s has no LUN 0: hosts that look only there see nothing", t.Name)
		}
	}
	return fmt.Sprintf("%d targets", len(h.Targets)), nil
}

func lookSpace(h *host) (string, error) {
	var wrong, seen []string
	for _, s := range h.Stores {
		f := s.FileSystem
		switch {
		case s.Unknown != "":
			wrong = append(wrong, fmt.Sprintf("%s: %s", s.Path, s.Unknown))
			continue
		case f.Owed > f.Available && s.Overcommit != "allow":
			wrong = append(wrong, fmt.Sprintf("%s: %s are promised and not taken yet, %s are available", s.Path, humanize.IBytes(uint64(f.Owed)), humanize.IBytes(uint64(max(f.Available, 0)))))
		case f.Capacity > 0 && f.Available < f.Capacity/50:
			wrong = append(wrong, fmt.Sprintf("%s: %s of %s are available", s.Path, humanize.IBytes(uint64(max(f.Available, 0))), humanize.IBytes(uint64(f.Capacity))))
		default:
			seen = append(seen, fmt.Sprintf("%s: %s available", s.Path, humanize.IBytes(uint64(f.Available))))
		}
		for _, condition := range s.Conditions {
			wrong = append(wrong, fmt.Sprintf("%s: %s", s.Path, condition))
		}
	}
	if len(wrong) > 0 {
		return "", errors.New(strings.Join(wrong, "; "))
	}
	return strings.Join(seen, "; "), nil
}

// fileSystems are those that are no place for images, by their magic number (linux/magic.h), and why.
func fileSystems() map[int64]string {
	return map[int64]string{
		unix.TMPFS_MAGIC: "a tmpfs: a restart loses it", unix.RAMFS_MAGIC: "a ramfs: a restart loses it",
		unix.NFS_SUPER_MAGIC: "NFS", unix.SMB_SUPER_MAGIC: "SMB", unix.SMB2_SUPER_MAGIC: "SMB", unix.CIFS_SUPER_MAGIC: "SMB",
		unix.FUSE_SUPER_MAGIC: "a FUSE file system", unix.V9FS_MAGIC: "9P", unix.MSDOS_SUPER_MAGIC: "FAT: no holes, no file above 4 GiB",
		unix.OVERLAYFS_SUPER_MAGIC: "the writable layer of a container: it goes with the container",
	}
}

func lookFileSystem(h *host) (string, error) {
	var wrong []string
	n := 0
	for _, l := range h.LUNs {
		if l.Path == "" || l.Kind != "file" {
			continue
		}
		kind, _, err := h.statfs(filepath.Dir(l.Path))
		if err != nil {
			wrong = append(wrong, fmt.Sprintf("LUN %s: %v", l.Name, err))
		} else if why := fileSystems()[kind]; why != "" {
			wrong = append(wrong, fmt.Sprintf("LUN %s is on %s", l.Name, why))
		}
		n++
	}
	if len(wrong) > 0 {
		return "", errors.New(strings.Join(wrong, "; "))
	}
	return fmt.Sprintf("%d images", n), nil
}

func lookState(h *host) (string, error) {
	const least = 16 << 20
	dir := filepath.Dir(h.socket)
	_, free, err := h.statfs(dir)
	if err != nil {
		return "", err
	}
	if free < least {
		return "", fmt.Errorf("%s has %s left", dir, humanize.IBytes(free))
	}
	info, err := os.Stat(dir)
	if err != nil {
		return "", err
	}
	if mode := info.Mode().Perm(); mode&0o007 != 0 {
		return "", fmt.Errorf("%s is open to everybody (mode %04o)", dir, mode)
	}
	return fmt.Sprintf("%s has %s", dir, humanize.IBytes(free)), nil
}

func lookOpenFiles(h *host) (string, error) {
	for line := range strings.Lines(h.limits) {
		rest, ok := strings.CutPrefix(line, "Max open files")
		if !ok {
			continue
		}
		fields := strings.Fields(rest)
		if len(fields) > 0 && fields[0] == "unlimited" {
			return "unlimited", nil
		}
		limit := 0
		if len(fields) > 0 {
			limit, _ = strconv.Atoi(fields[0])
		}
		need := 64 + 4*len(h.LUNs) + 4*len(h.Sessions)
		if limit < 2*need {
			return "", fmt.Errorf("%d at most, with %d LUNs and %d sessions", limit, len(h.LUNs), len(h.Sessions))
		}
		return fmt.Sprintf("%d at most", limit), nil
	}
	return "", notChecked("the limits of the daemon cannot be read; run this as its user")
}

// built is before any copy of this program was.
func built() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }

func lookClock(h *host) (string, error) {
	if h.now.Before(built()) {
		return "", fmt.Errorf("it says %s", h.now.UTC().Format(time.DateTime))
	}
	var state unix.Timex
	if status, err := unix.Adjtimex(&state); err == nil && status == unix.TIME_ERROR {
		return "set, but not kept by an NTP client", nil
	}
	return "set, and kept", nil
}

func lookAccess(h *host) (string, error) {
	var wrong, words []string
	for _, t := range h.Targets {
		elsewhere := slices.ContainsFunc(t.Portals, func(p provision.PortalStatus) bool {
			name, _, _ := net.SplitHostPort(p.Address)
			addr, err := netip.ParseAddr(name)
			return err != nil || !addr.IsLoopback()
		})
		switch {
		case t.Rules == 0 && t.Access == "":
			wrong = append(wrong, t.Name+" admits nobody")
		case t.Rules == 0 && t.Access == "loopback" && elsewhere:
			wrong = append(wrong, t.Name+" listens to the network, and admits only this host")
		case t.Access == "open":
			words = append(words, t.Name+" is open to everybody who reaches its port")
		}
	}
	if len(wrong) > 0 {
		return "", errors.New(strings.Join(wrong, "; "))
	}
	return strings.Join(words, "; "), nil
}

func lookSessions(h *host) (string, error) {
	from := map[string]string{}
	for _, s := range h.Sessions {
		if s.Target == "" || len(s.Connections) == 0 {
			continue
		}
		address, _, _ := net.SplitHostPort(s.Connections[0].From)
		key := s.Initiator + " " + s.Target + " " + strconv.Itoa(s.PortalGroup)
		if other, ok := from[key]; ok && other != address {
			return "", fmt.Errorf("%s is logged in to %s from %s and from %s", s.Initiator, s.Target, other, address)
		}
		from[key] = address
	}
	return fmt.Sprintf("%d sessions", len(h.Sessions)), nil
}
