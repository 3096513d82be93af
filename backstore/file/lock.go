package file

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/backstore/internal/descriptor"
)

// lock takes the image for this open descriptor: alone, or with others who only
// read. It never waits. The lock ends when the descriptor is closed, however the
// process ends.
func lock(fd int, shared bool) error {
	how := unix.LOCK_EX
	if shared {
		how = unix.LOCK_SH
	}
	_, err := retry(func() (int, error) { return 0, unix.Flock(fd, how|unix.LOCK_NB) })
	switch err {
	case nil:
		return nil
	case unix.EWOULDBLOCK:
		return fmt.Errorf("%w by %s", backstore.ErrLocked, descriptor.LockHolder(fd))
	}
	return fmt.Errorf("it cannot be locked: %w", err)
}
