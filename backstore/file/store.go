package file

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/backstore/internal/descriptor"
)

// optimalTransfer is where larger transfers bring no more throughput.
const optimalTransfer = 1 << 20

// A Store is an open image. It has each capability of package backstore that its
// file system has (see Features), but CompareAndWriteAt: the lock keeps others
// out.
type Store struct {
	descriptor   *descriptor.Descriptor
	path         string
	created      bool
	provisioning Provisioning
	fileSystem   int64              // its magic number, statfs(2)
	block        int64              // bytes of a block of the file system
	geometry     backstore.Geometry // without the size
	size         atomic.Int64       // less only by Shrink, while nobody uses it
	resizing     sync.Mutex         // one Grow, Shrink or Defragment at a time
	features     backstore.Features
	ahead        *preallocation // nil: no space is taken ahead
}

// Created tells whether Open has made the image: there was none before.
func (s *Store) Created() bool { return s.created }

// Lost tells whether the path of the image does not lead to it any more: it was removed
// or replaced, and what it holds is gone when it is closed.
func (s *Store) Lost() bool {
	lost := false
	err := s.descriptor.Control(func(fd int) error {
		is, err := leadsTo(s.path, fd)
		lost = !is
		return err
	})
	return lost && err == nil
}

// Geometry implements backstore.Store.
func (s *Store) Geometry() backstore.Geometry {
	g := s.geometry
	g.Size = s.size.Load()
	return g
}

// Features implements backstore.Featured.
func (s *Store) Features() backstore.Features { return s.features }

func (s *Store) askFeatures() backstore.Features {
	f := backstore.CanMap | backstore.CanCopy | backstore.ReadsZeros | backstore.TellsSpace
	if s.descriptor.CanTryRead(s.size.Load()) {
		f |= backstore.CanTryRead | backstore.CanReadBatch
	}
	if s.geometry.ReadOnly {
		return f
	}
	f |= backstore.CanZero | backstore.CanWriteThrough | backstore.CanGrow
	if !s.descriptor.Direct() {
		f |= backstore.Buffered
	}
	// btrfs knows the flag and answers EAGAIN to each write.
	if s.fileSystem != unix.BTRFS_SUPER_MAGIC && s.descriptor.CanTryWrite() {
		f |= backstore.CanTryWrite
	}
	if s.geometry.Unmap > 0 {
		f |= backstore.CanUnmap
	}
	return f
}

// ReadAt implements io.ReaderAt.
func (s *Store) ReadAt(p []byte, off int64) (int, error) {
	if !s.within(off, int64(len(p))) {
		return 0, s.outside("read", off, int64(len(p)))
	}
	return s.descriptor.ReadAt(p, off)
}

// TryReadAt implements backstore.TryReader.
func (s *Store) TryReadAt(p []byte, off int64) (int, error) {
	if !s.within(off, int64(len(p))) {
		return 0, s.outside("read", off, int64(len(p)))
	}
	return s.descriptor.TryReadAt(p, off)
}

// TryReadBatch implements backstore.BatchReader.
func (s *Store) TryReadBatch(reads []backstore.Read) {
	if !slices.ContainsFunc(reads, func(r backstore.Read) bool { return !s.within(r.Offset, int64(len(r.Data))) }) {
		s.descriptor.TryReadBatch(reads)
		return
	}
	for i := range reads {
		_, reads[i].Err = s.TryReadAt(reads[i].Data, reads[i].Offset)
	}
}

// WriteAt implements io.WriterAt.
func (s *Store) WriteAt(p []byte, off int64) (int, error) { return s.write(p, off, false) }

// TryWriteAt implements backstore.TryWriter.
func (s *Store) TryWriteAt(p []byte, off int64) (int, error) {
	if !s.writable(off, int64(len(p))) {
		return 0, s.refusal("write", off, int64(len(p)))
	}
	side, ok := s.ahead.tryEnter(off, int64(len(p)))
	if !ok {
		return 0, backstore.ErrWouldBlock
	}
	n, err := s.descriptor.TryWriteAt(p, off)
	s.ahead.leave(side)
	if s.ahead.mayGiveBack(err) {
		return 0, backstore.ErrWouldBlock
	}
	s.ahead.wrote(off, n)
	return n, err
}

// WriteThroughAt implements backstore.ThroughWriter.
func (s *Store) WriteThroughAt(p []byte, off int64) (int, error) { return s.write(p, off, true) }

// write writes p, again where space that was taken ahead could be given back for it.
func (s *Store) write(p []byte, off int64, through bool) (n int, err error) {
	if !s.writable(off, int64(len(p))) {
		return 0, s.refusal("write", off, int64(len(p)))
	}
	for {
		side := s.ahead.enter(off, int64(len(p)))
		if through {
			n, err = s.descriptor.WriteThroughAt(p, off)
		} else {
			n, err = s.descriptor.WriteAt(p, off)
		}
		s.ahead.leave(side)
		if !s.ahead.hadNoSpace(err) {
			s.ahead.wrote(off, n)
			return n, err
		}
	}
}

// Sync implements backstore.Store. Once it has failed it fails until the image
// is opened anew: what the failed one should have made durable may be lost.
func (s *Store) Sync() error {
	if s.geometry.ReadOnly {
		if err := s.descriptor.Control(func(int) error { return nil }); err != nil {
			return &backstore.Error{Op: "sync", Err: err}
		}
		return nil
	}
	return s.descriptor.Sync()
}

// Close implements io.Closer: it gives back what was taken ahead, waits for the calls in
// flight, and unlocks.
func (s *Store) Close() error {
	s.ahead.end()
	return s.descriptor.Close()
}

// CopyAt implements backstore.Copier with copy_file_range(2), which shares the
// blocks where the file system can. It is refused for a fixed image on either
// side: a shared block takes new space when it is written again.
func (s *Store) CopyAt(off int64, from backstore.Store, fromOff, length int64) error {
	if !s.writable(off, length) {
		return s.refusal("copy", off, length)
	}
	source, ok := from.(*Store)
	if !ok || s.provisioning == Fixed || source.provisioning == Fixed {
		return errors.ErrUnsupported
	}
	if !source.within(fromOff, length) {
		return source.outside("copy from", fromOff, length)
	}
	if source == s && off < fromOff+length && fromOff < off+length {
		return errors.ErrUnsupported
	}
	for {
		side := s.ahead.enter(off, length)
		err := source.descriptor.Control(func(in int) error {
			return s.descriptor.Change(func(out int) error { return copyRange(in, fromOff, out, off, length) })
		})
		s.ahead.leave(side)
		if !s.ahead.hadNoSpace(err) {
			return err
		}
	}
}

func copyRange(in int, fromOff int64, out int, off, length int64) error {
	const most = 1 << 30 // one call; the kernel takes a little less than 2 GiB
	for end := off + length; off < end; {
		n, err := unix.CopyFileRange(in, &fromOff, out, &off, int(min(end-off, most)), 0)
		switch {
		case err == unix.EINTR:
		case err == unix.EXDEV || err == unix.EINVAL || err == unix.EOPNOTSUPP || err == unix.ENOSYS:
			return errors.ErrUnsupported
		case err == unix.EIO:
			return errors.ErrUnsupported // of which side, the kernel does not say; reading and writing will
		case err == nil && n == 0:
			return errors.ErrUnsupported // the source has become shorter; reading it will tell
		case err != nil:
			return &backstore.Error{Op: "copy", Offset: off, Length: end - off, Err: err}
		}
	}
	return nil
}

func (s *Store) within(off, length int64) bool {
	size := s.size.Load()
	return off >= 0 && length >= 0 && off <= size && length <= size-off
}

func (s *Store) outside(op string, off, length int64) error {
	return &backstore.Error{Op: op, Offset: off, Length: length, Err: backstore.ErrRange}
}

func (s *Store) writable(off, length int64) bool {
	return !s.geometry.ReadOnly && s.within(off, length)
}

// refusal tells why a range is not writable.
func (s *Store) refusal(op string, off, length int64) error {
	if !s.within(off, length) {
		return s.outside(op, off, length)
	}
	return &backstore.Error{Op: op, Offset: off, Length: length, Err: backstore.ErrReadOnly}
}
