package loopdevice

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Options says what a device is like.
type Options struct {
	File     string // what is under it; it exists
	Sector   int    // bytes; 0: 512
	ReadOnly bool
	Direct   bool // what is under it is used without the page cache: errors come as they are
}

// New makes a loop device and returns its path. It goes away with the test.
func New(t testing.TB, o Options) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("loop devices need root")
	}
	control, err := unix.Open("/dev/loop-control", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skipf("this machine has no loop devices: /dev/loop-control: %v", err)
	}
	defer func() { _ = unix.Close(control) }()
	f, err := os.OpenFile(o.File, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	config := unix.LoopConfig{Fd: uint32(f.Fd()), Size: uint32(max(o.Sector, 512))}
	if o.ReadOnly {
		config.Info.Flags = unix.LO_FLAGS_READ_ONLY
	}
	if o.Direct {
		config.Info.Flags |= unix.LO_FLAGS_DIRECT_IO
	}
	for {
		number, err := unix.IoctlRetInt(control, unix.LOOP_CTL_GET_FREE)
		if err != nil {
			t.Skipf("this machine gives no loop device: %v", err)
		}
		path := fmt.Sprintf("/dev/loop%d", number)
		fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Skipf("the loop device %s cannot be opened: %v", path, err)
		}
		err = unix.IoctlLoopConfigure(fd, &config)
		if err == unix.EBUSY { // someone else was faster
			_ = unix.Close(fd)
			continue
		}
		if err != nil {
			_ = unix.Close(fd)
			t.Fatalf("configure %s: %v", path, err)
		}
		t.Cleanup(func() {
			if err := unix.IoctlSetInt(fd, unix.LOOP_CLR_FD, 0); err != nil {
				t.Errorf("release %s: %v", path, err)
			}
			_ = unix.Close(fd)
		})
		return path
	}
}

// FileSystem makes a file system of a kind, so many bytes long, and mounts it on a folder; both go
// away with the test. Its disk is in memory, where there is as much, so that a sync costs nothing.
func FileSystem(t testing.TB, kind string, bytes int64, options ...string) string {
	t.Helper()
	disk := filepath.Join(memory(t, bytes), "disk")
	if err := errors.Join(os.WriteFile(disk, nil, 0o600), os.Truncate(disk, bytes)); err != nil {
		t.Fatal(err)
	}
	return Format(t, New(t, Options{File: disk}), kind, options...)
}

// memory is a folder on tmpfs that has room for so many bytes, or one on a disk.
func memory(t testing.TB, bytes int64) string {
	t.Helper()
	const tmpfs = "/dev/shm"
	var system unix.Statfs_t
	if err := unix.Statfs(tmpfs, &system); err != nil || int64(system.Bavail)*system.Bsize < bytes {
		return t.TempDir()
	}
	folder, err := os.MkdirTemp(tmpfs, "isantarget-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	return folder
}

// Format makes a file system of a kind ("ext4", "xfs", "btrfs") on a device and
// mounts it on a folder that goes away with the test.
func Format(t testing.TB, device, kind string, options ...string) string {
	t.Helper()
	tool := "mkfs." + kind
	if out, err := exec.Command(tool, append(options, "-q", device)...).CombinedOutput(); errors.Is(err, exec.ErrNotFound) {
		t.Skipf("there is no %s to make a file system with", tool)
	} else if err != nil {
		t.Fatalf("%s: %v: %s", tool, err, out)
	}
	return Mount(t, device, kind, "")
}

// Mount mounts a file system on a folder that goes away with the test.
func Mount(t testing.TB, device, kind, data string) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("mounting needs root")
	}
	folder := t.TempDir()
	if err := unix.Mount(device, folder, kind, 0, data); err != nil {
		t.Skipf("a file system of kind %s cannot be mounted here: %v", kind, err)
	}
	t.Cleanup(func() {
		if err := Unmount(folder); err != nil {
			t.Error(err)
		}
	})
	return folder
}

// patience is how long others may keep what nobody may use any more.
const patience = 5 * time.Minute

// Unmount unmounts what is mounted on folder, for which nobody may use it any more. A
// process that another test is just beginning has the files of this one until it executes
// its program, so that busy is not told at once.
func Unmount(folder string) error {
	for begun := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		err := unix.Unmount(folder, 0)
		if err == nil {
			return nil
		}
		if err != unix.EBUSY || time.Since(begun) > patience {
			return fmt.Errorf("unmount %s: %w", folder, err)
		}
	}
}

// Release waits until there is no file system on a device any more. One that is unmounted
// stays as long as another mount namespace has a copy of the mount, as a container has that
// has begun meanwhile; and who mounts the device then has it again as it was, shut down or not.
func Release(device string) error {
	for begun := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		fd, err := unix.Open(device, unix.O_RDONLY|unix.O_EXCL|unix.O_CLOEXEC, 0)
		if err == nil {
			return unix.Close(fd)
		}
		if err != unix.EBUSY || time.Since(begun) > patience {
			return fmt.Errorf("the file system on %s: %w", device, err)
		}
	}
}
