package file

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// Where a file cannot be made without a name (NFS) it has a hidden one first.
func TestCreateNamed(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "image")
	for _, p := range []Provisioning{Sparse, Fixed} {
		fd, err := createNamed(Options{Path: path, Size: 1 << 20, Provisioning: p})
		if err != nil {
			t.Fatal(err)
		}
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil || st.Size != 1<<20 || st.Mode&0o7777 != 0o600 || st.Nlink != 1 {
			t.Errorf("%v: the image is %+v, %v", p, st, err)
		}
		if _, err := Open(Options{Path: path}); err == nil {
			t.Errorf("%v: the image is not locked from its first day", p)
		}
		if _, err := createNamed(Options{Path: path, Size: 1 << 21}); !errors.Is(err, fs.ErrExist) {
			t.Errorf("%v: made over an image that exists: %v", p, err)
		}
		if entries, err := os.ReadDir(folder); err != nil || len(entries) != 1 {
			t.Errorf("%v: the folder holds %v, %v", p, entries, err)
		}
		if err := errors.Join(unix.Close(fd), os.Remove(path)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := createNamed(Options{Path: path, Size: 1 << 62, Provisioning: Fixed}); err == nil {
		t.Error("an image of 4 EiB is made")
	}
	if entries, err := os.ReadDir(folder); err != nil || len(entries) != 0 {
		t.Errorf("after a failure the folder holds %v, %v", entries, err)
	}
}

// Where fallocate(2) is not known the zeros of a fixed image are written.
func TestWriteZeros(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "image"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	const size = 5<<20 + 12345
	if err := writeZeros(int(f.Fd()), Options{Size: size}); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil || st.Size != size || st.Blocks*512 < size {
		t.Errorf("the file has %d bytes and takes %d, %v", st.Size, st.Blocks*512, err)
	}
}

// A fixed image whose making is cancelled is not there, and a sparse one that was to
// become fixed has what it had: its data, its holes, and the space that it held.
func TestFixed_CancelLeavesNothing(t *testing.T) {
	const size = 4 * allocationStep
	cancelled := errors.New("cancelled")
	folder := t.TempDir()
	path := filepath.Join(folder, "image")
	for after := range int64(4) {
		var told []int64
		_, err := Open(Options{Path: path, Create: true, Size: size, Provisioning: Fixed, Step: func(done, total int64) error {
			if told = append(told, done); total != size {
				t.Errorf("of %d bytes, want %d", total, size)
			}
			if done >= after*allocationStep {
				return cancelled
			}
			return nil
		}})
		if !errors.Is(err, cancelled) || int64(len(told)) != after+1 {
			t.Errorf("cancelled after %d steps: %v, heard of %v", after, err, told)
		}
		if entries, err := os.ReadDir(folder); err != nil || len(entries) != 0 {
			t.Errorf("the folder holds %v, %v", entries, err)
		}
	}

	s, err := Open(Options{Path: path, Create: true, Size: size})
	if err != nil {
		t.Fatal(err)
	}
	data := []byte("data that is there")
	_, err = s.WriteAt(data, 3*allocationStep+4096)
	held := s.ZeroAt(1<<20, 1<<20, false) // anchored
	if err := errors.Join(err, held, s.Sync(), s.Close()); err != nil {
		t.Fatal(err)
	}
	before := blocksOf(t, path)
	steps := 0
	_, err = Open(Options{Path: path, Provisioning: Fixed, Step: func(done, total int64) error {
		if steps++; done > 2*allocationStep {
			return cancelled
		}
		return nil
	}})
	if !errors.Is(err, cancelled) || steps < 3 {
		t.Errorf("cancelled: %v after %d steps", err, steps)
	}
	if now := blocksOf(t, path); now > before+64 { // the file system may need some to note what was there
		t.Errorf("the image takes %d blocks, before it was to be fixed %d", now, before)
	}
	s, err = Open(Options{Path: path, Provisioning: Fixed})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	got := make([]byte, len(data))
	if _, err := s.ReadAt(got, 3*allocationStep+4096); err != nil || string(got) != string(data) {
		t.Errorf("it holds %q, %v", got, err)
	}
	if now := blocksOf(t, path); now*512 < size {
		t.Errorf("fixed it takes %d bytes of %d", now*512, int64(size))
	}
}

func blocksOf(t *testing.T, path string) int64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Blocks
}
