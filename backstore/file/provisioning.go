package file

import (
	"errors"

	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/backstore"
)

// canPunch asks the file system whether it can punch holes, by punching one
// after the end of the file, where there is nothing to lose.
func canPunch(fd int, size int64) bool {
	return unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, size, 1<<20) == nil
}

// UnmapAt implements backstore.Unmapper: whole blocks of the file system become
// holes, what lies at the edges is zeroed. A fixed image refuses.
func (s *Store) UnmapAt(off, length int64) error {
	if !s.writable(off, length) {
		return s.refusal("unmap", off, length)
	}
	if s.geometry.Unmap == 0 {
		return &backstore.Error{Op: "unmap", Offset: off, Length: length, Err: errors.ErrUnsupported}
	}
	return s.fallocate("unmap", unix.FALLOC_FL_PUNCH_HOLE, off, length)
}

// ZeroAt implements backstore.Zeroer. It answers errors.ErrUnsupported where
// the file system offers nothing better than to write the zeros.
func (s *Store) ZeroAt(off, length int64, unmap bool) error {
	if !s.writable(off, length) {
		return s.refusal("zero", off, length)
	}
	if unmap && s.geometry.Unmap > 0 {
		return s.fallocate("zero", unix.FALLOC_FL_PUNCH_HOLE, off, length)
	}
	if s.provisioning == Fixed && s.fileSystem != unix.EXT4_SUPER_MAGIC {
		// XFS frees the range and allocates it again; between the two others
		// may take the space that was promised. ext4 converts it in place.
		return errors.ErrUnsupported
	}
	err := s.fallocate("zero", unix.FALLOC_FL_ZERO_RANGE, off, length)
	if s.provisioning == Fixed && errors.Is(err, backstore.ErrNoSpace) {
		// Converting a part of an extent makes more extents, and on a full file
		// system there is no room to note them. Writing zeros needs none.
		return errors.ErrUnsupported
	}
	return err
}

func (s *Store) fallocate(op string, mode uint32, off, length int64) error {
	if length == 0 {
		return nil
	}
	var err error
	for again := true; again; again = s.ahead.hadNoSpace(err) {
		side := s.ahead.enter(off, length)
		err = s.descriptor.Change(func(fd int) error {
			return unix.Fallocate(fd, mode|unix.FALLOC_FL_KEEP_SIZE, off, length)
		})
		s.ahead.leave(side)
	}
	switch {
	case err == nil:
		return nil
	case err == unix.EOPNOTSUPP || err == unix.ENOSYS:
		return errors.ErrUnsupported
	}
	return &backstore.Error{Op: op, Offset: off, Length: length, Err: err}
}
