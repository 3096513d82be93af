package file_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/backstore/file"
	"github.com/isantarget/isantarget/internal/loopdevice"
)

// byTurns writes 16 MiB of two images in steps of 64 KiB, by turns, and tells in how many
// pieces the first lies.
func byTurns(t *testing.T, a, b *file.Store) int {
	t.Helper()
	p := make([]byte, 64<<10)
	for i := range p {
		p[i] = 0xa5
	}
	for off := int64(0); off < 16<<20; off += int64(len(p)) {
		_, first := a.WriteAt(p, off)
		_, second := b.WriteAt(p, off)
		if err := errors.Join(first, second, a.Sync(), b.Sync()); err != nil {
			t.Fatal(err)
		}
	}
	n, err := a.Extents()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A new sparse image on XFS takes its space in units, so that it lies in few pieces; what
// it takes is told as it is, and given back by the block.
func TestExtentHint(t *testing.T) {
	const unit = 1 << 20
	folder := loopdevice.FileSystem(t, "xfs", 512<<20)
	image := func(name string, made bool) *file.Store {
		path := filepath.Join(folder, name)
		if made { // by others, without the hint
			if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, 64<<20)); err != nil {
				t.Fatal(err)
			}
		}
		s := open(t, file.Options{Path: path, Create: true, Size: 64 << 20})
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	s := image("a", false)
	with, without := byTurns(t, s, image("b", false)), byTurns(t, image("c", true), image("d", true))
	if with > 20 || without < 4*with {
		t.Errorf("it lies in %d pieces, without the hint in %d", with, without)
	}
	t.Logf("it lies in %d pieces, without the hint in %d", with, without)

	used := func() int64 {
		t.Helper()
		space, err := s.Space()
		if st := stat(t, filepath.Join(folder, "a")); err != nil || space.Used != st.Blocks*512 {
			t.Errorf("the space is %+v, %v; du says %d", space, err, st.Blocks*512)
		}
		return space.Used
	}
	expect := func(off, length int64, state backstore.ExtentState) {
		t.Helper()
		if e, err := s.ExtentAt(off, length); err != nil || e.Length != length || e.State != state {
			t.Errorf("the extent at %d is %+v, %v, want %d bytes, %v", off, e, err, length, state)
		}
	}
	slack := int64(64 << 10) // the file system's own, where the file lies
	before := used()
	if _, err := s.WriteAt(make([]byte, 4096), 32*unit+8192); err != nil {
		t.Fatal(err)
	}
	if err := s.Sync(); err != nil {
		t.Fatal(err)
	}
	if took := used() - before; took < 4096 || took > unit+slack {
		t.Errorf("a block took %d bytes", took)
	}
	expect(32*unit, 8192, backstore.Anchored)
	expect(32*unit+8192, 4096, backstore.Mapped)
	whole := used()
	if err := errors.Join(s.UnmapAt(32*unit+8192, 4096), s.Sync()); err != nil {
		t.Fatal(err)
	}
	if gave := whole - used(); gave < 4096-slack {
		t.Errorf("the block gave back %d bytes", gave)
	}
	expect(32*unit+8192, 4096, backstore.Deallocated)
	if err := errors.Join(s.UnmapAt(32*unit, unit), s.Sync()); err != nil {
		t.Fatal(err)
	}
	if kept := used() - before; kept > slack {
		t.Errorf("when its unit is unmapped %d bytes are kept", kept)
	}
	expect(31*unit, 33*unit, backstore.Deallocated)
	for off := int64(0); off < 16*unit; off += 2 * unit { // every other unit
		if err := s.UnmapAt(off, unit); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Sync(); err != nil {
		t.Fatal(err)
	}
	if gave := before - used(); gave < 8*unit-slack {
		t.Errorf("of 16 MiB every other gave back %d bytes", gave)
	}
}
