package snapshot_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/backstore/file"
	"github.com/isantarget/isantarget/backstore/snapshot"
)

// killed is what a process that ends at a step leaves behind.
type killed struct{ step string }

// dieAt does something with an image and ends in the middle of it, before step n. It
// tells before which; empty: there was no such step, and it is done.
func (d *disk) dieAt(n int, do func(*snapshot.Image) error) (step string, err error) {
	i := snapshot.At(d.path)
	count := 0
	i.Before(func(name string) {
		if count == n {
			panic(killed{name})
		}
		count++
	})
	defer func() {
		if k, is := recover().(killed); is {
			step = k.step
		}
	}()
	return "", do(i)
}

// Whatever is done, and wherever the process ends: the old state holds or the new one,
// and what was begun can be done again.
func TestKill(t *testing.T) {
	var steps atomic.Int64
	t.Cleanup(func() { t.Logf("ended at %d steps", steps.Load()) })
	for _, name := range []string{"ext4", "xfs", "btrfs"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			folder := mounted(t, name, 512<<20)
			for number, c := range killCases() {
				for n := 0; ; n++ {
					d := newDisk(t, filepath.Join(folder, fmt.Sprintf("disk-%d-%d.img", number, n)), 512<<10, uint64(n))
					d.take(t, "base")
					d.scribble(t)
					if c.prepare != nil {
						c.prepare(t, d)
					}
					when := fmt.Sprintf("%s, step %d", c.name, n)
					before := append([]byte(nil), d.want...)
					step, err := d.dieAt(n, c.do)
					if step != "" {
						when += " (" + step + ")"
						steps.Add(1)
					}
					must(t, err)
					c.check(t, d, before, when)
					if err := c.do(d.Image); step != "" && err != nil && !c.isDone(err) {
						t.Fatalf("%s: done again: %v", when, err)
					}
					c.check(t, d, before, when+", done again")
					d.scribble(t)
					d.check(t, when+", used again")
					if left, _ := filepath.Glob(filepath.Join(snapshot.Folder(d.path), ".*")); len(left) > 0 {
						t.Fatalf("%s: left behind: %v", when, left)
					}
					d.destroy(t)
					if step == "" {
						break
					}
				}
			}
		})
	}
}

// A removal that ended early is begun again, and ends early again; a snapshot may have
// been taken in between. The image can be opened all the while.
func TestKill_Twice(t *testing.T) {
	t.Parallel()
	folder := mounted(t, "ext4", 512<<20)
	remove := func(i *snapshot.Image) error { return removeNow(i, "base") }
	for _, taken := range []bool{false, true} {
		for first := 0; ; first++ {
			step := ""
			for second := 0; ; second++ {
				d := newDisk(t, filepath.Join(folder, "disk.img"), 512<<10, 7)
				d.take(t, "base")
				d.scribble(t)
				var err error
				step, err = d.dieAt(first, remove)
				must(t, err)
				delete(d.kept, "base") // it may be on its way out
				if taken {
					d.take(t, "new")
					d.scribble(t)
				}
				again, err := d.dieAt(second, remove)
				when := fmt.Sprintf("ended at step %d (%s), and at step %d (%s)", first, step, second, again)
				if err != nil && !strings.Contains(err.Error(), "no snapshot") {
					t.Fatalf("%s: %v", when, err)
				}
				d.check(t, when)
				if err := remove(d.Image); err != nil && !strings.Contains(err.Error(), "no snapshot") {
					t.Fatalf("%s: %v", when, err)
				}
				d.scribble(t)
				d.check(t, when+", and done")
				d.destroy(t)
				if again == "" || step != "rename disk.img" { // elsewhere nothing of the image has changed, or all
					break
				}
			}
			if step == "" {
				break
			}
		}
	}
}

func (d *disk) destroy(t *testing.T) {
	t.Helper()
	must(t, errors.Join(os.Remove(d.path), os.RemoveAll(snapshot.Folder(d.path))))
}

type killCase struct {
	name    string
	prepare func(*testing.T, *disk)
	do      func(*snapshot.Image) error
	// check brings what the disk should hold to the state that is there, and compares.
	check  func(t *testing.T, d *disk, before []byte, when string)
	isDone func(error) bool // an error that says that it was done
}

func says(text string) func(error) bool {
	return func(err error) bool { return strings.Contains(err.Error(), text) }
}

func killCases() []killCase {
	second := func(t *testing.T, d *disk) { d.take(t, "second"); d.scribble(t) }
	remove := func(name string) func(*snapshot.Image) error {
		return func(i *snapshot.Image) error { return removeNow(i, name) }
	}
	removed := func(name string) func(t *testing.T, d *disk, before []byte, when string) {
		return func(t *testing.T, d *disk, before []byte, when string) {
			if have := " " + names(t, d.path) + " "; !strings.Contains(have, " "+name+" ") {
				delete(d.kept, name)
			}
			d.check(t, when)
		}
	}
	return []killCase{
		{"take", nil, func(i *snapshot.Image) error { return i.Take("new", now()) }, func(t *testing.T, d *disk, before []byte, when string) {
			if strings.Contains(names(t, d.path), "new") {
				d.kept["new"] = before
			}
			d.check(t, when)
		}, says("already")},
		{"take and take back", nil, func(i *snapshot.Image) error {
			if err := i.Take("new", now()); err != nil && !strings.Contains(err.Error(), "already") {
				return err
			}
			return i.Undo("new")
		}, func(t *testing.T, d *disk, before []byte, when string) { d.check(t, when) }, says("no snapshot")},
		{"rollback", second, func(i *snapshot.Image) error { return i.Rollback("base") }, func(t *testing.T, d *disk, before []byte, when string) {
			s := open(t, file.Options{Path: d.path})
			if got := content(t, s); !bytes.Equal(got, d.want) {
				copy(d.want, d.kept["base"])
			}
			must(t, s.Close())
			d.check(t, when)
		}, nil},
		{"remove below a snapshot", second, remove("base"), removed("base"), says("no snapshot")},
		{"remove below the image", second, remove("second"), removed("second"), says("no snapshot")},
		{"remove the last", nil, remove("base"), removed("base"), says("no snapshot")},
		{"freeze and remove", nil, func(i *snapshot.Image) error {
			to, err := i.Remove("base")
			if err != nil || to.Done {
				return err
			}
			if to.Image {
				if err := i.Freeze("base", to); err != nil {
					return err
				}
			}
			return removeNow(i, "base")
		}, removed("base"), says("no snapshot")},
		{"clone", nil, func(i *snapshot.Image) error {
			return i.Clone("base", i.Path()+".clone")
		}, func(t *testing.T, d *disk, before []byte, when string) {
			if _, err := os.Stat(d.path + ".clone"); err == nil {
				holds(t, d.path+".clone", d.kept["base"], when)
			}
			d.check(t, when)
		}, says("already")},
	}
}

// removeNow deletes a snapshot of an image that nobody has open.
func removeNow(i *snapshot.Image, name string) error {
	for {
		to, err := i.Remove(name)
		if err != nil || to.Done {
			return err
		}
		if err := i.Merge(context.Background(), name, to, false, func(int64) {}); err != nil {
			return err
		}
		if err := i.Join(name, to); err != nil || to.Image {
			return err
		}
		if !strings.Contains(i.Names(), name) {
			return nil
		}
	}
}

// A crash leaves space that was allocated and not written, and reading it makes the
// system take it for data: it must not be held.
func TestOverlay_Unwritten(t *testing.T) {
	for _, name := range []string{"ext4", "ext4-1k", "xfs-no-reflink"} {
		t.Run(name, func(t *testing.T) {
			d := newDisk(t, filepath.Join(mounted(t, name, 512<<20), "disk.img"), 4<<20, 81)
			d.take(t, "one")
			s := open(t, file.Options{Path: d.path})
			_, err := s.WriteAt(noise(4096, d.r), 2<<20)
			_, again := s.ReadAt(d.want[2<<20:2<<20+4096], 2<<20)
			must(t, errors.Join(err, again, s.Sync(), s.Close()))
			f, err := os.OpenFile(d.path, os.O_RDWR, 0)
			must(t, err)
			for off := int64(0); off < 4<<20; off += 64 << 10 { // in the holes, and beside what is held
				must(t, unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, off, 32<<10))
			}
			must(t, errors.Join(f.Sync(), f.Close()))
			if _, err := os.ReadFile(d.path); err != nil { // into the page cache
				t.Fatal(err)
			}
			d.check(t, "with space that was never written")
			d.scribble(t)
			d.check(t, "used again")
		})
	}
}
