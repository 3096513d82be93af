package block

import (
	"errors"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/backstore"
)

// UnmapAt implements backstore.Unmapper. Whole sectors, or pages of the page cache, are
// given back; where the store reads zeros the edges of the range are zeroed by writing,
// else they stay.
func (s *Store) UnmapAt(off, length int64) error {
	if !s.writable(off, length) {
		return s.refusal("unmap", off, length)
	}
	switch s.unmapping {
	case punches:
		return s.zero("unmap", unix.FALLOC_FL_PUNCH_HOLE, off, length)
	case discards:
		first, last := s.wholeSectors(off, length)
		if err := s.discard(first, last-first); err != nil {
			return &backstore.Error{Op: "unmap", Offset: off, Length: length, Err: err}
		}
		return nil
	}
	return &backstore.Error{Op: "unmap", Offset: off, Length: length, Err: errors.ErrUnsupported}
}

// ZeroAt implements backstore.Zeroer. A device that cannot write zeros by itself
// has the kernel do it.
func (s *Store) ZeroAt(off, length int64, unmap bool) error {
	if !s.writable(off, length) {
		return s.refusal("zero", off, length)
	}
	if unmap && s.unmapping == punches {
		return s.zero("zero", unix.FALLOC_FL_PUNCH_HOLE, off, length)
	}
	return s.zero("zero", unix.FALLOC_FL_ZERO_RANGE, off, length)
}

// zero zeroes whole sectors in the way of mode, and writes zeros at the edges.
func (s *Store) zero(op string, mode uint32, off, length int64) error {
	first, last := s.wholeSectors(off, length)
	if first >= last {
		return s.writeZeros(op, off, length)
	}
	if err := s.writeZeros(op, off, first-off); err != nil {
		return err
	}
	err := s.fallocate(mode, first, last-first)
	if err == unix.EOPNOTSUPP && mode == unix.FALLOC_FL_PUNCH_HOLE {
		// The device claimed it, and refused. The zeros were promised all the same.
		err = s.fallocate(unix.FALLOC_FL_ZERO_RANGE, first, last-first)
	}
	if err != nil {
		return &backstore.Error{Op: op, Offset: first, Length: off + length - first, Err: err}
	}
	return s.writeZeros(op, last, off+length-last)
}

// wholeSectors is the part of a range that covers sectors completely; if there
// is none, first is not before last.
func (s *Store) wholeSectors(off, length int64) (first, last int64) {
	return (off + s.sector - 1) / s.sector * s.sector, (off + length) / s.sector * s.sector
}

func (s *Store) fallocate(mode uint32, off, length int64) error {
	return s.descriptor.Change(func(fd int) error {
		return unix.Fallocate(fd, mode|unix.FALLOC_FL_KEEP_SIZE, off, length)
	})
}

// discard discards whole sectors, if there are any.
func (s *Store) discard(off, length int64) error {
	return s.descriptor.Change(func(fd int) error {
		if length <= 0 {
			return nil
		}
		span := [2]uint64{uint64(off), uint64(length)}
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.BLKDISCARD, uintptr(unsafe.Pointer(&span)))
		runtime.KeepAlive(&span)
		if errno != 0 {
			return errno
		}
		return nil
	})
}

// writeZeros zeroes less than two sectors.
func (s *Store) writeZeros(op string, off, length int64) error {
	if length <= 0 {
		return nil
	}
	if n, err := s.descriptor.WriteAt(make([]byte, length), off); err != nil {
		var e *backstore.Error
		if errors.As(err, &e) {
			err = e.Err
		}
		return &backstore.Error{Op: op, Offset: off + int64(n), Length: length - int64(n), Err: err}
	}
	return nil
}
