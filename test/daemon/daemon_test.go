package daemon

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/internal/initiator"
)

func TestMain(m *testing.M) { os.Exit(Main(m)) }

// login opens a session with the daemon's target.
func login(t *testing.T, d *Daemon) *initiator.Connection {
	t.Helper()
	c, err := initiator.Dial(d.Address(), initiator.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.Login(initiator.Login{
		InitiatorName: "iqn.2026-11.org.isantarget.test:initiator", TargetName: Target, SessionType: "Normal", ISID: initiator.RandomISID(),
	}); err != nil {
		t.Fatal(err)
	}
	return c
}

// good runs a command that has to end with GOOD, after the unit attentions of a new session.
func good(t *testing.T, c *initiator.Connection, cmd initiator.Command) []byte {
	t.Helper()
	for range 10 {
		r, err := c.Execute(cmd)
		if err != nil {
			t.Fatal(err)
		}
		if key, code := r.SenseCode(); key != 6 {
			if r.Status != 0 {
				t.Fatalf("command % x ended with status %#02x, sense %x/%04x", cmd.CDB, r.Status, key, code)
			}
			return r.Data
		}
	}
	t.Fatal("nothing but unit attentions")
	return nil
}

// cdb10 is READ (10) or WRITE (10) of blocks at lba.
func cdb10(opcode, lba, blocks byte) []byte {
	return []byte{opcode, 0, 0, 0, 0, lba, 0, 0, blocks, 0}
}

// What was answered with GOOD outlives SIGKILL, synchronized or not, and the daemon takes its image again.
func TestKilledDaemonKeepsWhatItAcknowledged(t *testing.T) {
	d := Start(t, Config{LUNs: []string{"disk=" + filepath.Join(t.TempDir(), "disk.img") + ",size=16MiB"}})
	c := login(t, d)
	for round := byte(1); round <= 3; round++ {
		data := bytes.Repeat([]byte{round}, 8*512)
		good(t, c, initiator.Command{CDB: cdb10(0x2a, 8*round, 8), Write: data})
		d.Kill()
		d.Restart()
		c = login(t, d)
		for earlier := byte(1); earlier <= round; earlier++ {
			got := good(t, c, initiator.Command{CDB: cdb10(0x28, 8*earlier, 8), Read: 8 * 512})
			if !bytes.Equal(got, bytes.Repeat([]byte{earlier}, 8*512)) {
				t.Fatalf("after kill %d the data of round %d is not there", round, earlier)
			}
		}
	}
}

// Each of the signals that ask for it ends the daemon with status 0, with sessions and without, and frees the port and
// the image.
func TestSignalsEndIt(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		for _, sessions := range []int{0, 2} {
			t.Run(fmt.Sprintf("%v with %d sessions", signal, sessions), func(t *testing.T) {
				d := Start(t, Config{LUNs: []string{"disk=" + filepath.Join(t.TempDir(), "disk.img") + ",size=16MiB"}})
				connections := make([]*initiator.Connection, sessions)
				for i := range connections {
					connections[i] = login(t, d)
				}
				d.Signal(signal)
				for _, c := range connections {
					for len(c.Async) == 0 {
						if err := c.Pump(); err != nil {
							t.Fatalf("waiting for the request to log out: %v", err)
						}
					}
					c.Close() // a session that ends without a logout must not keep it
				}
				if err := d.Wait(); err != nil {
					t.Errorf("%v: %v, want exit status 0", signal, err)
				}
				if d.Accepts() {
					t.Error("the port still accepts connections")
				}
				d.Restart()
			})
		}
	}
}

// Two daemons never write one image, nor listen on one port. The second says which, and who has it.
func TestSecondDaemonIsRefused(t *testing.T) {
	image := filepath.Join(t.TempDir(), "disk.img")
	d := Start(t, Config{LUNs: []string{"disk=" + image + ",size=16MiB"}})
	serve := func(portal, path string) (int, string) {
		return Run(t, "serve", "--state", filepath.Join(t.TempDir(), "state"), "--target", Target, "--portal", portal, "--lun", "disk="+path+",size=16MiB")
	}
	t.Run("port", func(t *testing.T) {
		status, printed := serve(d.Address(), filepath.Join(t.TempDir(), "other.img"))
		if status != 1 || !strings.Contains(printed, d.Address()) {
			t.Errorf("a second daemon on %s ended with status %d and\n%s", d.Address(), status, printed)
		}
	})
	t.Run("image", func(t *testing.T) {
		status, printed := serve(fmt.Sprintf("127.0.0.1:%d", FreePort(t)), image)
		if status != 1 || !strings.Contains(printed, image) || !strings.Contains(printed, fmt.Sprintf("process %d", d.PID())) {
			t.Errorf("a second daemon on the image of process %d ended with status %d and\n%s", d.PID(), status, printed)
		}
	})
	good(t, login(t, d), initiator.Command{CDB: cdb10(0x2a, 0, 1), Write: make([]byte, 512)})
}

// What is wrong with a command line is said in one line, with status 1, before anything is served.
func TestBadArguments(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct {
		args  []string
		names string
	}{
		"an unknown flag":           {[]string{"--nonsense"}, "nonsense"},
		"a portal that is none":     {[]string{"--portal", "127.0.0.1:port"}, "127.0.0.1:port"},
		"a size that is none":       {[]string{"--lun", "disk=" + dir + "/a.img,size=much"}, "much"},
		"an unknown LUN option":     {[]string{"--lun", "disk=" + dir + "/a.img,size=1MiB,sparse"}, "sparse"},
		"a target that is no IQN":   {[]string{"--target", "disk one"}, "disk one"},
		"a secret file not there":   {[]string{"--chap", "alice:" + dir + "/no-secret"}, "no-secret"},
		"an access rule unheard of": {[]string{"--access", "everybody"}, "everybody"},
		"a configuration not there": {[]string{"--config", dir + "/no.toml"}, "no.toml"},
	} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"serve"}, c.args...)
			if c.args[0] != "--config" {
				args = append(args, "--state", filepath.Join(dir, "state"))
			}
			status, printed := Run(t, args...)
			if status != 1 || strings.Count(printed, "\n") != 1 || !strings.Contains(printed, c.names) {
				t.Errorf("isantarget %q ended with status %d and\n%s\nwant status 1 and one line that names %q", args, status, printed, c.names)
			}
		})
	}
}

func TestComplaints(t *testing.T) {
	for log, want := range map[string]bool{
		"level=info msg=fine\n":                         false,
		"level=warning msg=\"panic: is only a word\"\n": false,
		"a\n==================\nWARNING: DATA RACE\nb":  true,
		"a\npanic: runtime error: index out of range\n": true,
		"fatal error: concurrent map writes\n":          true,
	} {
		if got := complaints(log) != ""; got != want {
			t.Errorf("complaints(%q) is %v, want %v", log, got, want)
		}
	}
}

func TestFreePortIsFree(t *testing.T) {
	for range 20 {
		port := FreePort(t)
		if port < 3300 || port > 32767 {
			t.Fatalf("port %d is outside the range that guests reach", port)
		}
		for _, address := range []string{"127.0.0.1", "127.0.0.2", ""} { // again and again
			l, err := net.Listen("tcp", fmt.Sprintf("%s:%d", address, port))
			if err != nil {
				t.Fatal(err)
			}
			l.Close()
		}
		if fd, err := hold(port); err == nil {
			unix.Close(fd)
			t.Errorf("port %d is given out twice", port)
		}
	}
}
