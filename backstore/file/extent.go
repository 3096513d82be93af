package file

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/backstore"
)

// ExtentAt implements backstore.Mapper. Space that is allocated and has never
// been written is anchored; Linux shows it as mapped once it has been read into
// the page cache.
//
// That a range holds nothing is believed of SEEK_DATA only, which knows what
// waits in the page cache. That it is mapped may come from FIEMAP as well: to be
// wrong there costs nothing, and its work ends with the range, where SEEK_HOLE
// would go through all extents of the file up to the next hole.
func (s *Store) ExtentAt(off, length int64) (backstore.Extent, error) {
	if !s.within(off, length) {
		return backstore.Extent{}, s.outside("map", off, length)
	}
	e := backstore.Extent{Offset: off, Length: length, State: backstore.Mapped}
	if length == 0 {
		return e, nil
	}
	err := s.descriptor.Control(func(fd int) error {
		if written := writtenRun(fd, off, length); written > 0 {
			e.Length = written
			return nil
		}
		return s.seekExtent(fd, &e)
	})
	if err != nil {
		return backstore.Extent{}, &backstore.Error{Op: "map", Offset: off, Length: length, Err: err}
	}
	return e, nil
}

// seekExtent cuts e where its first state ends, and sets that.
func (s *Store) seekExtent(fd int, e *backstore.Extent) error {
	data, err := unix.Seek(fd, e.Offset, unix.SEEK_DATA)
	switch {
	case err == unix.ENXIO: // no data from here to the end
		data = e.End()
	case err == unix.EINVAL || err == unix.EOPNOTSUPP: // this file system does not know: all is mapped
		return nil
	case err != nil:
		return err
	}
	if data > e.Offset {
		e.Length = min(data, e.End()) - e.Offset
		s.describeHole(fd, e)
		return nil
	}
	hole, err := unix.Seek(fd, e.Offset, unix.SEEK_HOLE)
	if err != nil {
		return err
	}
	e.Length = min(max(hole, e.Offset+1), e.End()) - e.Offset
	return nil
}

// describeHole finds out whether e, which holds no data, holds space. It cuts e
// where that changes.
func (s *Store) describeHole(fd int, e *backstore.Extent) {
	e.State = backstore.Deallocated
	if s.provisioning == Fixed {
		e.State = backstore.Anchored
		return
	}
	var q fiemap
	if !q.ask(fd, e.Offset, e.Length) || q.mapped == 0 || q.extents[0].logical >= uint64(e.End()) {
		return // nothing is allocated, or the file system does not tell
	}
	first := &q.extents[0]
	if first.logical > uint64(e.Offset) {
		e.Length = int64(first.logical) - e.Offset
		return
	}
	e.Length = int64(min(first.logical+first.length, uint64(e.End()))) - e.Offset
	e.State = backstore.Mapped
	if first.flags&extentUnwritten != 0 {
		e.State = backstore.Anchored
	}
}

// writtenRun is the length of the part at the beginning of a range of which the
// file system says that it has been written.
func writtenRun(fd int, off, length int64) int64 {
	var q fiemap
	if !q.ask(fd, off, length) {
		return 0
	}
	at, end := uint64(off), uint64(off+length)
	for _, e := range q.extents[:q.mapped] {
		if e.logical > at || e.logical+e.length <= at || e.flags&extentUnwritten != 0 {
			break
		}
		at = min(e.logical+e.length, end)
	}
	return int64(at) - off
}

// From linux/fiemap.h and linux/fs.h.
const (
	ioctlFiemap     = 0xc020660b // FS_IOC_FIEMAP
	extentUnwritten = 0x800      // FIEMAP_EXTENT_UNWRITTEN
	extentShared    = 0x2000     // FIEMAP_EXTENT_SHARED

	fiemapSync    = 1  // FIEMAP_FLAG_SYNC: what waits in the page cache is written first
	fiemapExtents = 32 // asked for at once
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
	extents              [fiemapExtents]fiemapExtent
}

// ask fills q with the extents that reach into a range, as its flags say. It reports
// false where the file system does not tell.
func (q *fiemap) ask(fd int, off, length int64) bool {
	*q = fiemap{start: uint64(off), length: uint64(length), flags: q.flags, count: fiemapExtents}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), ioctlFiemap, uintptr(unsafe.Pointer(q)))
	q.mapped = min(q.mapped, fiemapExtents)
	return errno == 0
}
