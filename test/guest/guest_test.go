package guest

import (
	"bytes"
	"embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/isantarget/isantarget/test/daemon"
	"github.com/isantarget/isantarget/test/peer"
)

//go:embed script
var scripts embed.FS

func TestMain(m *testing.M) { os.Exit(daemon.Main(m)) }

// bound is how long a script may take: some take 20 s on an idle machine, and a busy one emulates at a tenth of that.
const bound = 4 * time.Minute

// TestLinux boots one guest and runs each scenario in it, against a daemon of its own.
func TestLinux(t *testing.T) {
	peer.Need(t, "qemu-system-x86", "mmdebstrap", "e2fsprogs", "cpio", "xz-utils")
	if os.Geteuid() != 0 {
		t.Skip("building the guest needs root")
	}
	g := Boot(t, Build(t))
	t.Run("Discovery", func(t *testing.T) { discovery(t, g) })
	t.Run("CHAP", func(t *testing.T) { chap(t, g, false) })
	t.Run("MutualCHAP", func(t *testing.T) { chap(t, g, true) })
	t.Run("Digests", func(t *testing.T) { digests(t, g) })
	t.Run("FileSystem", func(t *testing.T) { fileSystem(t, g) })
	t.Run("ThinProvisioning", func(t *testing.T) { thinProvisioning(t, g) })
	t.Run("Changes", func(t *testing.T) { changes(t, g) })
	t.Run("Targetcli", func(t *testing.T) { targetcli(t, g) })
	t.Run("Growth", func(t *testing.T) { growth(t, g) })
	t.Run("FullFileSystem", func(t *testing.T) { fullFileSystems(t, g) })
	t.Run("Faults", func(t *testing.T) { faults(t, g) })
	t.Run("Copies", func(t *testing.T) { copies(t, g) })
	t.Run("Identity", func(t *testing.T) { identity(t, g) })
	t.Run("Shapes", func(t *testing.T) { shapes(t, g) })
	t.Run("RecoveryAfterSIGKILL", func(t *testing.T) { recovery(t, g) })
	t.Run("Shutdown", func(t *testing.T) { shutdown(t, g) })
}

// script returns the text of script/NAME.sh.
func script(t *testing.T, name string) string {
	t.Helper()
	text, err := scripts.ReadFile("script/" + name + ".sh")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// environment is what every script is told of a daemon.
func environment(d *daemon.Daemon) map[string]string {
	return map[string]string{"PORTAL": d.Address(), "TARGET": daemon.Target}
}

// run runs script/NAME.sh against a daemon, with further variables, and returns what it printed.
func run(t *testing.T, g *Guest, name string, d *daemon.Daemon, more ...string) string {
	t.Helper()
	env := environment(d)
	for _, pair := range more {
		key, value, _ := strings.Cut(pair, "=")
		env[key] = value
	}
	out := g.Run(t, bound, env, script(t, name))
	t.Logf("the guest:\n%s", out)
	return out
}

// lun is a --lun of a new sparse image, and the image's path.
func lun(t *testing.T, name, options string) (argument, image string) {
	image = filepath.Join(t.TempDir(), name+".img")
	return name + "=" + image + "," + options, image
}

func discovery(t *testing.T, g *Guest) {
	argument, _ := lun(t, "disk", "size=64MiB")
	run(t, g, "discovery", daemon.Start(t, daemon.Config{LUNs: []string{argument}}))
}

func chap(t *testing.T, g *Guest, mutual bool) {
	secret := func(name, text string) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const ours, theirs = "correct-horse-battery", "staple-and-more-1"
	argument, _ := lun(t, "disk", "size=64MiB")
	c := daemon.Config{LUNs: []string{argument}, Args: []string{"--chap", "alice:" + secret("chap", ours)}}
	env := []string{"SECRET=" + ours}
	if mutual {
		c.Args = append(c.Args, "--mutual-chap", "thetarget:"+secret("mutual", theirs))
		env = append(env, "MUTUAL=thetarget", "SECRET_IN="+theirs)
	}
	d := daemon.Start(t, c)
	run(t, g, "chap", d, env...)
	for _, text := range []string{ours, theirs} {
		if strings.Contains(d.Log(), text) {
			t.Errorf("the log holds the secret %q", text)
		}
	}
}

func digests(t *testing.T, g *Guest) {
	argument, _ := lun(t, "disk", "size=64MiB")
	run(t, g, "digest", daemon.Start(t, daemon.Config{LUNs: []string{argument}}))
}

func fileSystem(t *testing.T, g *Guest) {
	argument, _ := lun(t, "disk", "size=512MiB")
	run(t, g, "filesystem", daemon.Start(t, daemon.Config{LUNs: []string{argument}}))
}

func recovery(t *testing.T, g *Guest) {
	argument, _ := lun(t, "disk", "size=64MiB")
	d := daemon.Start(t, daemon.Config{LUNs: []string{argument}})
	s := g.Start(t, bound, environment(d), script(t, "recovery"))
	for round := 1; round <= 2; round++ {
		s.Await(fmt.Sprintf("writing-%d", round))
		d.Kill()
		s.Await(fmt.Sprintf("lost-%d", round))
		d.Restart()
	}
	t.Logf("the guest:\n%s", s.Wait())
}

func shutdown(t *testing.T, g *Guest) {
	argument, _ := lun(t, "disk", "size=64MiB")
	d := daemon.Start(t, daemon.Config{LUNs: []string{argument}})
	s := g.Start(t, bound, environment(d), script(t, "shutdown"))
	s.Await("writing")
	d.Stop()
	d.Restart()
	t.Logf("the guest:\n%s", s.Wait())
}

// copies lets the target copy between two units, and sanitize them, at the wish of ddpt and sg3-utils.
func copies(t *testing.T, g *Guest) {
	one, _ := lun(t, "one", "size=64MiB,provisioning=sparse")
	two, _ := lun(t, "two", "size=64MiB,provisioning=sparse")
	d := daemon.Start(t, daemon.Config{LUNs: []string{one, two}})
	run(t, g, "copies", d)
}

// growth makes a disk bigger under a mounted file system, which then grows too; and what it holds is there, and as
// big, when the daemon has been started again with a configuration that says the old size.
func growth(t *testing.T, g *Guest) {
	argument, image := lun(t, "disk", "size=64MiB")
	d := daemon.Start(t, daemon.Config{LUNs: []string{argument}})
	s := g.Start(t, bound, environment(d), script(t, "growth"))
	s.Await("mounted")
	for _, size := range []string{"192MiB", "+64MiB"} {
		if status, out := daemon.Run(t, "lun", "grow", "--state", d.State(), "disk", size); status != 0 {
			t.Fatalf("lun grow: %d %s", status, out)
		}
	}
	s.Signal("grown")
	s.Await("resized")
	d.Kill()
	s.Await("lost")
	d.Restart()
	t.Logf("the guest:\n%s", s.Wait())
	if info, err := os.Stat(image); err != nil || info.Size() != 256<<20 {
		t.Errorf("the image: %v, %v", info, err)
	}
}

// thinProvisioning holds what the commands say they did against what du says on the host, and against the image.
func thinProvisioning(t *testing.T, g *Guest) {
	const mib = 1 << 20
	argument, image := lun(t, "disk", "size=64MiB,provisioning=sparse")
	d := daemon.Start(t, daemon.Config{LUNs: []string{argument}})
	s := g.Start(t, bound, environment(d), script(t, "thin"))
	content := func(at, length int64, want byte) {
		t.Helper()
		f, err := os.Open(image)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		got := make([]byte, length)
		if _, err := f.ReadAt(got, at); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, bytes.Repeat([]byte{want}, int(length))) {
			t.Errorf("the image does not hold %d bytes of %#02x at %d", length, want, at)
		}
	}
	allocated := func(step string, least, most int64, look func()) {
		t.Helper()
		s.Await(step)
		if got := daemon.Allocated(t, image); got < least || got > most {
			t.Errorf("after %s the image takes %d bytes on the host, want from %d to %d", step, got, least, most)
		}
		look()
		s.Signal(step + "-seen")
	}
	const slack = 128 << 10 // the host's file system, and its idea of extents
	allocated("created", 0, slack, func() {})
	allocated("written", 16*mib, 16*mib+slack, func() { content(0, 16*mib, 0x5a) })
	allocated("unmapped", 12*mib, 12*mib+slack, func() { // 4 MiB from 4 MiB on
		content(4*mib, 4*mib, 0)
		content(8*mib, 8*mib, 0x5a)
	})
	allocated("write-same-unmapped", 8*mib, 8*mib+slack, func() { content(8*mib, 4*mib, 0) })
	allocated("write-same-pattern", 10*mib, 10*mib+slack, func() { content(32*mib, 2*mib, 0xa5) })
	allocated("discarded", 0, slack, func() {}) // all of it, by the kernel's own UNMAPs
	t.Logf("the guest:\n%s", s.Wait())
}

// identity: what a unit says of itself is what is served, and it is the same after a restart and on another port.
func identity(t *testing.T, g *Guest) {
	one, _ := lun(t, "one", "size=64MiB")
	two, _ := lun(t, "two", "size=128MiB,provisioning=fixed")
	d := daemon.Start(t, daemon.Config{LUNs: []string{one, two}})
	first := run(t, g, "identity", d)
	d.Stop()
	d.Restart()
	second := run(t, g, "identity", d)
	if a, b := designators(first), designators(second); a != b || a == "" {
		t.Errorf("the designators changed over a restart, from\n%s\nto\n%s", a, b)
	}
}

// designators are the lines of identity.sh that must not change.
func designators(out string) string {
	var lines []string
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "designator ") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

// shapes: Linux sees units of other kinds as what they are.
func shapes(t *testing.T, g *Guest) {
	plain := daemon.Image(t, "readonly.img", 64<<20)
	if err := os.WriteFile(plain, bytes.Repeat([]byte{0x77}, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(plain, 64<<20); err != nil {
		t.Fatal(err)
	}
	native, _ := lun(t, "native", "size=64MiB,block-size=4096")
	physical, _ := lun(t, "physical", "size=64MiB,physical-block-size=4096")
	removable, _ := lun(t, "removable", "size=64MiB,removable")
	fixed, image := lun(t, "fixed", "size=64MiB,provisioning=fixed")
	d := daemon.Start(t, daemon.Config{LUNs: []string{native, physical, "readonly=" + plain + ",readonly", removable, fixed}})
	if got := daemon.Allocated(t, image); got < 64<<20 {
		t.Errorf("the fixed image takes %d bytes on the host, want all of its 64 MiB", got)
	}
	run(t, g, "shapes", d)
	var st syscall.Stat_t
	if err := syscall.Stat(plain, &st); err != nil || st.Size != 64<<20 {
		t.Errorf("the read-only image is %d bytes (%v), want it untouched", st.Size, err)
	}
}
