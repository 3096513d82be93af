package sbc

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/backstore/fault"
	"github.com/isantarget/isantarget/backstore/file"
	"github.com/isantarget/isantarget/backstore/memory"
	"github.com/isantarget/isantarget/internal/loopdevice"
	"github.com/isantarget/isantarget/scsi"
)

// A filler takes all that a file system has left.
type filler struct {
	t    *testing.T
	file *os.File
	size int64
}

func newFiller(t *testing.T, folder string) *filler {
	t.Helper()
	file, err := os.Create(filepath.Join(folder, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	return &filler{t: t, file: file}
}

// fill takes what there is, to the last block, also what a flush gives back.
func (f *filler) fill() {
	f.t.Helper()
	const least = 4096
	for full := 0; full < 2; full++ {
		for n := int64(64 * mib); n >= least; {
			err := unix.Fallocate(int(f.file.Fd()), 0, f.size, n)
			if n == least { // one that is written may find room where one that is taken finds none
				_, err = f.file.WriteAt(make([]byte, least), f.size)
			}
			switch {
			case err == nil:
				f.size += n
				full = 0
			case errors.Is(err, unix.ENOSPC):
				n /= 2
			case !errors.Is(err, unix.EINTR):
				f.t.Fatal(err)
			}
		}
		if err := f.file.Sync(); err != nil {
			f.t.Fatal(err)
		}
	}
}

// remove gives everything back.
func (f *filler) remove() {
	f.t.Helper()
	if err := errors.Join(f.file.Truncate(0), f.file.Sync()); err != nil {
		f.t.Fatal(err)
	}
	f.size = 0
}

// On a full file system each command that changes the medium writes what needs no space,
// ends with the block that is the first without, and tears none; what is there can be read
// and written; and when there is room the same command succeeds.
func TestFullFileSystem_EveryWriter(t *testing.T) {
	for _, x := range []struct {
		kind  string
		disk  int64
		block int
	}{{"ext4", 64 * mib, 512}, {"xfs", 320 * mib, 4096}} {
		t.Run(x.kind, func(t *testing.T) {
			t.Parallel()
			disk := filepath.Join(t.TempDir(), "disk")
			if err := errors.Join(os.WriteFile(disk, nil, 0o600), os.Truncate(disk, x.disk)); err != nil {
				t.Fatal(err)
			}
			folder := loopdevice.Format(t, loopdevice.New(t, loopdevice.Options{File: disk}), x.kind)
			full := newFiller(t, folder)
			var list []*cramped
			content := pattern(mib, 1)
			for i, w := range writers() {
				if w.row != "WRITE ATOMIC (16)" { // no image promises that
					list = append(list, newCramped(t, w, filepath.Join(folder, fmt.Sprint(i)), content, x.block))
				}
			}
			for _, c := range list {
				full.fill()
				c.whileFull(t)
			}
			full.remove()
			for _, c := range list {
				c.withRoom(t)
			}
		})
	}
}

// A cramped scene has blocks in the image for its first part, and none for the rest.
type cramped struct {
	*scene
	writer writer
	edge   int64 // the first block without space
}

func newCramped(t *testing.T, w writer, path string, content []byte, size int) *cramped {
	t.Helper()
	const length = 2 * mib
	image, err := file.Open(file.Options{Path: path, Create: true, Size: length})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = image.Close() })
	if _, err := image.WriteAt(content, 0); err != nil {
		t.Fatal(err)
	}
	if err := image.Sync(); err != nil {
		t.Fatal(err)
	}
	from, err := memory.New(mib)
	if err != nil {
		t.Fatal(err)
	}
	edge := int64(len(content) / size)
	return &cramped{scene: newScene(t, w, size, image, image, from, from, uint64(edge)-37, 100), writer: w, edge: edge}
}

// whileFull sends the writer while not a block is left.
func (c *cramped) whileFull(t *testing.T) {
	t.Helper()
	w := c.writer
	a := w.send(c.scene)
	first := int64(-1)
	if a.status != scsi.Good {
		first = c.edge
	}
	if w.family == ofFormat || w.family == ofSanitize {
		first = a.information()
	}
	c.check(t, w, a, first)
	key, code, block := mishap{fault: fault.Fault{Errno: unix.ENOSPC}}.sense(w)
	switch {
	case w.spares:
		if a.status != scsi.Good {
			t.Errorf("%s, which needs no space: %v, %s", w.name(), a.status, a.describe())
		}
	case a.status != scsi.CheckCondition || a.key() != key || a.code() != code:
		t.Errorf("%s: %v, %s; want %v, %v", w.name(), a.status, a.describe(), key, code)
	case block && a.information() != c.edge, !block && a.information() >= 0:
		t.Errorf("%s: INFORMATION %d; the first block without space is %d", w.name(), a.information(), c.edge)
	}
	if w.family == ofFormat || w.family == ofSanitize {
		return
	}
	c.goesOn(t)
}

// goesOn reads what there is, and writes it anew, unless it was unmapped just now.
func (c *cramped) goesOn(t *testing.T) {
	t.Helper()
	blocks := uint64(c.edge) - c.lba
	a := wantGood(t, c.sends(cdb(form16, 0x88, 0, c.lba, blocks), nil))
	if d := difference(a.in, c.held(t)[:len(a.in)]); d >= 0 || len(a.in) != int(blocks)*c.size {
		t.Errorf("after %s byte %d of %d is read otherwise than it is", c.writer.name(), d, len(a.in))
	}
	if !c.writer.spares {
		wantGood(t, c.sends(cdb(form16, 0x8a, 0, c.lba, blocks), c.old[:len(a.in)]))
	}
	wantGood(t, c.sends(syncCache(0), nil))
}

// withRoom sends it once more.
func (c *cramped) withRoom(t *testing.T) {
	t.Helper()
	if c.writer.spares && c.writer.family != ofFormat && c.writer.family != ofSanitize {
		return // it has succeeded
	}
	a := c.writer.send(c.scene)
	if a.status != scsi.Good {
		t.Errorf("%s, when there is room: %v, %s", c.writer.name(), a.status, a.describe())
	}
	c.check(t, c.writer, a, -1)
	if m := c.device.Medium(); m.Lost() != nil || m.Sync() != nil {
		t.Errorf("%s: the medium is not trusted: %v", c.writer.name(), m.Lost())
	}
}
