package block_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/backstore/block"
	"github.com/isantarget/isantarget/backstore/storetest"
)

const size = 32 << 20

// loop makes a loop device with sectors of the given size over a sparse file.
func loop(t *testing.T, sector int, readOnly bool) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("loop devices need root")
	}
	control, err := unix.Open("/dev/loop-control", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skipf("this machine has no loop devices: /dev/loop-control: %v", err)
	}
	defer func() { _ = unix.Close(control) }()
	f, err := os.Create(filepath.Join(t.TempDir(), "disk"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	config := unix.LoopConfig{Fd: uint32(f.Fd()), Size: uint32(sector)}
	if readOnly {
		config.Info.Flags = unix.LO_FLAGS_READ_ONLY
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
					s, err := open(loop(t, sector, false))
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
		s, err := block.Open(block.Options{Path: loop(t, sector, false)})
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
	path := loop(t, 512, false)
	backing, err := os.ReadFile("/sys/block/" + filepath.Base(path) + "/loop/backing_file")
	if err != nil {
		t.Fatal(err)
	}
	used := func() int64 {
		var st unix.Stat_t
		if err := unix.Stat(strings.TrimSpace(string(backing)), &st); err != nil {
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
	path := loop(t, 512, false)
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
	path := loop(t, 512, false)
	if out, err := exec.Command("mkfs.ext4", "-q", path).CombinedOutput(); errors.Is(err, exec.ErrNotFound) {
		t.Skip("there is no mkfs.ext4 to make a file system with")
	} else if err != nil {
		t.Fatalf("mkfs.ext4: %v: %s", err, out)
	}
	folder := t.TempDir()
	if err := unix.Mount(path, folder, "ext4", 0, ""); err != nil {
		t.Skipf("a file system cannot be mounted here: %v", err)
	}
	defer func() {
		if err := unix.Unmount(folder, 0); err != nil {
			t.Error(err)
		}
	}()
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
	path := loop(t, 512, true)
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
