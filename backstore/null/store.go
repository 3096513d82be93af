package null

import (
	"fmt"
	"sync/atomic"

	"github.com/isantarget/isantarget/backstore"
)

// A Store reads as zeros, whatever is written to it. All of it is mapped, for
// what is not allocated would have to be: it makes no promise it could break but
// the one that matters, to keep what is written.
type Store struct {
	size   atomic.Int64
	closed atomic.Bool
}

// New makes a store that shows size bytes.
func New(size int64) (*Store, error) {
	if size <= 0 {
		return nil, fmt.Errorf("a null store of %d bytes: the size must be greater than zero", size)
	}
	s := &Store{}
	s.size.Store(size)
	return s, nil
}

// Geometry implements backstore.Store.
func (s *Store) Geometry() backstore.Geometry { return backstore.Geometry{Size: s.size.Load()} }

// ReadAt implements io.ReaderAt.
func (s *Store) ReadAt(p []byte, off int64) (int, error) {
	if err := s.check("read", off, int64(len(p))); err != nil {
		return 0, err
	}
	clear(p)
	return len(p), nil
}

// TryReadAt implements backstore.TryReader.
func (s *Store) TryReadAt(p []byte, off int64) (int, error) { return s.ReadAt(p, off) }

// WriteAt implements io.WriterAt.
func (s *Store) WriteAt(p []byte, off int64) (int, error) {
	if err := s.check("write", off, int64(len(p))); err != nil {
		return 0, err
	}
	return len(p), nil
}

// TryWriteAt implements backstore.TryWriter.
func (s *Store) TryWriteAt(p []byte, off int64) (int, error) { return s.WriteAt(p, off) }

// ZeroAt implements backstore.Zeroer.
func (s *Store) ZeroAt(off, length int64, _ bool) error { return s.check("zero", off, length) }

// Grow implements backstore.Grower.
func (s *Store) Grow(size int64, _ func(done, total int64) error) (int64, error) {
	for {
		now := s.size.Load()
		if size == 0 || size == now {
			return now, s.check("grow", 0, 0)
		}
		if size < now {
			return now, &backstore.Error{Op: "grow", Offset: size, Length: now - size, Err: backstore.ErrRange}
		}
		if err := s.check("grow", 0, 0); err != nil {
			return now, err
		}
		if s.size.CompareAndSwap(now, size) {
			return size, nil
		}
	}
}

// Sync implements backstore.Store.
func (s *Store) Sync() error { return s.check("sync", 0, 0) }

// Close implements io.Closer.
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		return &backstore.Error{Op: "close", Err: backstore.ErrGone}
	}
	return nil
}

func (s *Store) check(op string, off, length int64) error {
	if s.closed.Load() {
		return &backstore.Error{Op: op, Offset: off, Length: length, Err: backstore.ErrGone}
	}
	if size := s.size.Load(); off < 0 || length < 0 || off > size || length > size-off {
		return &backstore.Error{Op: op, Offset: off, Length: length, Err: backstore.ErrRange}
	}
	return nil
}
