package block

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/isantarget/isantarget/internal/loopdevice"
)

// A device may end within what would be a block of 4096 bytes: direct I/O goes by sectors.
func TestDirect_LastSector(t *testing.T) {
	const size = 1<<20 + 3*512
	under := filepath.Join(t.TempDir(), "disk")
	if err := errors.Join(os.WriteFile(under, nil, 0o600), os.Truncate(under, size)); err != nil {
		t.Fatal(err)
	}
	s, err := Open(Options{Path: loopdevice.New(t, loopdevice.Options{File: under}), Direct: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	p := []byte("the end")
	if _, err := s.WriteAt(p, size-int64(len(p))); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(p))
	if _, err := s.ReadAt(got, size-int64(len(p))); err != nil || string(got) != string(p) {
		t.Errorf("read %q, %v", got, err)
	}
}
