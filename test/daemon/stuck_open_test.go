package daemon

import (
	"bytes"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A store that hangs while it is opened, as one on a server that does not answer, does not
// hold up SIGTERM.
func TestStuckOpenEndsOnSIGTERM(t *testing.T) {
	image := Image(t, "disk.img", 1<<20)
	f, err := os.OpenFile(image, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	blocked := make(chan os.Signal, 1)
	signal.Notify(blocked, syscall.SIGIO)
	defer signal.Stop(blocked)
	// Whoever opens the file now waits until we let go of it, for /proc/sys/fs/lease-break-time.
	if _, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
		t.Skipf("no lease on %s: %v", image, err)
	}
	dir := t.TempDir()
	cmd := exec.Command(Binary(), "serve", "--state", filepath.Join(dir, "state"), "--portal", "127.0.0.1:0", "--target", Target, "--lun", "disk="+image)
	cmd.Env = environment()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case <-blocked: // it is in open(2)
	case err := <-ended:
		t.Fatalf("it has ended: %v\n%s", err, out.String())
	case <-time.After(startBound):
		t.Fatal("it does not open its image")
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("%v\n%s", err, out.String())
		}
	case <-time.After(30 * time.Second): // long after it gives up, and before the lease is broken
		_ = cmd.Process.Kill()
		t.Fatalf("SIGTERM does not end it:\n%s", out.String())
	}
	if p, err := os.ReadFile("/proc/sys/fs/lease-break-time"); err == nil {
		t.Logf("the lease would have been broken after %s s", bytes.TrimSpace(p))
	}
}
