package file

import (
	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/backstore/internal/fiemap"
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
	for first, err := range fiemap.Extents(fd, e.Offset, e.Length) {
		switch {
		case err != nil || first.Offset >= e.End(): // the file system does not tell, or nothing is allocated
		case first.Offset > e.Offset:
			e.Length = first.Offset - e.Offset
		default:
			e.Length = min(first.End(), e.End()) - e.Offset
			e.State = backstore.Mapped
			if first.Flags&fiemap.Unwritten != 0 {
				e.State = backstore.Anchored
			}
		}
		return
	}
}

// writtenRun is the length of the part at the beginning of a range of which the
// file system says that it has been written, or of a part of that.
func writtenRun(fd int, off, length int64) int64 {
	at, end, seen := off, off+length, 0
	for e, err := range fiemap.Extents(fd, off, length) {
		if err != nil || e.Offset > at || e.End() <= at || e.Flags&fiemap.Unwritten != 0 {
			break
		}
		at = min(e.End(), end)
		if seen++; seen == extentsOfRun {
			break
		}
	}
	return at - off
}

// extentsOfRun bounds the extents that writtenRun looks at.
const extentsOfRun = 32
