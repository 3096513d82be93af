package block

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/internal/loopdevice"
)

// Zeros beside a write in the same page of the page cache: to write a part of a page
// the system reads the rest, and must not put back what was zeroed meanwhile. (Since
// Linux 6.15 it keeps the two apart itself.)
func TestZeroAt_BesideWrites(t *testing.T) {
	under := filepath.Join(t.TempDir(), "disk")
	if err := errors.Join(os.WriteFile(under, nil, 0o600), os.Truncate(under, 1<<20)); err != nil {
		t.Fatal(err)
	}
	s, err := Open(Options{Path: loopdevice.New(t, loopdevice.Options{File: under})})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	const sector, page = 512, 4096
	forget := func() {
		err := errors.Join(s.Sync(), s.descriptor.Control(func(fd int) error {
			return unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED)
		}))
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range 100 {
		old, next := bytes.Repeat([]byte{0xaa}, page), bytes.Repeat([]byte{byte(i)}, sector)
		if _, err := s.WriteAt(old, 0); err != nil {
			t.Fatal(err)
		}
		forget()
		var group sync.WaitGroup
		group.Go(func() {
			if _, err := s.WriteAt(next, 0); err != nil {
				t.Error(err)
			}
		})
		group.Go(func() {
			if err := s.ZeroAt(sector, page-2*sector, i%2 == 0); err != nil {
				t.Error(err)
			}
		})
		group.Wait()
		forget()
		got := make([]byte, page)
		if _, err := s.ReadAt(got, 0); err != nil {
			t.Fatal(err)
		}
		want := append(append(bytes.Clone(next), make([]byte, page-2*sector)...), old[:sector]...)
		if !bytes.Equal(got, want) {
			t.Fatalf("round %d: sectors begin with % x", i, []byte{got[0], got[512], got[1024], got[3072], got[3584]})
		}
	}
}
