package block

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/backstore"
)

// Vanished is nil, or why the device cannot be reached any more, though it is open. It
// wraps backstore.ErrGone. It reads, and may wait.
func (s *Store) Vanished() error {
	var st unix.Stat_t
	if err := s.descriptor.Control(func(fd int) error { return unix.Fstat(fd, &st) }); err != nil {
		return fmt.Errorf("%w: %w", backstore.ErrGone, err)
	}
	return s.descriptor.Vanished(st.Rdev, s.Geometry().Size)
}

// Forget drops the device from the page cache: what is read afterwards is what it has.
// It is for a device whose sync has failed, before it is opened anew.
func (s *Store) Forget() error { return s.descriptor.Forget() }

// UncacheAt implements backstore.Uncacher.
func (s *Store) UncacheAt(off, length int64) { s.descriptor.UncacheAt(off, length) }
