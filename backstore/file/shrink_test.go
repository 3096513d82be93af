package file_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/backstore/file"
	"github.com/isantarget/isantarget/internal/loopdevice"
)

// An image that is made smaller holds what it held before the new end, gives the space
// behind it back, and reads zeros there when it is made bigger again.
func TestShrink(t *testing.T) {
	for _, kind := range []string{"ext4", "xfs", "btrfs"} {
		t.Run(kind, func(t *testing.T) {
			folder := loopdevice.FileSystem(t, kind, 512<<20)
			for _, o := range []file.Options{{}, {Direct: true}, {Provisioning: file.Fixed}, {Provisioning: file.Fixed, Direct: true}} {
				if kind == "btrfs" && o.Provisioning == file.Fixed {
					continue // copies on write: see the package comment
				}
				t.Run(fmt.Sprintf("%v/direct=%v", o.Provisioning, o.Direct), func(t *testing.T) {
					o.Path, o.Create, o.Size = filepath.Join(folder, "image"), true, 64<<20
					defer os.Remove(o.Path)
					shrink(t, o)
				})
			}
		})
	}
}

func shrink(t *testing.T, o file.Options) {
	s := open(t, o)
	p := bytes.Repeat([]byte("isantarget"), 4<<20/10+1)[:4<<20]
	for off := int64(0); off < o.Size; off += int64(len(p)) {
		if _, err := s.WriteAt(p, off); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Sync(); err != nil {
		t.Fatal(err)
	}
	for _, no := range []int64{-1, 0, o.Size, o.Size + 4096} {
		if err := s.Shrink(no); !errors.Is(err, backstore.ErrRange) {
			t.Errorf("Shrink(%d): %v, want ErrRange", no, err)
		}
	}
	const to = 10<<20 + 4096
	if err := s.Shrink(to); err != nil {
		t.Fatal(err)
	}
	if st := stat(t, o.Path); st.Size != to || st.Blocks*512 > to+1<<20 || st.Blocks*512 < 10<<20 {
		t.Errorf("the file has %d bytes and takes %d", st.Size, st.Blocks*512)
	}
	if got := s.Geometry().Size; got != to {
		t.Errorf("the store has %d bytes", got)
	}
	if _, err := s.WriteAt(p[:8192], to-4096); !errors.Is(err, backstore.ErrRange) {
		t.Errorf("a write beyond the end: %v", err)
	}
	if _, err := s.Grow(20<<20, func(int64, int64) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Sync(), s.Close()); err != nil {
		t.Fatal(err)
	}
	s = open(t, o)
	defer s.Close()
	want := bytes.Repeat(p, 5)
	clear(want[to:])
	got := make([]byte, 20<<20)
	if _, err := s.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
		t.Errorf("it holds something else, %v", err)
	}
}

// What somebody else has made of the file is not cut off, and nothing of a read-only one.
func TestShrink_Refused(t *testing.T) {
	o := file.Options{Path: filepath.Join(t.TempDir(), "image"), Create: true, Size: 4 << 20}
	s := open(t, o)
	if err := os.Truncate(o.Path, 5<<20); err != nil {
		t.Fatal(err)
	}
	if err := s.Shrink(1 << 20); !errors.Is(err, backstore.ErrRange) {
		t.Errorf("made longer by others: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	o.ReadOnly = true
	s = open(t, o)
	defer s.Close()
	if err := s.Shrink(1 << 20); !errors.Is(err, backstore.ErrReadOnly) {
		t.Errorf("read-only: %v", err)
	}
	if st := stat(t, o.Path); st.Size != 5<<20 {
		t.Errorf("the file has %d bytes", st.Size)
	}
}
