package file

import (
	"errors"
	"fmt"

	"github.com/isantarget/isantarget/backstore"
)

// Shrink makes the medium size bytes long, and gives the space behind that back to the
// file system: what it held is lost. What lies before it is made durable first, as it is.
// Nobody may use the image meanwhile; what comes for the part that goes is refused with
// backstore.ErrRange from the beginning on.
//
// The new size is durable when it returns nil; what becomes of the process or the power
// before that leaves the old size or the new. A size that is not less than the present
// one is refused with backstore.ErrRange, and so is an image that somebody else has made
// longer or shorter: what is there is not ours to cut off.
func (s *Store) Shrink(size int64) error {
	if s.geometry.ReadOnly {
		return &backstore.Error{Op: "shrink", Offset: size, Err: backstore.ErrReadOnly}
	}
	s.resizing.Lock()
	defer s.resizing.Unlock()
	s.ahead.hold()
	defer s.ahead.resume()
	before := s.size.Load()
	if size <= 0 || size >= before {
		return &backstore.Error{Op: "shrink", Offset: size, Err: backstore.ErrRange}
	}
	if align := s.descriptor.Alignment().Offset; align > 0 && size%int64(align) != 0 {
		return fmt.Errorf("direct I/O needs a size that is a multiple of %d bytes, and %d is none", align, size)
	}
	length, err := s.length()
	if err != nil {
		return &backstore.Error{Op: "shrink", Offset: size, Err: err}
	}
	if length != before {
		return fmt.Errorf("%w: the image has been made %d bytes long by someone else", backstore.ErrRange, length)
	}
	if err := s.descriptor.Sync(); err != nil {
		return err
	}
	s.size.Store(size) // before the file: a write behind its end would make it longer again
	if err := s.truncate(size); err != nil {
		now, unknown := s.length()
		if unknown == nil && now == before {
			s.size.Store(before)
		}
		return errors.Join(&backstore.Error{Op: "shrink", Offset: size, Length: before - size, Err: err}, unknown)
	}
	return s.descriptor.Sync()
}
