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
	switch {
	case s.fileSystem == unix.XFS_SUPER_MAGIC:
		return s.zeroByExtent(off, length)
	case s.provisioning == Fixed && s.fileSystem != unix.EXT4_SUPER_MAGIC:
		// Others may take other blocks for those that are promised. ext4 marks
		// the same ones as unwritten.
		return errors.ErrUnsupported
	}
	err := s.fallocate("zero", unix.FALLOC_FL_ZERO_RANGE, off, length)
	if errors.Is(err, backstore.ErrNoSpace) {
		// Converting a part of an extent makes more extents, and on a full file
		// system there is no room to note them. Writing zeros needs none where the
		// image has blocks, and where it has none tells which is the first.
		return errors.ErrUnsupported
	}
	return err
}

// zeroByExtent fills a range with zeros: what has data is written, what has none is
// allocated, unless it is already. XFS has FALLOC_FL_ZERO_RANGE, but that gives the blocks
// of the range up before it takes others: on a full disk, or beside somebody who is
// quicker, they are lost.
func (s *Store) zeroByExtent(off, length int64) error {
	for end := off + length; off < end; {
		e, err := s.ExtentAt(off, end-off)
		if err != nil {
			return errors.ErrUnsupported // whoever writes the zeros will hear what is wrong
		}
		write := e.State == backstore.Mapped
		if !write {
			err = s.fallocate("zero", 0, off, e.Length)
			write = errors.Is(err, backstore.ErrNoSpace) // which is the first block without?
		}
		if write {
			err = s.writeZeros(off, e.Length)
		}
		if err != nil {
			return err
		}
		off = e.End()
	}
	return nil
}

// zeroPage is what writeZeros writes. Nothing ever writes to it.
var zeroPage [256 << 10]byte

func (s *Store) writeZeros(off, length int64) error {
	for end := off + length; off < end; {
		n, err := s.WriteAt(zeroPage[:min(end-off, int64(len(zeroPage)))], off)
		if err != nil {
			return err
		}
		off += int64(n)
	}
	return nil
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
