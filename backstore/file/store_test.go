package file_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/backstore/file"
	"github.com/isantarget/isantarget/backstore/storetest"
)

const size = 32 << 20

// folders are places on different file systems: each has its own idea of holes,
// preallocation and RWF_NOWAIT.
func folders(t *testing.T) map[string]string {
	return map[string]string{"tmpdir": t.TempDir(), "tmpfs": tmpfs(t)}
}

func tmpfs(t *testing.T) string {
	folder, err := os.MkdirTemp("/dev/shm", "isantarget-test-")
	if err != nil {
		t.Fatalf("the tests need a tmpfs at /dev/shm: %v", err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	return folder
}

func open(t testing.TB, o file.Options) *file.Store {
	t.Helper()
	s, err := file.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// suite runs storetest on new images in folder, opened as o says.
func suite(t *testing.T, folder string, o file.Options) {
	options := &sync.Map{} // of each store
	number := 0
	storetest.Run(t, func(t *testing.T) backstore.Store {
		number++
		own := o
		own.Path = filepath.Join(folder, fmt.Sprintf("image-%d", number))
		own.Create = true
		own.Size = size
		s := open(t, own)
		t.Cleanup(func() { _ = os.Remove(own.Path) })
		options.Store(s, own)
		return s
	}, storetest.Reopens(func(s backstore.Store) (backstore.Store, error) {
		own, _ := options.Load(s)
		return file.Open(own.(file.Options))
	}))
}

func TestStore(t *testing.T) {
	for name, folder := range folders(t) {
		for _, o := range []file.Options{
			{Provisioning: file.Sparse}, {Provisioning: file.Fixed}, {Provisioning: file.Sparse, Direct: true},
		} {
			if o.Direct && name == "tmpfs" {
				continue // takes O_DIRECT, and has nothing but the page cache
			}
			t.Run(fmt.Sprintf("%s/%v/direct=%v", name, o.Provisioning, o.Direct), func(t *testing.T) { suite(t, folder, o) })
		}
	}
}

func stat(t *testing.T, path string) unix.Stat_t {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st
}

func TestOpen_CreatesWhatIsMissing(t *testing.T) {
	for name, folder := range folders(t) {
		for _, p := range []file.Provisioning{file.Sparse, file.Fixed} {
			t.Run(fmt.Sprintf("%s/%v", name, p), func(t *testing.T) {
				path := filepath.Join(folder, p.String())
				s := open(t, file.Options{Path: path, Create: true, Size: size, Provisioning: p})
				defer func() { _ = s.Close() }()
				st := stat(t, path)
				if st.Size != size || st.Mode&0o7777 != 0o600 {
					t.Errorf("the image has %d bytes and mode %o, want %d and 600", st.Size, st.Mode&0o7777, size)
				}
				if allocated := st.Blocks * 512; (p == file.Fixed) != (allocated >= size) {
					t.Errorf("the image takes %d bytes of %d", allocated, size)
				}
				if g := s.Geometry(); (g.Unmap > 0) != (p == file.Sparse) || !g.Volatile || g.ReadOnly {
					t.Errorf("Geometry is %+v", g)
				}
			})
		}
	}
}

func TestOpen_KeepsTheSizeOfAnImage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "image")
	if err := errors.Join(os.WriteFile(path, []byte("some bytes"), 0o600), os.Truncate(path, size)); err != nil {
		t.Fatal(err)
	}
	s := open(t, file.Options{Path: path, Create: true, Size: 2 * size})
	defer func() { _ = s.Close() }()
	if got := s.Geometry().Size; got != size {
		t.Errorf("the size is %d, want that of the image, %d", got, size)
	}
	p := make([]byte, 10)
	if _, err := s.ReadAt(p, 0); err != nil || string(p) != "some bytes" {
		t.Errorf("the image reads as %q, %v", p, err)
	}
}

// A sparse image that is opened as a fixed one gets all its space, and keeps
// what it holds.
func TestOpen_FillsTheHolesOfAFixedImage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "image")
	if err := errors.Join(os.WriteFile(path, []byte("some bytes"), 0o600), os.Truncate(path, size)); err != nil {
		t.Fatal(err)
	}
	s := open(t, file.Options{Path: path, Provisioning: file.Fixed})
	defer func() { _ = s.Close() }()
	if st := stat(t, path); st.Blocks*512 < size || st.Size != size {
		t.Errorf("the image takes %d bytes of %d", st.Blocks*512, st.Size)
	}
	p := make([]byte, 10)
	if _, err := s.ReadAt(p, 0); err != nil || string(p) != "some bytes" {
		t.Errorf("the image reads as %q, %v", p, err)
	}
}

func TestOpen_RefusesWithAReason(t *testing.T) {
	folder := t.TempDir()
	path := func(name string) string { return filepath.Join(folder, name) }
	err := errors.Join(os.WriteFile(path("empty"), nil, 0o600), unix.Mkfifo(path("fifo"), 0o600),
		os.WriteFile(path("odd"), make([]byte, 1000), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]file.Options{
		"missing":          {Path: path("missing")},
		"missing, no size": {Path: path("missing"), Create: true},
		"negative size":    {Path: path("missing"), Create: true, Size: -1},
		"no folder":        {Path: path("no/such/folder"), Create: true, Size: size},
		"folder":           {Path: folder, Create: true, Size: size},
		"empty":            {Path: path("empty"), Create: true, Size: size},
		"fifo":             {Path: path("fifo"), Create: true, Size: size},
		"device":           {Path: "/dev/null", Create: true, Size: size},
		"odd and direct":   {Path: path("odd"), Direct: true},
		"new odd, direct":  {Path: path("missing"), Direct: true, Create: true, Size: size + 1},
		"too large":        {Path: path("missing"), Create: true, Size: 1 << 62},
		"read-only, new":   {Path: path("missing"), Create: true, Size: size, ReadOnly: true},
	} {
		s, err := file.Open(o)
		if err == nil {
			t.Errorf("%s: opened", name)
			_ = s.Close()
			continue
		}
		t.Logf("%s: %v", name, err)
	}
	expectFolder(t, folder, "empty", "fifo", "odd")
}

// expectFolder checks that nothing but names is in a folder.
func expectFolder(t *testing.T, folder string, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range entries {
		if i >= len(names) || e.Name() != names[i] {
			t.Errorf("the folder holds %v, want %v", entries, names)
			return
		}
	}
}

func TestReadOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "image")
	w := open(t, file.Options{Path: path, Create: true, Size: size})
	if _, err := w.WriteAt([]byte("some bytes"), 0); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o400); err != nil {
		t.Fatal(err)
	}
	s := open(t, file.Options{Path: path, ReadOnly: true})
	second := open(t, file.Options{Path: path, ReadOnly: true}) // readers share the image
	defer func() { _ = second.Close() }()
	defer func() { _ = s.Close() }()
	m := backstore.Bind(s)
	if !m.Geometry().ReadOnly || m.Geometry().Unmap != 0 {
		t.Errorf("Geometry is %+v", m.Geometry())
	}
	_, writeErr := m.WriteAt([]byte("x"), 0)
	_, directErr := s.WriteAt([]byte("x"), 0)
	_, throughErr := s.WriteThroughAt([]byte("x"), 0)
	for call, err := range map[string]error{
		"WriteAt": writeErr, "WriteAt of the store": directErr, "WriteThroughAt": throughErr,
		"ZeroAt": s.ZeroAt(0, 10, true), "UnmapAt": s.UnmapAt(0, 10), "CopyAt": s.CopyAt(0, second, 100, 10),
	} {
		if !errors.Is(err, backstore.ErrReadOnly) {
			t.Errorf("%s: %v, want ErrReadOnly", call, err)
		}
	}
	p := make([]byte, 10)
	if _, err := m.ReadAt(p, 0); err != nil || string(p) != "some bytes" {
		t.Errorf("the image reads as %q, %v", p, err)
	}
	if err := m.Sync(); err != nil {
		t.Errorf("Sync of a read-only image: %v", err)
	}
	if _, err := file.Open(file.Options{Path: path}); !errors.Is(err, backstore.ErrLocked) {
		t.Errorf("a writer beside readers: %v, want ErrLocked", err)
	}
}

// An image that someone cut short reads as corrupt, at the first missing byte.
func TestReadAt_TruncatedImage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "image")
	s := open(t, file.Options{Path: path, Create: true, Size: size})
	defer func() { _ = s.Close() }()
	if err := os.Truncate(path, size-5000); err != nil {
		t.Fatal(err)
	}
	n, err := s.ReadAt(make([]byte, 8192), size-8192)
	var e *backstore.Error
	if !errors.Is(err, backstore.ErrCorrupt) || !errors.As(err, &e) || e.Offset != size-5000 || e.Length != 5000 || n != 8192-5000 {
		t.Errorf("a read over the cut: %d, %v", n, err)
	}
}

// The error of a write that ran out of space names the first byte that found
// none, and what was there before can still be read and written.
func TestWriteAt_NoSpace(t *testing.T) {
	folder := smallFileSystem(t, 8<<20)
	path := filepath.Join(folder, "image")
	s := open(t, file.Options{Path: path, Create: true, Size: 1 << 30})
	defer func() { _ = s.Close() }()
	p := make([]byte, 1<<20)
	for i := range p {
		p[i] = 0xab
	}
	for off := int64(0); ; off += 1 << 20 {
		n, err := s.WriteAt(p, off)
		if err == nil {
			if off > 8<<20 {
				t.Fatal("more was written than there is")
			}
			continue
		}
		var e *backstore.Error
		if !errors.Is(err, backstore.ErrNoSpace) || !errors.As(err, &e) || e.Offset != off+int64(n) || e.Length != 1<<20-int64(n) {
			t.Errorf("the write without space: %d, %v", n, err)
		}
		break
	}
	if _, err := s.WriteAt(p, 0); err != nil {
		t.Errorf("an overwrite on a full file system: %v", err)
	}
	if _, err := s.WriteThroughAt(p, 900<<20); !errors.Is(err, backstore.ErrNoSpace) {
		t.Errorf("a write through without space: %v", err)
	}
	if err := s.Sync(); err != nil {
		t.Errorf("Sync after a write that ran out of space: %v; only a failed sync is for ever", err)
	}
	if err := s.UnmapAt(0, 4<<20); err != nil {
		t.Fatal(err)
	}
	if _, err := s.WriteAt(p, 500<<20); err != nil {
		t.Errorf("a write after space was given back: %v", err)
	}
}

func TestOpen_FixedWithoutSpaceLeavesNothing(t *testing.T) {
	folder := smallFileSystem(t, 8<<20)
	path := filepath.Join(folder, "image")
	_, err := file.Open(file.Options{Path: path, Create: true, Size: size, Provisioning: file.Fixed})
	if !errors.Is(err, backstore.ErrNoSpace) {
		t.Errorf("a fixed image larger than its file system: %v, want ErrNoSpace", err)
	}
	t.Log(err)
	expectFolder(t, folder)
	var st unix.Statfs_t
	if err := unix.Statfs(folder, &st); err != nil || st.Bfree != st.Blocks {
		t.Errorf("of %d blocks %d are free, %v", st.Blocks, st.Bfree, err)
	}
}

// smallFileSystem mounts a tmpfs of a few bytes.
func smallFileSystem(t *testing.T, bytes int64) string {
	t.Helper()
	folder := t.TempDir()
	if err := unix.Mount("tmpfs", folder, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0700", bytes)); err != nil {
		t.Skipf("a small file system has to be mounted, which needs root: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(folder, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return folder
}

func TestCreate_NeverOverwrites(t *testing.T) {
	path := filepath.Join(t.TempDir(), "image")
	results := make([]error, 8)
	stores := make([]*file.Store, len(results))
	var group sync.WaitGroup
	for i := range results {
		group.Go(func() {
			stores[i], results[i] = file.Open(file.Options{Path: path, Create: true, Size: size})
		})
	}
	group.Wait()
	opened := 0
	for i, err := range results {
		switch {
		case err == nil:
			opened++
			_ = stores[i].Close()
		case !errors.Is(err, backstore.ErrLocked):
			t.Errorf("beside other makers: %v, want ErrLocked", err)
		}
	}
	if opened != 1 {
		t.Errorf("%d of %d makers of the same image have it", opened, len(results))
	}
	expectFolder(t, filepath.Dir(path), "image")
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		t.Error("there is no image")
	}
}
