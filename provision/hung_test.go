package provision

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/internal/loopdevice"
)

// hang mounts a file system of which nothing is ever answered at a folder, until the test ends.
func hang(t *testing.T, folder string) {
	t.Helper()
	fuse, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no file system can be made that hangs: %v", err)
	}
	if err := unix.Mount("hung", folder, "fuse", 0, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fuse.Fd())); err != nil {
		fuse.Close()
		if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENODEV) {
			t.Skipf("no file system can be made that hangs: %v", err)
		}
		t.Fatal(err)
	}
	t.Cleanup(func() {
		fuse.Close() // who waits for an answer is told that there is none
		if err := unix.Unmount(folder, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

// refusedToHang wants do to be refused for a file system that hangs.
func refusedToHang(do func() error) func() error {
	return func() error {
		if err := do(); err == nil || !strings.Contains(err.Error(), "the file system hangs") {
			return fmt.Errorf("it is not refused: %v", err)
		}
		return nil
	}
}

// TestHungFileSystemHoldsUpNobodyElse: where a file system does not answer any more, LUNs can
// still be looked at, and others be made; snapshots of others are listed and taken.
func TestHungFileSystemHoldsUpNobodyElse(t *testing.T) {
	t.Parallel()                                    // it waits
	dir := loopdevice.FileSystem(t, "ext4", 64<<20) // in memory: a slow disk is no file system that hangs
	folder := filepath.Join(dir, "hung")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	s := newSides(t, dir, person+"[[lun]]\nname = \"h\"\npath = \"hung/h.img\"\nsize = \"1MiB\"\n")
	s.mustPut(t, Put{Object: object(t, configs.LUNTable, fmt.Sprintf(`{"name": "m", "path": %q, "size": "1MiB"}`, filepath.Join(folder, "m.img")))})
	if _, err := s.TakeSnapshots(t.Context(), []string{"a", "h"}, "one"); err != nil {
		t.Fatal(err)
	}
	hang(t, folder)
	for what, do := range map[string]func() error{
		"the list of LUNs": func() error { _, err := s.LUNs(); return err },
		"the LUN itself":   func() error { _, err := s.LUN("h"); return err },
		"the list of stores": func() error {
			stores, err := s.Stores()
			if err == nil && (len(stores) != 2 || !strings.Contains(stores[1].Unknown, "hangs")) {
				err = fmt.Errorf("%+v", stores)
			}
			return err
		},
		"a new LUN in another store": func() error {
			_, err := s.Change(context.Background(), Batch{Puts: []Put{lun(t, "b"), mapOf(t, "b")}})
			return err
		},
		"the list of all snapshots": func() error {
			list, err := s.Snapshots("")
			if err == nil && (len(list) == 0 || list[0].LUN != "a" || list[len(list)-1].LUN != "a") {
				err = fmt.Errorf("%+v", list)
			}
			return err
		},
		"the snapshots of another LUN": func() error { _, err := s.Snapshots("a"); return err },
		"the snapshots of the LUN":     refusedToHang(func() error { _, err := s.Snapshots("h"); return err }),
		"a snapshot of another LUN": func() error {
			_, err := s.TakeSnapshots(context.Background(), []string{"a"}, "two")
			return err
		},
		"a snapshot of the LUN": refusedToHang(func() error {
			_, err := s.TakeSnapshots(context.Background(), []string{"a", "h"}, "three")
			return err
		}),
		"the LUN less, with its image": refusedToHang(func() error {
			_, err := s.Change(context.Background(), Batch{Deletes: []Delete{{Table: configs.LUNTable, Name: "m", Version: AnyVersion, Image: true}}})
			return err
		}),
		"reading the file again": func() error { _, _, err := s.Reload(context.Background()); return err },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			ended := make(chan error, 1)
			go func() { ended <- do() }()
			select {
			case err := <-ended:
				if err != nil {
					t.Error(err)
				}
			case <-time.After(2 * time.Minute):
				t.Error("it hangs")
			}
		})
	}
}
