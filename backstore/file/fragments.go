package file

import (
	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/backstore/internal/fiemap"
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
	next := int64(0) // the block that would go on with the run
	for e, err := range fiemap.Extents(fd, off, length) {
		if err != nil {
			return 0, err
		}
		if e.Place == 0 || e.Place != next {
			n++
		}
		next = e.Place + e.Length
	}
	return n, nil
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
	for e, err := range fiemap.Extents(fd, off, length) {
		if err != nil {
			return shared, err
		}
		shared = shared || e.Flags&fiemap.Shared != 0
		from, to := max(e.Offset, off), min(e.End(), end)
		if run.length > 0 && run.end() == from {
			run.length += to - from
			continue
		}
		if err := flush(); err != nil {
			return shared, err
		}
		run = span{from, to - from}
	}
	return shared, flush()
}
