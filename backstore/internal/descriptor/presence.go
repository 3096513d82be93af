package descriptor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/backstore"
)

// Vanished is nil, or why what the descriptor is open on is not there any more: its
// device was removed, or its file system was shut down. It wraps backstore.ErrGone.
// device is what the bytes are on, size how many there are. It reads, and may wait.
//
// A bad block is none: of a medium that is there, something can be read.
func (d *Descriptor) Vanished(device uint64, size int64) error {
	if removed(device) {
		return fmt.Errorf("%w: its device %d:%d was removed", backstore.ErrGone, unix.Major(device), unix.Minor(device))
	}
	var failure error
	p := make([]byte, min(size, 512))
	for _, off := range [...]int64{0, size / 2, size - int64(len(p))} {
		_, err := d.ReadAt(p, off)
		if err == nil {
			return nil
		}
		failure = err
	}
	return fmt.Errorf("%w: nothing of it can be read: %w", backstore.ErrGone, failure)
}

// removed tells whether the system has no such block device any more. What is on none
// (a network file system, one in memory) has the major number 0.
func removed(device uint64) bool {
	const folder = "/sys/dev/block"
	if unix.Major(device) == 0 {
		return false
	}
	if _, err := os.Stat(folder); err != nil {
		return false // there is no sysfs here to tell
	}
	_, err := os.Stat(fmt.Sprintf("%s/%d:%d", folder, unix.Major(device), unix.Minor(device)))
	return errors.Is(err, fs.ErrNotExist)
}

// UncacheAt implements backstore.Uncacher. Pages that are dirty stay in the page cache, and
// their write back begins.
func (d *Descriptor) UncacheAt(off, length int64) {
	_ = d.Control(func(fd int) error { return unix.Fadvise(fd, off, length, unix.FADV_DONTNEED) })
}

// Forget writes back what it can, and drops the file from the page cache: what is read
// afterwards is what the device has. It is for a file whose sync has failed: what could
// not be written is still in the cache, and passes for clean.
func (d *Descriptor) Forget() error {
	return d.Control(func(fd int) error {
		_ = unix.Fdatasync(fd) // its failure is known, and no success would count
		return unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED)
	})
}
