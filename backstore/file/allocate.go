package file

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/backstore/internal/fiemap"
)

const (
	// allocationStep bounds one fallocate(2), which may be interrupted only
	// between steps.
	allocationStep = 256 << 20

	// zeroStep bounds one write where fallocate is not known.
	zeroStep = 1 << 20

	// maxTaken bounds how many ranges are remembered to be given back.
	maxTaken = 1 << 20
)

// allocateNew takes the space of a file that holds nothing yet.
func allocateNew(fd int, o Options) error {
	if err := room(fd, 0, o.Size); err != nil {
		return err
	}
	err := takeRange(fd, 0, o.Size, func(done int64) error { return o.step(done, o.Size) })
	if err == unix.EOPNOTSUPP {
		return writeZeros(fd, o)
	}
	return noSpace(err)
}

// allocateExisting takes the space of what are holes in the first size bytes of a
// file; have bytes of it are allocated. When it fails what it took is given back.
func allocateExisting(fd int, have, size int64, o Options) error {
	if err := room(fd, have, size); err != nil {
		return err
	}
	taken, err := takeHoles(fd, size, o)
	if err == nil || err == unix.EOPNOTSUPP && have >= size {
		return nil
	}
	for _, r := range taken {
		err = errors.Join(err, unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, r.off, r.length))
	}
	if errors.Is(err, unix.EOPNOTSUPP) {
		return fmt.Errorf("its file system cannot allocate the holes of an image that exists; make a new one: %w", err)
	}
	return noSpace(err)
}

// room refuses what the file system has no room for.
func room(fd int, have, size int64) error {
	var system unix.Statfs_t
	if err := unix.Fstatfs(fd, &system); err != nil {
		return err
	}
	if free := int64(system.Bavail) * int64(system.Bsize); free < size-have {
		return fmt.Errorf("%w: a fixed image of %d bytes needs %d more, and its file system has %d",
			backstore.ErrNoSpace, size, size-have, free)
	}
	return nil
}

// A span is a range of a file.
type span struct{ off, length int64 }

func (r span) end() int64 { return r.off + r.length }

// takeHoles allocates the holes of the first size bytes. Nobody else may write to
// the file meanwhile. taken are the holes, as far as it came.
func takeHoles(fd int, size int64, o Options) (taken []span, err error) {
	for off := int64(0); off < size; {
		if err := o.step(off, size); err != nil {
			return taken, err
		}
		hole, end, known := nextHole(fd, off, size)
		n := min(end-hole, allocationStep)
		if n > 0 {
			if err := take(fd, hole, n); err != nil {
				return taken, err
			}
			if known && len(taken) < maxTaken {
				taken = append(taken, span{hole, n})
			}
		}
		off = hole + n
	}
	return taken, o.step(size, size)
}

// nextHole finds the first hole at off or behind it, and its end or a part of it, by
// what the file system has allocated, written or not. Where it does not tell, all is a
// hole that is not known to be one. Without a hole both are size.
func nextHole(fd int, off, size int64) (hole, end int64, known bool) {
	for e, err := range fiemap.Extents(fd, off, size-off) {
		if err != nil {
			return off, size, false
		}
		if e.Offset > off {
			return off, min(e.Offset, size), true
		}
		off = max(off, e.End())
	}
	return min(off, size), size, true
}

// takeRange allocates a range in steps, and tells after each how many bytes are.
func takeRange(fd int, off, length int64, step func(done int64) error) error {
	for done := int64(0); done < length; {
		if err := step(done); err != nil {
			return err
		}
		n := min(length-done, allocationStep)
		if err := take(fd, off+done, n); err != nil {
			return err
		}
		done += n
	}
	return step(length)
}

// take allocates a range, and leaves the file as long as it is.
func take(fd int, off, length int64) error {
	for {
		if err := unix.Fallocate(fd, unix.FALLOC_FL_KEEP_SIZE, off, length); err != unix.EINTR {
			return err
		}
	}
}

// writeZeros takes the space of a new file where fallocate(2) is not known.
func writeZeros(fd int, o Options) error {
	zeros := make([]byte, zeroStep)
	for off := int64(0); off < o.Size; {
		if err := o.step(off, o.Size); err != nil {
			return err
		}
		n, err := unix.Pwrite(fd, zeros[:min(o.Size-off, zeroStep)], off)
		if err != nil && err != unix.EINTR {
			return noSpace(err)
		}
		off += int64(max(n, 0))
	}
	return o.step(o.Size, o.Size)
}

// noSpace adds the meaning to an errno that has one.
func noSpace(err error) error {
	if backstore.Meaning(err) == backstore.ErrNoSpace {
		return fmt.Errorf("%w: %w", backstore.ErrNoSpace, err)
	}
	return err
}
