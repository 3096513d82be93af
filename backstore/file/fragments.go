package file

import (
	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/backstore"
)

// Extents tells in how many pieces the image lies on its file system: runs of blocks
// that follow each other there, whatever holes are between them in the file. What
// waits in the page cache and has no place yet counts as one. It refuses with
// errors.ErrUnsupported where the file system does not tell (FIEMAP).
func (s *Store) Extents() (n int, err error) {
	err = s.descriptor.Control(func(fd int) error {
		n, err = pieces(fd, 0, s.size.Load())
		return err
	})
	if err != nil {
		return 0, &backstore.Error{Op: "count extents", Err: err}
	}
	return n, nil
}

// pieces counts the runs of blocks of a range.
func pieces(fd int, off, length int64) (n int, err error) {
	next := uint64(0) // the block that would go on with the run
	return n, eachExtent(fd, 0, off, length, func(e *fiemapExtent) error {
		if e.physical == 0 || e.physical != next {
			n++
		}
		next = e.physical + e.length
		return nil
	})
}

// eachExtent calls f for the extents that reach into a range, in their order. flags are
// fiemapSync, or 0.
func eachExtent(fd int, flags uint32, off, length int64, f func(*fiemapExtent) error) error {
	for end := off + length; off < end; {
		q := fiemap{flags: flags}
		if !q.ask(fd, off, end-off) {
			return unix.EOPNOTSUPP
		}
		for i := range q.extents[:q.mapped] {
			e := &q.extents[i]
			if err := f(e); err != nil {
				return err
			}
			off = int64(e.logical + e.length)
		}
		if q.mapped < fiemapExtents {
			return nil
		}
	}
	return nil
}

// allocatedRuns calls f for each run of bytes in a range that has space, cut at pieces of
// most bytes. shared tells of space that another file has too.
func allocatedRuns(fd int, off, length, most int64, f func(span) error) (shared bool, err error) {
	var run span
	flush := func() error {
		for run.length > 0 {
			n := min(run.length, most)
			if err := f(span{run.off, n}); err != nil {
				return err
			}
			run.off, run.length = run.off+n, run.length-n
		}
		return nil
	}
	end := off + length
	err = eachExtent(fd, 0, off, length, func(e *fiemapExtent) error {
		shared = shared || e.flags&extentShared != 0
		from, to := max(int64(e.logical), off), min(int64(e.logical+e.length), end)
		if run.length > 0 && run.off+run.length == from {
			run.length += to - from
			return nil
		}
		if err := flush(); err != nil {
			return err
		}
		run = span{from, to - from}
		return nil
	})
	if err == nil {
		err = flush()
	}
	return shared, err
}
