package block

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/backstore"
)

// Grow implements backstore.Grower: it takes the size that the device has become. One
// that is asked for has to be that.
func (s *Store) Grow(size int64, _ func(done, total int64) error) (int64, error) {
	var now int64
	err := s.descriptor.Control(func(fd int) (err error) {
		now, err = unix.Seek(fd, 0, unix.SEEK_END)
		return err
	})
	before := s.size.Load()
	switch {
	case err != nil:
		return before, &backstore.Error{Op: "grow", Offset: before, Err: err}
	case size != 0 && size < before:
		return before, &backstore.Error{Op: "grow", Offset: size, Length: before - size, Err: backstore.ErrRange}
	case size != 0 && size > now:
		return before, fmt.Errorf("%w: the device has %d bytes; make it bigger first", backstore.ErrRange, now)
	case size != 0 && size < now && size != before:
		return before, fmt.Errorf("%w: a device is served whole, and it has %d bytes", backstore.ErrRange, now)
	case now < before:
		return before, fmt.Errorf("%w: the device has become smaller: it has %d bytes, and had %d", backstore.ErrCorrupt, now, before)
	case size == before:
		return before, nil
	}
	s.size.Store(now)
	return now, nil
}
