package outage

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/isantarget/isantarget/admin"
	"github.com/isantarget/isantarget/test/daemon"
	"github.com/isantarget/isantarget/test/guest"
)

// modules are what the appliance needs of the kernel.
func modules() []string {
	return []string{"virtio_mmio", "virtio_blk", "virtio_net", "crc32c_generic", "ext4", "xfs"}
}

// An appliance is what all its machines boot from, but for the arguments of the daemon.
type appliance struct {
	image string // of guest.Build: the kernel
	parts []byte // the beginning of the initramfs
}

// build makes the parts: modules, the first program, the daemon.
func build(t *testing.T) appliance {
	t.Helper()
	a := appliance{image: guest.Build(t)}
	var b bytes.Buffer
	for _, folder := range []string{"dev", "proc", "sys", "tmp", "disk", "modules"} {
		entry(&b, folder, 0o40755, nil)
	}
	var order []string
	for _, m := range loadOrder(t, a.image) {
		text, err := os.ReadFile(m)
		if err != nil {
			t.Fatal(err)
		}
		order = append(order, path.Base(m))
		entry(&b, "modules/"+path.Base(m), 0o100644, text)
	}
	entry(&b, "modules/order", 0o100644, []byte(strings.Join(order, "\n")))
	entry(&b, "init", 0o100755, program(t, "test/outage/appliance"))
	entry(&b, "isantarget", 0o100755, program(t, "cmd/isantarget"))
	a.parts = b.Bytes()
	return a
}

// initramfs is the whole, in a file.
func (a appliance) initramfs(t *testing.T, arguments ...string) string {
	t.Helper()
	var b bytes.Buffer
	b.Write(a.parts)
	entry(&b, "arguments", 0o100644, []byte(strings.Join(arguments, "\n")))
	entry(&b, "TRAILER!!!", 0, nil)
	file := filepath.Join(t.TempDir(), "initramfs.cpio")
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// entry appends a file to an archive in the kernel's format ("newc", Documentation/driver-api/early-userspace/buffer-format).
func entry(b *bytes.Buffer, name string, mode int, text []byte) {
	fmt.Fprintf(b, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X",
		b.Len()+1, mode, 0, 0, 1, 0, len(text), 0, 0, 0, 0, len(name)+1, 0)
	pad := func() { b.Write(make([]byte, -b.Len()&3)) }
	b.WriteString(name + "\x00")
	pad()
	b.Write(text)
	pad()
}

// program is a static binary of a main package.
func program(t *testing.T, pkg string) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "program")
	cmd := exec.Command("go", "build", "-ldflags=-s -w", "-o", out, "github.com/isantarget/isantarget/"+pkg)
	cmd.Env = append(os.Environ(), daemon.Shipped()...)
	if printed, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", pkg, err, printed)
	}
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// loadOrder is the files of the modules and of what they depend on, each behind what it needs.
func loadOrder(t *testing.T, image string) (files []string) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(image, "tree/usr/lib/modules/*/modules.dep"))
	if err != nil || len(found) != 1 {
		t.Fatalf("the kernel's modules: %v, %v", found, err)
	}
	text, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, name := range modules() {
		for line := range strings.Lines(string(text)) {
			file, needs, _ := strings.Cut(strings.TrimSpace(line), ":")
			if path.Base(file) != name+".ko" {
				continue
			}
			all := append([]string{file}, strings.Fields(needs)...) // what is needed first stands last
			for i := len(all) - 1; i >= 0; i-- {
				if !seen[all[i]] {
					seen[all[i]] = true
					files = append(files, filepath.Join(filepath.Dir(found[0]), all[i]))
				}
			}
		}
	}
	return files
}

// A machine is the appliance with a disk of its own, which may lose power.
type machine struct {
	t          *testing.T
	image      string // of guest.Build: the kernel
	initramfs  string
	kind       string // of file system
	disk       *Disk
	nbd        string // the socket that its disk is served on
	address    string // of the portal, on the host
	admin, end string // of the appliance's other ports
	console    string
	qemu       *exec.Cmd
	ended      chan struct{}
}

// unit is what a disk writes whole: the block of the file systems. A disk that tears those at 512 bytes breaks
// XFS itself: a block of its metadata whose first part is new is taken for up to date when the log is replayed.
const unit = 4096

// newMachine makes a machine with an empty file system; it is off.
func newMachine(t *testing.T, a appliance, kind string, arguments ...string) *machine {
	t.Helper()
	local := func() string { return fmt.Sprintf("127.0.0.1:%d", daemon.FreePort(t)) }
	m := &machine{t: t, image: a.image, initramfs: a.initramfs(t, arguments...), kind: kind, address: local(), admin: local(), end: local(),
		console: filepath.Join(t.TempDir(), "console")}
	image := daemon.Image(t, "disk", 320<<20)
	make := map[string][]string{
		"ext4": {"mke2fs", "-q", "-t", "ext4", "-b", "4096", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", image},
		"xfs":  {"mkfs.xfs", "-q", "-f", image},
	}[kind]
	if out, err := exec.Command(make[0], make[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", make, err, out)
	}
	f, err := os.OpenFile(image, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if m.disk, err = NewDisk(f, unit); err != nil {
		t.Fatal(err)
	}
	sockets := short(t)
	m.nbd = filepath.Join(sockets, "nbd")
	listen(t, m.nbd, func(l net.Listener) {
		if err := Serve(l, m.disk); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(m.off)
	return m
}

// short is a folder with a short name, for sockets.
func short(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "isantarget-outage-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// listen has serve serve on a socket, until the test has ended.
func listen(t *testing.T, socket string, serve func(net.Listener)) {
	t.Helper()
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		serve(l)
	}()
	t.Cleanup(func() {
		l.Close()
		<-served
	})
}

// on turns the machine on, and waits until it serves.
func (m *machine) on() {
	m.t.Helper()
	if err := m.start(); err != nil {
		m.t.Fatal(err)
	}
}

// start turns the machine on; an error if it does not serve.
func (m *machine) start() error {
	m.t.Helper()
	console, err := os.Create(m.console)
	if err != nil {
		m.t.Fatal(err)
	}
	defer console.Close()
	forward := "user,id=net,ipv6=off"
	for _, f := range [][2]string{{m.address, "3260"}, {m.admin, "9000"}, {m.end, "9001"}} {
		forward += fmt.Sprintf(",hostfwd=tcp:%s-10.0.2.15:%s", f[0], f[1])
	}
	m.qemu = exec.Command("qemu-system-x86_64", append(guest.Machine(m.t, m.image, m.initramfs, "lab.kind="+m.kind, 384),
		"-drive", "if=none,id=disk,format=raw,cache=writeback,file=nbd:unix:"+m.nbd,
		"-device", fmt.Sprintf("virtio-blk-device,drive=disk,logical_block_size=512,physical_block_size=%d", unit),
		"-netdev", forward, "-device", "virtio-net-device,netdev=net")...)
	m.qemu.Stdout, m.qemu.Stderr = console, console
	m.qemu.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := m.qemu.Start(); err != nil {
		m.t.Fatal(err)
	}
	m.ended = make(chan struct{})
	go func() {
		m.qemu.Wait()
		close(m.ended)
	}()
	return m.says("appliance: ready")
}

// says waits until the console has some words.
func (m *machine) says(words string) error {
	for deadline := time.Now().Add(5 * time.Minute); ; time.Sleep(10 * time.Millisecond) {
		text, err := os.ReadFile(m.console)
		if err != nil {
			return err
		}
		if bytes.Contains(text, []byte(words)) {
			return nil
		}
		select {
		case <-m.ended:
			return fmt.Errorf("the machine has ended; its console:\n%s", text)
		default:
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("in vain: %s; the console:\n%s", words, text)
		}
	}
}

// off kills QEMU, if it runs.
func (m *machine) off() {
	if m.qemu != nil {
		m.qemu.Process.Kill()
		<-m.ended
		m.qemu = nil
	}
}

// cut is a loss of power.
func (m *machine) cut(chances *rand.Rand) {
	m.t.Helper()
	m.off()
	if err := m.disk.Cut(chances, []float64{0, 0.3, 0.5, 0.9}[chances.IntN(4)]); err != nil {
		m.t.Fatal(err)
	}
}

// stop ends the daemon as its service manager would, and waits until it has ended well.
func (m *machine) stop() {
	m.t.Helper()
	c, err := net.Dial("tcp", m.end)
	if err != nil {
		m.t.Fatal(err)
	}
	defer c.Close()
	if err := m.says("appliance: isantarget has ended"); err != nil {
		m.t.Fatal(err)
	}
}

// plane is the admin socket of the daemon, as if it were on this machine.
func (m *machine) plane() *admin.Client {
	m.t.Helper()
	socket := filepath.Join(short(m.t), "admin")
	listen(m.t, socket, func(l net.Listener) {
		for {
			inner, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer inner.Close()
				outer, err := net.Dial("tcp", m.admin)
				if err != nil {
					return
				}
				defer outer.Close()
				go func() {
					_, _ = io.Copy(outer, inner)
					_ = outer.(*net.TCPConn).CloseWrite()
				}()
				_, _ = io.Copy(inner, outer)
			}()
		}
	})
	c := admin.NewClient(socket)
	m.t.Cleanup(c.Close)
	return c
}
