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
	if err := writeZeros(int(f.Fd()), size); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil || st.Size != size || st.Blocks*512 < size {
		t.Errorf("the file has %d bytes and takes %d, %v", st.Size, st.Blocks*512, err)
	}
}
