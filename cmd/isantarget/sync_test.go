package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/iscsi"
	"github.com/isantarget/isantarget/test/daemon"
)

// TestLostWritesAreTold: a device that takes writes into the page cache and
// cannot keep them is found out at the latest when the daemon stops, which then
// does not say that all is well.
func TestLostWritesAreTold(t *testing.T) {
	device := overpromisingDevice(t)
	d := daemon.Start(t, daemon.Config{LUNs: []string{"a=" + device, "b=,kind=memory,size=1MiB"}})
	c, err := login(t, d, nil)
	if err != nil {
		t.Fatal(err)
	}
	data := bytes.Repeat([]byte("lost"), 64<<10)
	for lba := 0; lba < 4<<20/512; lba += len(data) / 512 {
		r := execute(t, c, initiator.Command{CDB: []byte{0x2a, 0, 0, 0, byte(lba >> 8), byte(lba), 0, 2, 0, 0}, Write: data})
		if r.Status != 0 {
			t.Skipf("the device refuses writes before they are flushed: status %02x, sense %x", r.Status, r.Sense)
		}
	}
	if _, err := c.Logout(iscsi.CloseSession, 0); err != nil {
		t.Fatal(err)
	}
	d.Signal(syscall.SIGTERM)
	if err := d.Wait(); err == nil {
		t.Error("exit status 0, and the data are lost")
	}
	log := d.Log()
	if !strings.Contains(log, `LUN \"a\": what was written since the last flush may be lost`) || strings.Contains(log, "all that was written is on the disk") {
		t.Errorf("the log does not tell:\n%s", log)
	}
}

// overpromisingDevice is a loop device of 8 MiB on a file system of 1 MiB.
func overpromisingDevice(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("cannot mount a tmpfs (needs root): %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	image := filepath.Join(dir, "image")
	f, err := os.Create(image)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(8 << 20); err != nil {
		t.Fatal(err)
	}
	f.Close()
	out, err := exec.Command("losetup", "--find", "--show", image).CombinedOutput()
	if err != nil {
		t.Skipf("cannot make a loop device: %v: %s", err, out)
	}
	device := strings.TrimSpace(string(out))
	t.Cleanup(func() { exec.Command("losetup", "--detach", device).Run() })
	return device
}
