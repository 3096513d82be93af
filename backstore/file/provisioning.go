package file

import (
	"errors"
	"unsafe"

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
	err := s.descriptor.Change(func(fd int) error {
		return unix.Fallocate(fd, mode|unix.FALLOC_FL_KEEP_SIZE, off, length)
	})
	switch {
	case err == nil:
		return nil
	case err == unix.EOPNOTSUPP || err == unix.ENOSYS:
		return errors.ErrUnsupported
	}
	return &backstore.Error{Op: op, Offset: off, Length: length, Err: err}
}

// ExtentAt implements backstore.Mapper. Space that is allocated and has never
// been written is anchored; Linux shows it as mapped once it has been read into
// the page cache.
func (s *Store) ExtentAt(off, length int64) (backstore.Extent, error) {
	if !s.within(off, length) {
		return backstore.Extent{}, s.outside("map", off, length)
	}
	e := backstore.Extent{Offset: off, Length: length, State: backstore.Mapped}
	if length == 0 {
		return e, nil
	}
	err := s.descriptor.Control(func(fd int) error {
		data, err := unix.Seek(fd, off, unix.SEEK_DATA)
		switch {
		case err == unix.ENXIO: // no data from here to the end
			data = off + length
		case err == unix.EINVAL || err == unix.EOPNOTSUPP: // this file system does not know: all is mapped
			return nil
		case err != nil:
			return err
		}
		if data > off {
			e.Length = min(data, off+length) - off
			s.describeHole(fd, &e)
			return nil
		}
		hole, err := unix.Seek(fd, off, unix.SEEK_HOLE)
		if err != nil {
			return err
		}
		e.Length = min(max(hole, off+1), off+length) - off
		return nil
	})
	if err != nil {
		return backstore.Extent{}, &backstore.Error{Op: "map", Offset: off, Length: length, Err: err}
	}
	return e, nil
}

// describeHole finds out whether e, which holds no data, holds space. It cuts e
// where that changes.
func (s *Store) describeHole(fd int, e *backstore.Extent) {
	e.State = backstore.Deallocated
	if s.provisioning == Fixed {
		e.State = backstore.Anchored
		return
	}
	first, ok := firstExtent(fd, e.Offset, e.Length)
	switch {
	case !ok || first.logical >= uint64(e.End()): // nothing allocated, or a file system without FIEMAP
	case first.logical > uint64(e.Offset):
		e.Length = int64(first.logical) - e.Offset
	default:
		e.Length = int64(min(first.logical+first.length, uint64(e.End()))) - e.Offset
		e.State = backstore.Mapped
		if first.flags&extentUnwritten != 0 {
			e.State = backstore.Anchored
		}
	}
}

// From linux/fiemap.h and linux/fs.h.
const (
	ioctlFiemap     = 0xc020660b // FS_IOC_FIEMAP
	extentUnwritten = 0x800      // FIEMAP_EXTENT_UNWRITTEN
)

type fiemapExtent struct {
	logical, physical, length uint64
	_                         [2]uint64
	flags                     uint32
	_                         [3]uint32
}

type fiemap struct {
	start, length        uint64
	flags, mapped, count uint32
	_                    uint32
	extents              [1]fiemapExtent
}

// firstExtent returns the first allocated extent that reaches into a range.
func firstExtent(fd int, off, length int64) (fiemapExtent, bool) {
	q := fiemap{start: uint64(off), length: uint64(length), count: 1}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), ioctlFiemap, uintptr(unsafe.Pointer(&q)))
	if errno != 0 || q.mapped == 0 {
		return fiemapExtent{}, false
	}
	return q.extents[0], true
}
