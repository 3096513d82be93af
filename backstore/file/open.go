package file

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/backstore/internal/descriptor"
)

// openTries bounds how often Open looks again when the image is replaced, or
// created by someone else, under its hands.
const openTries = 10

// errReplaced: the path names another file than the one that was locked.
var errReplaced = errors.New("the image was replaced while it was opened")

// Open opens an image, or makes it. The image is locked until Close; when it is
// in use already the error is backstore.ErrLocked and names who has it.
func Open(o Options) (*Store, error) {
	var err error
	for range openTries {
		var fd int
		fd, err = openExisting(o)
		created := false
		if errors.Is(err, fs.ErrNotExist) && o.Create && !o.ReadOnly {
			fd, err = create(o)
			created = true
		} else if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("there is none: %w", err)
		}
		if errors.Is(err, errReplaced) || errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			break
		}
		s, err := newStore(fd, o)
		if err != nil {
			_ = unix.Close(fd)
			return nil, fmt.Errorf("image %s: %w", o.Path, err)
		}
		s.created = created
		return s, nil
	}
	return nil, fmt.Errorf("image %s: %w", o.Path, err)
}

// openExisting returns the locked descriptor of an image that exists.
func openExisting(o Options) (int, error) {
	info, err := os.Stat(o.Path)
	if err != nil {
		return -1, cause(err)
	}
	switch mode := info.Mode(); {
	case mode.IsDir():
		return -1, errors.New("it is a folder, not an image file")
	case mode&fs.ModeDevice != 0:
		return -1, errors.New("it is a device; a block device is served by the block store")
	case !mode.IsRegular():
		return -1, errors.New("it is not a regular file")
	}
	access := unix.O_RDWR
	if o.ReadOnly {
		access = unix.O_RDONLY
	}
	fd, err := retry(func() (int, error) { return unix.Open(o.Path, access|unix.O_CLOEXEC, 0) })
	if err != nil {
		return -1, err
	}
	if err := secure(fd, o); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// secure locks the image and makes sure that its path still leads to it.
func secure(fd int, o Options) error {
	if err := lock(fd, o.ReadOnly); err != nil {
		return err
	}
	switch is, err := leadsTo(o.Path, fd); {
	case err != nil:
		return err
	case !is:
		return errReplaced
	}
	return nil
}

// leadsTo tells whether path leads to the file that fd is open on.
func leadsTo(path string, fd int) (bool, error) {
	var opened, named unix.Stat_t
	if err := unix.Fstat(fd, &opened); err != nil {
		return false, err
	}
	err := unix.Stat(path, &named)
	return err == nil && named.Dev == opened.Dev && named.Ino == opened.Ino, nil
}

// newStore makes a store of a locked descriptor: allocates what a fixed image
// has not yet, and asks the file system what it can do.
func newStore(fd int, o Options) (*Store, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, err
	}
	var system unix.Statfs_t
	if err := unix.Fstatfs(fd, &system); err != nil {
		return nil, err
	}
	if st.Size == 0 {
		return nil, errors.New("it is empty: remove it to have it created, or give it a size with truncate(1)")
	}
	if o.Provisioning == Fixed && !o.ReadOnly {
		if err := allocateExisting(fd, st.Blocks*512, st.Size, o); err != nil {
			return nil, err
		}
	}
	if st.Blocks*512 > st.Size && !o.ReadOnly {
		// Space behind the end is left of a Grow that was cut short.
		if err := unix.Ftruncate(fd, st.Size); err != nil {
			return nil, err
		}
	}
	if o.Provisioning == Sparse && !o.ReadOnly {
		reclaim(fd, st.Size)
	}
	var align descriptor.Alignment
	if o.Direct {
		var err error
		if align, err = goDirect(fd, st.Size); err != nil {
			return nil, err
		}
	}
	s := &Store{
		descriptor:   descriptor.New(fd, align),
		path:         o.Path,
		provisioning: o.Provisioning,
		fileSystem:   int64(system.Type),
		block:        int64(system.Bsize),
	}
	s.size.Store(st.Size)
	s.geometry.Physical = physicalBlock(int64(system.Bsize))
	s.geometry.Optimal = optimalTransfer
	s.geometry.Volatile = true
	s.geometry.Rotational = descriptor.Rotational(st.Dev)
	s.geometry.ReadOnly = o.ReadOnly
	if o.Provisioning == Sparse && !o.ReadOnly && canPunch(fd, st.Size) {
		s.geometry.Unmap = int(system.Bsize)
	}
	s.features = s.askFeatures()
	return s, nil
}

// physicalBlock is the block of a file system as an initiator should see it: what
// is no power of two, or is the transfer size of a network file system, would
// only make it align to nonsense.
func physicalBlock(blockSize int64) int {
	if blockSize < 512 || blockSize > 64<<10 || blockSize&(blockSize-1) != 0 {
		return 4096
	}
	return int(blockSize)
}

// goDirect switches fd to direct I/O.
func goDirect(fd int, size int64) (descriptor.Alignment, error) {
	align := descriptor.DirectAlignment(fd)
	if size%int64(align.Offset) != 0 {
		return align, fmt.Errorf("direct I/O needs a size that is a multiple of %d bytes; this image has %d", align.Offset, size)
	}
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_SETFL, flags|unix.O_DIRECT)
	}
	if err != nil {
		return align, fmt.Errorf("this file system has no direct I/O: %w", err)
	}
	return align, nil
}

// cause strips the operation and the path, which the caller names himself, from
// an error of package os.
func cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// retry repeats a system call that a signal interrupted.
func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err != unix.EINTR {
			return n, err
		}
	}
}
