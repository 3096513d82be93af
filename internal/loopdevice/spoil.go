package loopdevice

import (
	"bytes"
	"errors"
	"os"
	"testing"
)

// Spoil changes a byte of block where it stands on disk, the file below a device: a file
// system with checksums reads EIO there, if it does not have the block cached.
func Spoil(t testing.TB, disk string, block []byte) {
	t.Helper()
	f, err := os.OpenFile(disk, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	p := make([]byte, len(block))
	for off := int64(0); ; off += int64(len(p)) {
		if _, err := f.ReadAt(p, off); err != nil {
			t.Fatalf("looking for the block on the disk: %v", err)
		}
		if bytes.Equal(p, block) {
			_, err := f.WriteAt([]byte{^p[0]}, off)
			if err = errors.Join(err, f.Sync()); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
}
