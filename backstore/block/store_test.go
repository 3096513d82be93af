package block_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/backstore/block"
	"github.com/isantarget/isantarget/backstore/storetest"
	"github.com/isantarget/isantarget/internal/loopdevice"
)

const size = 32 << 20

// loop makes a loop device over a sparse file, and returns the paths of both.
func loop(t *testing.T, sector int, readOnly bool) (device, under string) {
	t.Helper()
	under = filepath.Join(t.TempDir(), "disk")
	if err := errors.Join(os.WriteFile(under, nil, 0o600), os.Truncate(under, size)); err != nil {
		t.Fatal(err)
	}
	return loopdevice.New(t, loopdevice.Options{File: under, Sector: sector, ReadOnly: readOnly}), under
}

func TestStore(t *testing.T) {
	for _, sector := range []int{512, 4096} {
		for _, direct := range []bool{false, true} {
			t.Run(fmt.Sprintf("sector=%d/direct=%v", sector, direct), func(t *testing.T) {
				var paths sync.Map
				open := func(path string) (backstore.Store, error) {
					s, err := block.Open(block.Options{Path: path, Direct: direct})
					if err != nil {
						return nil, err
					}
					paths.Store(s, path)
					return s, nil
				}
				storetest.Run(t, func(t *testing.T) backstore.Store {
					path, _ := loop(t, sector, false)
					s, err := open(path)
					if err != nil {
						t.Fatal(err)
					}
					return s
				}, storetest.Reopens(func(s backstore.Store) (backstore.Store, error) {
					path, _ := paths.Load(s)
					return open(path.(string))
				}))
			})
		}
	}
}

func TestGeometry(t *testing.T) {
	for _, sector := range []int{512, 4096} {
		path, _ := loop(t, sector, false)
		s, err := block.Open(block.Options{Path: path})
		if err != nil {
			t.Fatal(err)
		}
		g := s.Geometry()
		if g.Size != size || g.Physical < sector || !g.Volatile || g.ReadOnly {
			t.Errorf("sectors of %d: Geometry is %+v", sector, g)
		}
		if !s.Features().Has(backstore.CanUnmap|backstore.ReadsZeros) || g.Unmap < sector {
			t.Errorf("a loop device over a sparse file punches holes; here the features are %v, the granule %d", s.Features(), g.Unmap)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// What is unmapped is a hole in the file under the loop device.
func TestUnmapAt_GivesSpaceBack(t *testing.T) {
	path, under := loop(t, 512, false)
	used := func() int64 {
		var st unix.Stat_t
		if err := unix.Stat(under, &st); err != nil {
			t.Fatal(err)
		}
		return st.Blocks * 512
	}
	s, err := block.Open(block.Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	p := make([]byte, 4<<20)
	for i := range p {
		p[i] = 1
	}
	if _, err := s.WriteAt(p, 0); err != nil {
		t.Fatal(err)
	}
	if err := s.Sync(); err != nil {
		t.Fatal(err)
	}
	before := used()
	if err := s.UnmapAt(0, 3<<20); err != nil {
		t.Fatal(err)
	}
	if after := used(); before < 4<<20 || after > before-3<<20 {
		t.Errorf("the file took %d bytes before the unmap and takes %d", before, after)
	}
}

func TestOpen_Exclusive(t *testing.T) {
	path, _ := loop(t, 512, false)
	s, err := block.Open(block.Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	_, err = block.Open(block.Options{Path: path})
	if !errors.Is(err, backstore.ErrLocked) || !strings.Contains(err.Error(), "this process") || !strings.Contains(err.Error(), path) {
		t.Errorf("opened twice: %v", err)
	}
	t.Log(err)
}

// A device that is mounted is refused, and the reason names the folder.
func TestOpen_Mounted(t *testing.T) {
	path, _ := loop(t, 512, false)
	folder := loopdevice.Format(t, path, "ext4")
	_, err := block.Open(block.Options{Path: path})
	if !errors.Is(err, backstore.ErrLocked) || !strings.Contains(err.Error(), "mounted on "+folder) {
		t.Errorf("a mounted device: %v", err)
	}
	t.Log(err)
}

func TestOpen_RefusesWithAReason(t *testing.T) {
	for _, path := range []string{t.TempDir(), "/dev/null", filepath.Join(t.TempDir(), "missing")} {
		if _, err := block.Open(block.Options{Path: path}); err == nil {
			t.Errorf("%s: opened", path)
		} else {
			t.Log(err)
		}
	}
}

func TestOpen_WriteProtected(t *testing.T) {
	path, _ := loop(t, 512, true)
	if _, err := block.Open(block.Options{Path: path}); err == nil || !strings.Contains(err.Error(), "read-only") {
		t.Errorf("a write-protected device for writing: %v", err)
	}
	s, err := block.Open(block.Options{Path: path, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if _, err := s.WriteAt(make([]byte, 512), 0); !errors.Is(err, backstore.ErrReadOnly) {
		t.Errorf("WriteAt: %v, want ErrReadOnly", err)
	}
	if err := s.ZeroAt(0, 512, true); !errors.Is(err, backstore.ErrReadOnly) {
		t.Errorf("ZeroAt: %v, want ErrReadOnly", err)
	}
	if _, err := s.ReadAt(make([]byte, 512), 0); err != nil {
		t.Errorf("ReadAt: %v", err)
	}
	if err := s.Sync(); err != nil {
		t.Errorf("Sync: %v", err)
	}
}
