package file

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/backstore"
)

// Identity names the file that is open, beyond its path: another file in its place has
// another one, also after a restart of the host. Empty: the file system does not tell
// when files are born, so nothing is known.
func (s *Store) Identity() string {
	identity := ""
	_ = s.descriptor.Control(func(fd int) (err error) {
		identity, err = identityOf(fd)
		return err
	})
	return identity
}

// IdentityAt is the identity of the file at path.
func IdentityAt(path string) (string, error) {
	identity, err := statIdentity(unix.AT_FDCWD, path, 0)
	if err != nil {
		return "", &os.PathError{Op: "statx", Path: path, Err: err}
	}
	return identity, nil
}

// identityOf is that of an open file.
func identityOf(fd int) (string, error) { return statIdentity(fd, "", unix.AT_EMPTY_PATH) }

func statIdentity(dirfd int, path string, flags int) (string, error) {
	var st unix.Statx_t
	if err := unix.Statx(dirfd, path, flags, unix.STATX_INO|unix.STATX_BTIME, &st); err != nil || st.Mask&unix.STATX_BTIME == 0 {
		return "", err
	}
	return fmt.Sprintf("inode %d of %d.%09d", st.Ino, st.Btime.Sec, st.Btime.Nsec), nil
}

// Vanished is nil, or why the image cannot be reached any more, though it is open: its
// file system was shut down or its server has forgotten it, its device was removed. It
// wraps backstore.ErrGone. It reads, and may wait. An image that only has another name
// now, or none, has not vanished: see Lost.
func (s *Store) Vanished() error {
	var st unix.Stat_t
	if err := s.descriptor.Control(func(fd int) error { return unix.Fstat(fd, &st) }); err != nil {
		return fmt.Errorf("%w: %w", backstore.ErrGone, err)
	}
	if _, err := os.Stat(s.path); errors.Is(err, unix.ESTALE) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENXIO) {
		return fmt.Errorf("%w: %w", backstore.ErrGone, err)
	}
	return s.descriptor.Vanished(st.Dev, s.Geometry().Size)
}

// Forget drops the image from the page cache: what is read afterwards is what the disk
// has. It is for an image whose sync has failed, before it is opened anew.
func (s *Store) Forget() error { return s.descriptor.Forget() }

// UncacheAt implements backstore.Uncacher.
func (s *Store) UncacheAt(off, length int64) { s.descriptor.UncacheAt(off, length) }
