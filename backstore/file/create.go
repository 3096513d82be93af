package file

import (
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// create makes the image and returns its locked descriptor. Whatever fails, and
// whenever the machine stops: there is no image, or the whole one. The error is
// fs.ErrExist when someone else has made one meanwhile.
func create(o Options) (int, error) {
	if o.Size <= 0 {
		return -1, fmt.Errorf("there is none, and a new one needs a size greater than zero, not %d", o.Size)
	}
	folder := filepath.Dir(o.Path)
	fd, err := createNameless(o)
	if err == errNotHere {
		fd, err = createNamed(o)
	}
	if err != nil {
		return -1, explain(err, folder)
	}
	if err := syncFolder(folder); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// errNotHere: a file cannot be made without a name in this folder.
var errNotHere = errors.New("no files without a name here")

// createNameless makes a file that has no name until it is whole: whatever
// happens before, the system drops it.
func createNameless(o Options) (int, error) {
	fd, err := retry(func() (int, error) {
		return unix.Open(filepath.Dir(o.Path), unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	})
	switch err {
	case nil:
	case unix.EOPNOTSUPP, unix.EISDIR, unix.EINVAL, unix.ENOSYS:
		return -1, errNotHere
	default:
		return -1, err
	}
	if err = fill(fd, o); err == nil {
		err = unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), unix.AT_FDCWD, o.Path, unix.AT_SYMLINK_FOLLOW)
		if err == unix.ENOENT || err == unix.EOPNOTSUPP || err == unix.EPERM { // /proc is not mounted, a folder that takes no links
			err = errNotHere
		}
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// createNamed is create where a file cannot be made without a name: it has a
// hidden one until it is whole. A crash may leave the hidden one behind.
func createNamed(o Options) (int, error) {
	folder, name := filepath.Split(o.Path)
	hidden := filepath.Join(folder, fmt.Sprintf(".%s.%s.new", name, rand.Text()))
	fd, err := retry(func() (int, error) {
		return unix.Open(hidden, unix.O_CREAT|unix.O_EXCL|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	})
	if err != nil {
		return -1, err
	}
	if err = fill(fd, o); err == nil {
		err = unix.Renameat2(unix.AT_FDCWD, hidden, unix.AT_FDCWD, o.Path, unix.RENAME_NOREPLACE)
		if err == unix.EINVAL || err == unix.ENOSYS {
			if err = unix.Link(hidden, o.Path); err == nil {
				err = unix.Unlink(hidden)
			}
		}
	}
	if err != nil {
		_ = unix.Unlink(hidden)
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// fill locks a new file and gives it its size and space, durably.
func fill(fd int, o Options) error {
	if err := lock(fd, false); err != nil {
		return err
	}
	_ = unix.Fchmod(fd, 0o600) // whatever the umask; some file systems have no modes
	if o.Provisioning == Fixed {
		if err := allocateNew(fd, o); err != nil {
			return err
		}
	} else {
		hintExtents(fd)
	}
	if err := unix.Ftruncate(fd, o.Size); err != nil {
		return fmt.Errorf("an image of %d bytes: %w", o.Size, err)
	}
	if o.Fill != nil {
		if err := o.Fill(&Blank{fd}); err != nil {
			return err
		}
	}
	if o.Direct { // find out now, while nothing has to be cleared away
		if _, err := goDirect(fd, o.Size); err != nil {
			return err
		}
	}
	return unix.Fsync(fd)
}

// syncFolder makes a new name in a folder durable.
func syncFolder(folder string) error {
	fd, err := retry(func() (int, error) { return unix.Open(folder, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0) })
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	return unix.Fsync(fd)
}

// explain says what an errno means for the maker of an image.
func explain(err error, folder string) error {
	switch {
	case errors.Is(err, unix.ENOENT):
		return fmt.Errorf("it cannot be made, there is no folder %s: %w", folder, err)
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM), errors.Is(err, unix.EROFS):
		return fmt.Errorf("it cannot be made in the folder %s: %w", folder, err)
	}
	return err
}
