package file

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/backstore"
)

// Grow implements backstore.Grower. The space of a fixed image is taken first, behind
// the end, where nobody sees it; then the file is made longer and synced. Size 0 takes
// the length that the file has been given by others.
func (s *Store) Grow(size int64, step func(done, total int64) error) (int64, error) {
	s.resizing.Lock()
	defer s.resizing.Unlock()
	before := s.size.Load()
	length, err := s.length()
	if err != nil {
		return before, &backstore.Error{Op: "grow", Offset: before, Err: err}
	}
	switch {
	case size == 0:
		size = length
	case length > before && size < length:
		return before, fmt.Errorf("%w: the image has been made %d bytes long by someone else; take that, or more", backstore.ErrRange, length)
	}
	if size < before {
		return before, &backstore.Error{Op: "grow", Offset: size, Length: before - size, Err: backstore.ErrRange}
	}
	if size == before {
		return before, nil
	}
	if align := s.descriptor.Alignment().Offset; align > 0 && size%int64(align) != 0 {
		return before, fmt.Errorf("direct I/O needs a size that is a multiple of %d bytes, and %d is none", align, size)
	}
	if s.provisioning == Fixed {
		if err := s.extend(before, size, step); err != nil {
			return before, errors.Join(err, s.truncate(max(length, before)))
		}
	}
	if err := s.truncate(size); err != nil {
		return before, errors.Join(fmt.Errorf("%d bytes: %w", size, noSpace(err)), s.truncate(max(length, before)))
	}
	if err := s.descriptor.Sync(); err != nil {
		return before, err // the file may be longer than is told: nobody writes there
	}
	s.size.Store(size)
	return size, nil
}

// extend takes the space from the end of the medium, before, to size.
func (s *Store) extend(before, size int64, step func(done, total int64) error) error {
	if err := s.descriptor.Control(func(fd int) error { return room(fd, before, size) }); err != nil {
		return err
	}
	for done := int64(0); done < size-before; {
		if err := step(done, size-before); err != nil {
			return err
		}
		n := min(size-before-done, allocationStep)
		err := s.descriptor.Control(func(fd int) error { return take(fd, before+done, n) })
		if err == unix.EOPNOTSUPP {
			return fmt.Errorf("the file system of a fixed image has to take its space at once, and this one cannot: %w", err)
		}
		if err != nil {
			return noSpace(err)
		}
		done += n
	}
	return step(size-before, size-before)
}

// length is how long the file is, which may be more than the medium.
func (s *Store) length() (n int64, err error) {
	err = s.descriptor.Control(func(fd int) error {
		var st unix.Stat_t
		err := unix.Fstat(fd, &st)
		n = st.Size
		return err
	})
	return n, err
}

// truncate makes the file this long, and gives back the space behind its end.
func (s *Store) truncate(length int64) error {
	return s.descriptor.Change(func(fd int) error { return unix.Ftruncate(fd, length) })
}
