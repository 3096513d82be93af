package guest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	buildBound = 15 * time.Minute
	bootBound  = 6 * time.Minute // 5 s on an idle machine
)

// A Guest is a running virtual machine.
type Guest struct {
	dir     string // shared with the guest, which sees it as /lab
	console string // the file of what the guest's kernel and first program print
	qemu    *exec.Cmd
	ended   chan struct{} // closed when QEMU has ended
	scripts int
}

// Build makes the guest's image, unless it is there already, and returns the directory that holds it.
func Build(t testing.TB) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, "isantarget", "guest")
	ctx, cancel := context.WithTimeout(context.Background(), buildBound)
	defer cancel()
	cmd := exec.CommandContext(ctx, "../guest/lab/build", dir) // from any folder of test
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("building the guest: %v\n%s", err, out)
	}
	return dir
}

// A machine is what distinguishes one guest from another.
type machine struct {
	name      string
	address   string // of a second network card; "": there is none
	here, far string // the sockets of that card and of the other guest's

	more []string // further arguments of QEMU
}

// Boot starts a guest from the image in a directory of [Build] and waits until it takes scripts. The guest ends with
// the test. more are further arguments of QEMU.
func Boot(t testing.TB, image string, more ...string) *Guest {
	t.Helper()
	g := start(t, image, machine{name: "guest", more: more})
	g.awaitBoot(t)
	return g
}

// BootPair starts two guests whose second network cards are linked. In the guests they are called one and two.
func BootPair(t testing.TB, image string) (one, two *Guest) {
	t.Helper()
	cable, err := os.MkdirTemp("", "isantarget-cable-") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(cable) })
	a, b := filepath.Join(cable, "a"), filepath.Join(cable, "b")
	one = start(t, image, machine{name: "one", address: "10.9.9.1", here: a, far: b})
	two = start(t, image, machine{name: "two", address: "10.9.9.2", here: b, far: a})
	one.awaitBoot(t)
	two.awaitBoot(t)
	return one, two
}

// start starts QEMU.
func start(t testing.TB, image string, m machine) *Guest {
	t.Helper()
	g := &Guest{dir: t.TempDir(), ended: make(chan struct{})}
	g.console = filepath.Join(t.TempDir(), "console")
	console, err := os.Create(g.console)
	if err != nil {
		t.Fatal(err)
	}
	defer console.Close()
	g.qemu = exec.Command("qemu-system-x86_64", arguments(t, image, g.dir, m)...)
	g.qemu.Stdout, g.qemu.Stderr = console, console
	g.qemu.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := g.qemu.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		g.qemu.Wait()
		close(g.ended)
	}()
	t.Cleanup(func() {
		g.qemu.Process.Kill()
		<-g.ended
	})
	return g
}

// awaitBoot waits until the guest takes scripts.
func (g *Guest) awaitBoot(t testing.TB) {
	t.Helper()
	if err := g.await("booted", bootBound); err != nil {
		t.Fatalf("the guest did not boot: %v\n%s", err, g.consoleText())
	}
}

// Machine is the arguments of QEMU for a machine without firmware and PCI, which boots in seconds under emulation: the
// kernel of an image of [Build], an initramfs, what the kernel's command line has beside the usual, and MiB of memory.
func Machine(t testing.TB, image, initramfs, commandLine string, memory int) []string {
	t.Helper()
	return []string{
		"-no-user-config", "-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio",
		"-M", "microvm,x-option-roms=off,rtc=on", "-accel", "tcg,thread=multi", "-m", strconv.Itoa(memory), "-smp", "1",
		"-cpu", "Nehalem-v1", // has the CRC32C instruction, and is quicker to emulate than "max"
		"-kernel", filepath.Join(image, "vmlinux"), "-initrd", initramfs,
		// This machine has no timer to measure the time stamp counter against, and the emulation passes the host's on:
		// the kernel hangs at boot unless it is told the rate.
		"-append", fmt.Sprintf("console=ttyS0 quiet loglevel=3 panic=-1 nokaslr mitigations=off tsc=reliable no_timer_check "+
			"random.trust_cpu=on cryptomgr.notests net.ifnames=0 rdinit=/init tsc_early_khz=%d %s", counterRate(t), commandLine),
		"-device", "virtio-rng-device",
	}
}

// arguments are QEMU's for a guest that runs scripts.
func arguments(t testing.TB, image, share string, m machine) []string {
	file := func(name string) string { return filepath.Join(image, name) }
	args := append(Machine(t, image, file("initramfs.cpio"), fmt.Sprintf("lab.name=%s lab.address=%s", m.name, m.address), 512),
		"-drive", "if=none,id=root,format=raw,snapshot=on,cache=unsafe,file="+file("root.img"), "-device", "virtio-blk-device,drive=root",
		"-fsdev", "local,id=lab,security_model=none,path="+share, "-device", "virtio-9p-device,fsdev=lab,mount_tag=lab",
		"-netdev", "user,id=net,ipv6=off", "-device", "virtio-net-device,netdev=net")
	if m.address != "" {
		args = append(args,
			"-netdev", "dgram,id=cable,local.type=unix,local.path="+m.here+",remote.type=unix,remote.path="+m.far,
			"-device", "virtio-net-device,netdev=cable,mac=52:54:00:00:00:0"+m.address[len(m.address)-1:])
	}
	return append(args, m.more...)
}

// counterRate returns the rate of the host's time stamp counter in kHz.
func counterRate(t testing.TB) int {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^cpu MHz\s*: ([0-9.]+)`).FindSubmatch(text)
	if m == nil {
		t.Skip("/proc/cpuinfo tells no rate of the time stamp counter: the guest is an x86 machine and needs an x86 host")
	}
	mhz, err := strconv.ParseFloat(string(m[1]), 64)
	if err != nil {
		t.Fatal(err)
	}
	return int(mhz * 1000)
}

// Shared returns the path, on the host, of the file that the guest sees as /lab/NAME.
func (g *Guest) Shared(name string) string { return filepath.Join(g.dir, name) }

// await waits for a file in the share.
func (g *Guest) await(name string, bound time.Duration) error {
	deadline := time.Now().Add(bound)
	for {
		if _, err := os.Stat(filepath.Join(g.dir, name)); err == nil {
			return nil
		}
		select {
		case <-g.ended:
			return errors.New("the guest has ended")
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("nothing for %v", bound)
		}
	}
}

func (g *Guest) consoleText() []byte {
	text, err := os.ReadFile(g.console)
	if err != nil {
		return []byte(err.Error())
	}
	return text
}

// A Script runs in a guest.
type Script struct {
	t      testing.TB
	guest  *Guest
	number int
	bound  time.Duration

	signalled []string // flags that it was given; they go when it has ended
}

// Start gives the guest a script, which it begins at once. What is in env it finds as shell variables. The test ends if
// the guest is gone.
func (g *Guest) Start(t testing.TB, bound time.Duration, env map[string]string, script string) *Script {
	t.Helper()
	select {
	case <-g.ended:
		t.Fatalf("the guest has ended\n%s", g.consoleText())
	default:
	}
	g.scripts++
	s := &Script{t: t, guest: g, number: g.scripts, bound: bound}
	var b bytes.Buffer
	for name, value := range env {
		fmt.Fprintf(&b, "%s='%s'\n", name, strings.ReplaceAll(value, "'", `'\''`))
	}
	b.WriteString(script)
	final := s.file("script")
	if err := os.WriteFile(final+".new", b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(final+".new", final); err != nil {
		t.Fatal(err)
	}
	return s
}

// Run runs a script to its end and returns what it printed; it fails the test, and ends it, unless the exit status is 0.
func (g *Guest) Run(t testing.TB, bound time.Duration, env map[string]string, script string) string {
	t.Helper()
	return g.Start(t, bound, env, script).Wait()
}

// Wait waits for the script's end and returns what it printed; it fails the test, and ends it, unless the exit status is 0.
func (s *Script) Wait() string {
	s.t.Helper()
	err := s.guest.await(s.name("status"), s.bound)
	out := s.read("out")
	if err != nil {
		// What the guest is at now no other test may wait for.
		s.guest.qemu.Process.Kill()
		<-s.guest.ended
		s.t.Fatalf("the script in the guest did not end: %v\n%s\nconsole:\n%s", err, out, s.guest.consoleText())
	}
	for _, name := range s.signalled { // or a script of the same steps would not wait for its own
		os.Remove(filepath.Join(s.guest.dir, name))
	}
	if status := strings.TrimSpace(s.read("status")); status != "0" {
		s.t.Fatalf("the script in the guest ended with status %s\n%s\nkernel log:\n%s", status, out, s.read("dmesg"))
	}
	return out
}

// Await waits until the script signals name; the test ends if it ends without.
func (s *Script) Await(name string) {
	s.t.Helper()
	deadline := time.Now().Add(s.bound)
	for time.Now().Before(deadline) {
		if s.guest.await(name, 100*time.Millisecond) == nil {
			os.Remove(filepath.Join(s.guest.dir, name))
			return
		}
		if _, err := os.Stat(s.file("status")); err == nil {
			s.t.Fatalf("the script in the guest ended before it signalled %s\n%s\nkernel log:\n%s", name, s.read("out"), s.read("dmesg"))
		}
	}
	s.Wait()
	s.t.Fatalf("the script in the guest did not signal %s", name)
}

// Signal makes the script's `await name` return.
func (s *Script) Signal(name string) {
	s.t.Helper()
	s.signalled = append(s.signalled, name)
	if err := os.WriteFile(filepath.Join(s.guest.dir, name), nil, 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// Output returns what the script has printed so far.
func (s *Script) Output() string { return s.read("out") }

// KernelLog returns what the guest's kernel said while the script ran; it is there after Wait.
func (s *Script) KernelLog() string { return s.read("dmesg") }

func (s *Script) name(kind string) string { return fmt.Sprintf("%d.%s", s.number, kind) }
func (s *Script) file(kind string) string { return filepath.Join(s.guest.dir, s.name(kind)) }

func (s *Script) read(kind string) string {
	text, err := os.ReadFile(s.file(kind))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		s.t.Error(err)
	}
	return string(text)
}
