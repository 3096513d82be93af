package migration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gostor/gotgt/pkg/config"

	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/test/daemon"
	"github.com/isantarget/isantarget/test/peer"
)

func TestMain(m *testing.M) { os.Exit(daemon.Main(m)) }

const (
	host     = "iqn.1993-08.org.debian:01:host-a"
	patience = 2 * time.Minute
	diskSize = 8 << 20
)

// A disk is a LUN of a target, and how to log in to it.
type disk struct {
	target string
	lun    uint8
	chap   *initiator.CHAP
}

// A look is what an initiator sees of a disk.
type look struct {
	name   string // that by which udev's scsi_id would know it
	serial string // VPD 80h
	t10    string // of VPD 83h
	said   string // vendor, product and revision
	data   string // of block 1
}

// login logs in and hears the unit attentions.
func login(t *testing.T, address string, d disk) *initiator.Connection {
	t.Helper()
	c, err := initiator.Dial(address, initiator.Options{Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	l := initiator.Login{InitiatorName: host, TargetName: d.target, SessionType: "Normal"}
	if d.chap != nil {
		chap := *d.chap
		l.CHAP = &chap
	}
	if err := c.Login(l); err != nil {
		t.Fatalf("%s: %v", d.target, err)
	}
	for range 8 {
		r, err := c.Execute(initiator.Command{LUN: initiator.LUN(d.lun), CDB: make([]byte, 6)})
		if err != nil {
			t.Fatal(err)
		}
		if r.Status == 0 {
			return c
		}
	}
	t.Fatalf("%s: LUN %d does not get ready", d.target, d.lun)
	return nil
}

// do executes a command that has to end well.
func do(t *testing.T, c *initiator.Connection, cmd initiator.Command) []byte {
	t.Helper()
	r, err := c.Execute(cmd)
	if err != nil || r.Status != 0 {
		t.Fatalf("%x: %v %+v", cmd.CDB, err, r)
	}
	return r.Data
}

// observe looks at a disk as an initiator does that has to find it again.
func observe(t *testing.T, address string, d disk) look {
	t.Helper()
	c := login(t, address, d)
	defer c.Close()
	inquire := func(evpd, page byte) []byte {
		return do(t, c, initiator.Command{LUN: initiator.LUN(d.lun), CDB: []byte{0x12, evpd, page, 0, 252, 0}, Read: 252})
	}
	l := look{said: string(inquire(0, 0)[8:36]), serial: strings.Trim(string(inquire(1, 0x80)[4:]), " \x00")}
	names := map[string]string{}
	for b := inquire(1, 0x83)[4:]; len(b) >= 4 && len(b) >= 4+int(b[3]); b = b[4+int(b[3]):] {
		value := b[4 : 4+int(b[3])]
		switch kind := b[1] & 0x3f; {
		case kind == 3 && len(value) > 0:
			names[fmt.Sprintf("NAA %x", value[0]>>4)] = fmt.Sprintf("3%x", value)
		case kind == 2:
			names["EUI-64"] = fmt.Sprintf("2%x", value)
		case kind == 1:
			l.t10 = strings.TrimRight(string(value), "\x00")
			names["T10"] = "1" + l.t10
		}
	}
	for _, kind := range []string{"NAA 6", "NAA 5", "NAA 2", "NAA 3", "EUI-64", "T10"} { // in the order of scsi_id
		if l.name == "" {
			l.name = names[kind]
		}
	}
	l.data = string(do(t, c, initiator.Command{LUN: initiator.LUN(d.lun), CDB: []byte{0x28, 0, 0, 0, 0, 1, 0, 0, 1, 0}, Read: 512}))
	return l
}

// mark writes into block 1 of a disk which one it is.
func mark(t *testing.T, address string, d disk) {
	t.Helper()
	c := login(t, address, d)
	defer c.Close()
	data := bytes.Repeat(fmt.Appendf(nil, "%-64.64s", fmt.Sprint(d.target, " ", d.lun)), 8)
	do(t, c, initiator.Command{LUN: initiator.LUN(d.lun), CDB: []byte{0x2a, 0, 0, 0, 0, 1, 0, 0, 1, 0}, Write: data})
	do(t, c, initiator.Command{LUN: initiator.LUN(d.lun), CDB: []byte{0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0}})
}

// start runs another target in the foreground until stop is called.
func start(t *testing.T, address, program string, args ...string) (stop func()) {
	t.Helper()
	var said bytes.Buffer
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		cmd.Wait()
		close(ended)
	}()
	stop = func() {
		cmd.Process.Kill()
		<-ended
	}
	t.Cleanup(stop)
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if c, err := net.Dial("tcp", address); err == nil {
			c.Close()
			return stop
		}
		select {
		case <-ended:
			t.Fatalf("%s has ended: %s", program, said.String())
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not listen on %s", program, address)
		}
	}
}

// output runs a program that has to end well.
func output(t *testing.T, program string, args ...string) string {
	t.Helper()
	out, _ := both(t, program, args...)
	return out
}

// both is output, and what the program has said on standard error.
func both(t *testing.T, program string, args ...string) (out, told string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*patience) // some build
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	var said bytes.Buffer
	cmd.Stderr = &said
	printed, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, said.String())
	}
	return string(printed), said.String()
}

// move imports a configuration and serves it: where it says listen by default, on address.
// It gives what is told of it.
func move(t *testing.T, name, text, address string, args ...string) (told string) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	made, told := both(t, daemon.Client(), append(append([]string{"import", "--check"}, args...), file)...)
	made = strings.Replace(made, `":3260"`, fmt.Sprintf("%q", address), 1)
	toml := filepath.Join(dir, "isantarget.toml")
	if err := os.WriteFile(toml, fmt.Appendf(nil, "state = %q\n%s", filepath.Join(dir, "state"), made), 0o600); err != nil {
		t.Fatal(err)
	}
	daemon.Start(t, daemon.Config{File: toml})
	return told
}

// images are the images of n new disks.
func images(t *testing.T, n int) []string {
	var all []string
	for i := range n {
		all = append(all, daemon.Image(t, fmt.Sprintf("disk%d.img", i), diskSize))
	}
	return all
}

// TestTGT: what tgtadm shows of disks with names of tgt's own, and of a user's; and what
// tgt-admin --dump prints, which tells only those of its own.
func TestTGT(t *testing.T) {
	peer.Need(t, "tgt")
	for _, dump := range []bool{false, true} {
		t.Run(map[bool]string{false: "show", true: "dump"}[dump], func(t *testing.T) { moveTGT(t, dump) })
	}
}

func moveTGT(t *testing.T, dump bool) {
	port := daemon.FreePort(t)
	address, control := fmt.Sprintf("127.0.0.1:%d", port), fmt.Sprint(1000+port%20000)
	image := images(t, 3)
	stop := start(t, address, "tgtd", "--foreground", "--control-port", control, "--iscsi", "portal="+address)
	admin := func(args ...string) string {
		return output(t, "tgtadm", append([]string{"--control-port", control, "--lld", "iscsi"}, args...)...)
	}
	const one, two = "iqn.2026-11.org.example:one", "iqn.2026-11.org.example:two"
	admin("--op", "new", "--mode", "target", "--tid", "1", "--targetname", one)
	admin("--op", "new", "--mode", "target", "--tid", "2", "--targetname", two)
	admin("--op", "new", "--mode", "logicalunit", "--tid", "1", "--lun", "1", "--backing-store", image[0])
	admin("--op", "new", "--mode", "logicalunit", "--tid", "1", "--lun", "2", "--backing-store", image[1])
	admin("--op", "new", "--mode", "logicalunit", "--tid", "2", "--lun", "1", "--backing-store", image[2])
	if !dump {
		admin("--op", "update", "--mode", "logicalunit", "--tid", "1", "--lun", "2", "--params", "scsi_id=ACME    0123456789abcdef,scsi_sn=MYSN2")
	}
	admin("--op", "bind", "--mode", "target", "--tid", "1", "--initiator-address", "127.0.0.1")
	admin("--op", "bind", "--mode", "target", "--tid", "1", "--initiator-name", host)
	admin("--op", "bind", "--mode", "target", "--tid", "2", "--initiator-address", "ALL")
	const secret = "secret-of-joe"
	admin("--op", "new", "--mode", "account", "--user", "joe", "--password", secret)
	admin("--op", "bind", "--mode", "account", "--tid", "1", "--user", "joe")
	joe := &initiator.CHAP{User: "joe", Secret: secret}
	disks := []disk{{one, 1, joe}, {one, 2, joe}, {two, 1, nil}}
	var before []look
	for _, d := range disks {
		mark(t, address, d)
		before = append(before, observe(t, address, d))
	}
	text, name := admin("--op", "show", "--mode", "target"), "tgt.txt"
	if dump {
		text, name = output(t, "tgt-admin", "--control-port", control, "--dump"), "targets.conf"
	}
	stop()
	secrets := t.TempDir() // neither tells the secret: it is written by hand
	if err := os.WriteFile(filepath.Join(secrets, "joe.secret"), []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	move(t, name, text, address, "--secrets", secrets)
	compare(t, address, disks, before)
}

// compare wants disks to look as before.
func compare(t *testing.T, address string, disks []disk, before []look) {
	t.Helper()
	for i, d := range disks {
		if after := observe(t, address, d); after != before[i] {
			t.Errorf("%s LUN %d was %q,\nand is %q", d.target, d.lun, before[i], after)
		}
		if !strings.HasPrefix(before[i].data, d.target) {
			t.Errorf("%s LUN %d: the other target has lost what was written: %q", d.target, d.lun, before[i].data)
		}
	}
}

// TestISTGT: names of istgt's own, and of UnitInquiry and of an option.
func TestISTGT(t *testing.T) {
	peer.Need(t, "istgt")
	address := fmt.Sprintf("127.0.0.1:%d", daemon.FreePort(t))
	image := images(t, 4)
	dir := t.TempDir()
	const users = "[AuthGroup1]\n  Auth \"joe\" \"secret-of-joe\" \\\n    \"we\" \"mutual-secret\"\n"
	auth := filepath.Join(dir, "auth.conf")
	text := strings.NewReplacer("@DIR@", dir, "@AUTH@", auth, "@ADDRESS@", address,
		"@0@", image[0], "@1@", image[1], "@2@", image[2], "@3@", image[3]).Replace(`[Global]
  NodeBase "iqn.2007-09.jp.ne.peach.istgt"
  PidFile @DIR@/pid
  AuthFile @AUTH@
  MediaDirectory @DIR@
  LogFacility "local7"
  DiscoveryAuthMethod Auto
[UnitControl]
  AuthMethod None
  Netmask 127.0.0.1
[PortalGroup1]
  Portal DA1 @ADDRESS@
[InitiatorGroup1]
  InitiatorName "ALL"
  Netmask 127.0.0.0/8
[LogicalUnit3]
  TargetName disk1
  Mapping PortalGroup1 InitiatorGroup1
  AuthMethod CHAP Mutual
  AuthGroup AuthGroup1
  UnitType Disk
  LUN0 Storage @0@ Auto
  LUN2 Storage @1@ Auto
[LogicalUnit4]
  TargetName iqn.2026-11.org.example:disk2
  Mapping PortalGroup1 InitiatorGroup1
  AuthMethod None
  UnitType Disk
  UnitInquiry "ACME" "Big Disk" "9.87" "10000001"
  LUN0 Storage @2@ Auto
  LUN1 Storage @3@ Auto
  LUN1 Option Serial "two words"
`)
	conf := filepath.Join(dir, "istgt.conf")
	for file, content := range map[string]string{auth: users, conf: text} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	stop := start(t, address, "istgt", "-D", "-c", conf)
	joe := &initiator.CHAP{User: "joe", Secret: "secret-of-joe", TargetUser: "we", TargetSecret: "mutual-secret"}
	const disk1, disk2 = "iqn.2007-09.jp.ne.peach.istgt:disk1", "iqn.2026-11.org.example:disk2"
	disks := []disk{{disk1, 0, joe}, {disk1, 2, joe}, {disk2, 0, nil}, {disk2, 1, nil}}
	var before []look
	for _, d := range disks {
		mark(t, address, d)
		before = append(before, observe(t, address, d))
	}
	stop()
	move(t, "istgt.conf", text+users, address, "--secrets", filepath.Join(dir, "secrets"))
	compare(t, address, disks, before)
}

// TestISTGTExample: the file that comes with istgt as an example, with its users, for an
// address and a disk that are here.
func TestISTGTExample(t *testing.T) {
	peer.Need(t, "istgt")
	t.Parallel()
	const examples = "/usr/share/doc/istgt/examples/"
	text, err := os.ReadFile(examples + "istgt.conf")
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("this machine's dpkg leaves out documentation, and istgt's examples with it: " + err.Error())
	}
	users, err := os.ReadFile(examples + "auth.conf")
	if err != nil {
		t.Fatal(err)
	}
	dir, image := t.TempDir(), images(t, 1)[0]
	address := fmt.Sprintf("127.0.0.1:%d", daemon.FreePort(t))
	auth, conf := filepath.Join(dir, "auth.conf"), filepath.Join(dir, "istgt.conf")
	said := strings.NewReplacer("192.168.2.36:3260", address, "192.168.2.0/24", "127.0.0.0/8", "/tank/iscsi/istgt-disk1 10GB", image+" Auto", "/etc/istgt/auth.conf", auth,
		"/var/run/istgt.pid", filepath.Join(dir, "pid"), "127.0.0.1:3261", fmt.Sprintf("127.0.0.1:%d", daemon.FreePort(t)), "/var/istgt", dir).Replace(string(text))
	for file, content := range map[string]string{auth: string(users), conf: said} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	stop := start(t, address, "istgt", "-D", "-c", conf)
	disks := []disk{{"iqn.2007-09.jp.ne.peach.istgt:disk1", 0, nil}}
	mark(t, address, disks[0])
	before := []look{observe(t, address, disks[0])}
	stop()
	told := move(t, "istgt.conf", said+string(users), address, "--secrets", filepath.Join(dir, "secrets"))
	compare(t, address, disks, before)
	for _, words := range []string{`MaxSessions "16"`, "[UnitControl]", "AuthMethod Auto", "AuthGroup9999"} {
		if !strings.Contains(told, words) {
			t.Errorf("nothing is said of %s:\n%s", words, told)
		}
	}
}

// inquire looks with libiscsi at a disk of a target that is too wrong for our initiator to
// log in to. Of the NAA name it tells what stands before the first zero.
func inquire(t *testing.T, address string, d disk) look {
	t.Helper()
	url := fmt.Sprintf("iscsi://%s/%s/%d", address, d.target, d.lun)
	field := func(text, name string) string {
		m := regexp.MustCompile(`\b` + name + `:(.*)\n`).FindStringSubmatch(text)
		if m == nil {
			t.Fatalf("no %s in\n%s", name, text)
		}
		return strings.Trim(m[1], "[] \x00")
	}
	standard := output(t, "iscsi-inq", "-i", host, url)
	l := look{said: fmt.Sprintf("%-8s%-16s%-4s", field(standard, "Vendor"), field(standard, "Product"), field(standard, "Revision"))}
	l.serial = field(output(t, "iscsi-inq", "-i", host, "-e", "1", "-c", "128", url), "Unit Serial Number")
	for _, designator := range strings.Split(output(t, "iscsi-inq", "-i", host, "-e", "1", "-c", "131", url), "DEVICE DESIGNATOR") {
		if strings.Contains(designator, "Designator Type:(3) NAA") {
			l.name = field(designator, "Designator")
		}
	}
	return l
}

// TestGotgt: the version in go.mod, with a configuration as its own package writes it.
func TestGotgt(t *testing.T) {
	peer.Need(t, "libiscsi-bin")
	t.Parallel()
	dir, image := t.TempDir(), images(t, 2)
	binary := filepath.Join(dir, "gotgt")
	output(t, "go", "build", "-o", binary, "github.com/gostor/gotgt")
	port := daemon.FreePort(t)
	address := fmt.Sprintf("127.0.0.1:%d", port)
	const target = "iqn.2016-09.com.gotgt.gostor:02:example-tgt-0"
	c := config.Config{
		Storages:     []config.BackendStorage{{DeviceID: 1000, Path: "file:" + image[0], Online: true, BlockShift: 9}, {DeviceID: 123456, Path: "file:" + image[1], Online: true, ThinProvisioning: true, BlockShift: 9}},
		ISCSIPortals: []config.ISCSIPortalInfo{{ID: 0, Portal: address}},
		ISCSITargets: map[string]config.ISCSITarget{target: {TPGTs: map[string][]uint64{"1": {0}}, LUNs: map[string]uint64{"0": 1000, "3": 123456}}},
	}
	file := filepath.Join(dir, config.ConfigFileName)
	if err := c.Save(file); err != nil {
		t.Fatal(err)
	}
	for _, path := range image {
		if err := os.WriteFile(path, bytes.Repeat(fmt.Appendf(nil, "%-64.64s", target), diskSize/64), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	control := fmt.Sprintf("tcp://127.0.0.1:%d", daemon.FreePort(t))
	stop := start(t, address, "env", "GOSTOR_CONFIG="+dir, binary, "--host", control, "daemon", "--port", fmt.Sprint(port), "--log", "error")
	disks := []disk{{target, 0, nil}, {target, 3, nil}}
	var before []look
	for _, d := range disks {
		before = append(before, inquire(t, address, d))
	}
	stop()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	move(t, config.ConfigFileName, string(text), address)
	for i, d := range disks {
		if after := inquire(t, address, d); after != before[i] || after.name == "" || !strings.HasPrefix(observe(t, address, d).data, target) {
			t.Errorf("LUN %d was %q, and is %q", d.lun, before[i], after)
		}
	}
	t.Logf("%q", before)
}
