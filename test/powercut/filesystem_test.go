package powercut

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/admin"
	"github.com/isantarget/isantarget/internal/loopdevice"
	"github.com/isantarget/isantarget/provision"
	"github.com/isantarget/isantarget/test/daemon"
)

// A disk is a file system of its own, which can lose power.
type disk struct {
	t                    *testing.T
	device, kind, folder string
}

func newDisk(t *testing.T, kind string, size int64) *disk {
	t.Helper()
	device := loopdevice.New(t, loopdevice.Options{File: daemon.Image(t, "disk", size)})
	return &disk{t: t, device: device, kind: kind, folder: loopdevice.Format(t, device, kind)}
}

// cut is what a loss of power is to the file system: what it holds in memory is lost, its
// log included, and nothing works any more.
func (d *disk) cut() {
	d.t.Helper()
	const (
		goingDown  = 0x8004587d // XFS_IOC_GOINGDOWN, EXT4_IOC_SHUTDOWN: _IOR('X', 125, __u32)
		noLogFlush = 2          // the log is not written
	)
	fd, err := unix.Open(d.folder, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		d.t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.IoctlSetPointerInt(fd, goingDown, noLogFlush); err != nil {
		d.t.Skipf("this kernel cannot shut a file system of kind %s down: %v", d.kind, err)
	}
}

// freeze stops the process, so that it acknowledges nothing any more. Without power no
// process runs; but a file system that is only shut down goes on answering, and one that
// is in the middle of a flush then may say that it has succeeded.
func freeze(t *testing.T, d *daemon.Daemon) {
	t.Helper()
	d.Signal(unix.SIGSTOP)
	tasks := fmt.Sprintf("/proc/%d/task", d.PID())
	until(t, "each thread of the daemon has stopped", func() bool {
		threads, err := os.ReadDir(tasks)
		if err != nil {
			t.Fatal(err)
		}
		for _, thread := range threads {
			text, err := os.ReadFile(filepath.Join(tasks, thread.Name(), "stat"))
			if err != nil {
				return false
			}
			// "1 (name) T ...": stopped, or D: in the kernel, and stops before it returns
			fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
			if len(fields) == 0 || fields[0] != "T" && fields[0] != "D" {
				return false
			}
		}
		return true
	})
}

// boot mounts the file system anew, as after a restart of the machine: the log is
// replayed. Whoever had files open must have let go of them.
func (d *disk) boot() {
	d.t.Helper()
	if err := loopdevice.Unmount(d.folder); err != nil {
		d.t.Fatal(err)
	}
	if err := loopdevice.Release(d.device); err != nil {
		d.t.Fatal(err)
	}
	if err := unix.Mount(d.device, d.folder, d.kind, 0, ""); err != nil {
		d.t.Fatalf("mount: %v", err)
	}
}

// plane is the admin socket of a daemon whose state is in dir.
func plane(t *testing.T, state string) *admin.Client {
	c := admin.NewClient(filepath.Join(state, admin.SocketName))
	t.Cleanup(c.Close)
	return c
}

// status is that of the only LUN; false while the daemon cannot tell.
func status(t *testing.T, c *admin.Client) (provision.LUNStatus, bool) {
	t.Helper()
	l, err := c.LUNs(t.Context())
	if err != nil || len(l) != 1 {
		return provision.LUNStatus{}, false
	}
	return l[0], true
}

// accept has a LUN that refuses to write, since it may have lost something, go on.
func accept(t *testing.T, c *admin.Client) {
	t.Helper()
	if l, ok := status(t, c); ok && len(l.Alerts) > 0 {
		if err := c.Recover(t.Context(), l.Name, provision.Recovery{AcceptLoss: true}); err != nil {
			t.Fatal(err)
		}
	}
}

// serveOn starts a daemon with one image on the disk, and its state elsewhere.
func serveOn(t *testing.T, disk *disk, options string) (*daemon.Daemon, *admin.Client) {
	t.Helper()
	state := t.TempDir()
	d := daemon.Start(t, daemon.Config{
		LUNs: []string{"a=" + filepath.Join(disk.folder, "a.img") + options}, Args: []string{"--state", state},
	})
	return d, plane(t, state)
}

// eachKind runs a test upon each file system that is worth it.
func eachKind(t *testing.T, test func(t *testing.T, kind string)) {
	for _, kind := range []string{"ext4", "xfs"} {
		t.Run(kind, func(t *testing.T) { test(t, kind) })
	}
}

// TestFileSystem: the machine loses power under load, and what was flushed is in the
// image on a real file system.
func TestFileSystem(t *testing.T) {
	cycles := 20
	if testing.Short() {
		cycles = 4
	}
	eachKind(t, func(t *testing.T, kind string) {
		for name, c := range map[string]struct {
			options   string
			blockSize int
			through   bool
		}{
			"sparse":                    {"", 512, false},
			"fixed without write cache": {",provisioning=fixed,write-cache=off", 512, true},
			"direct 4096":               {",direct,block-size=4096", 4096, false},
		} {
			t.Run(name, func(t *testing.T) {
				disk := newDisk(t, kind, 320<<20)
				d, plane := serveOn(t, disk, ",size=8MiB"+c.options)
				seed := rand.Uint64()
				t.Logf("seed %d", seed)
				chances := rand.New(rand.NewPCG(seed, 99))
				all := newCrew(seed, 8<<20/c.blockSize, c.blockSize)
				for _, w := range all {
					w.WriteThrough = c.through
				}
				defer all.leave()
				for cycle := 0; !all.enough(cycle, cycles); cycle++ {
					all.login(t, d.Address())
					all.work(func() {
						time.Sleep(time.Duration(20+chances.IntN(300)) * time.Millisecond) // the moment is the test's, not a wait
						freeze(t, d)
						disk.cut()
						d.Kill()
					})
					disk.boot()
					d.Restart()
					all.login(t, d.Address())
					report(t, cycle, all.check(t, cycle))
					if t.Failed() {
						return
					}
					accept(t, plane)
				}
				all.tell(t, cycles)
			})
		}
	})
}

// TestFileSystem_NewImage: an image that the daemon serves is there after a loss of
// power, with its size and, if it is fixed, its space.
func TestFileSystem_NewImage(t *testing.T) {
	eachKind(t, func(t *testing.T, kind string) {
		const size = 24 << 20
		for _, provisioning := range []string{"sparse", "fixed"} {
			for round := range 4 {
				t.Run(fmt.Sprintf("%s %d", provisioning, round), func(t *testing.T) {
					disk := newDisk(t, kind, 320<<20)
					d, _ := serveOn(t, disk, ",size=24MiB,provisioning="+provisioning)
					disk.cut()
					d.Kill()
					disk.boot()
					image := filepath.Join(disk.folder, "a.img")
					info, err := os.Stat(image)
					if err != nil {
						t.Fatalf("the image is not there: %v", err)
					}
					if info.Size() != size {
						t.Errorf("the image has %d bytes, want %d", info.Size(), size)
					}
					if got := daemon.Allocated(t, image); provisioning == "fixed" && got < size {
						t.Errorf("a fixed image holds %d bytes of space, want %d", got, size)
					}
					d.Restart()
				})
			}
		}
	})
}

// TestFileSystem_Vanishes: the file system goes away under a daemon that goes on. The LUN
// is not ready, and is back when the file system is; where nothing was at stake by itself
// and whole, else for reading, until the operator knows.
func TestFileSystem_Vanishes(t *testing.T) {
	eachKind(t, func(t *testing.T, kind string) {
		for _, flushed := range []bool{true, false} {
			t.Run(fmt.Sprintf("flushed %v", flushed), func(t *testing.T) {
				disk := newDisk(t, kind, 320<<20)
				d, plane := serveOn(t, disk, ",size=8MiB")
				all := newCrew(1, 8<<20/512, 512)[:1]
				all.login(t, d.Address())
				defer all.leave()
				w := all[0]
				if ok, err := w.batch(4); err != nil || !ok {
					t.Fatalf("%v, %v", ok, err)
				}
				if r, err := w.c.Execute(w.flush()); err != nil || r.Status != 0 {
					t.Fatalf("flush: %v, %v", r, err)
				}
				w.Flushed()
				if !flushed {
					for tries := 0; ; tries++ { // until something was written that is not durable
						if ok, err := w.batch(1); err != nil || !ok {
							t.Fatalf("%v, %v", ok, err)
						}
						open := 0
						for _, b := range w.blocks {
							open += len(b.since)
						}
						if open > 0 {
							break
						}
					}
				}
				disk.cut()
				until(t, "the LUN is not ready", func() bool {
					if _, err := w.batch(1); err != nil { // it meets the failure
						t.Fatal(err)
					}
					l, ok := status(t, plane)
					return ok && l.NotReady != ""
				})
				until(t, "the log tells", func() bool { return strings.Contains(d.Log(), "the store of the LUN is gone") })
				disk.boot()
				until(t, "the LUN is ready", func() bool {
					l, ok := status(t, plane)
					return ok && l.NotReady == ""
				})
				report(t, 0, all.check(t, 0))
				l, _ := status(t, plane)
				if flushed != (len(l.Alerts) == 0) {
					t.Errorf("alerts %q", l.Alerts)
				}
				accept(t, plane)
				until(t, "it takes writes", func() bool {
					ok, err := w.batch(4)
					if err != nil {
						t.Fatal(err)
					}
					return ok
				})
				for tries := 0; tries < 5; tries++ {
					r, err := w.c.Execute(w.flush())
					if err != nil {
						t.Fatal(err)
					}
					if r.Status == 0 {
						w.Flushed()
						report(t, 1, all.check(t, 1))
						return
					}
				}
				t.Error("no flush succeeds")
			})
		}
	})
}
