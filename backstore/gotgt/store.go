package gotgt

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/gostor/gotgt/pkg/api"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/backstore/internal/gate"
)

// Options says what the interfaces of gotgt do not.
type Options struct {
	Path     string // of a plugin: what its Open gets
	Settings string // of a plugin: what its Init gets

	// Size in bytes, for a store that does not know it: every
	// api.RemoteBackingStore, and a plugin whose Size is 0.
	Size int64

	// Trust is what the store really does of backstore.CanUnmap and
	// backstore.ReadsZeros. Nothing else can be trusted.
	Trust backstore.Features

	Unmap      int  // bytes of a granule, when CanUnmap is trusted; 0: 4096
	Physical   int  // bytes of a physical block, if known
	ReadOnly   bool // never write to the store
	Concurrent bool // the store may be called by many goroutines at once
}

// A backend is what both interfaces come to.
type backend interface {
	readAt(p []byte, off int64) (int, error)
	writeAt(p []byte, off int64) (int, error)
	sync() error
	unmap(off, length int64) error
	close() error
}

// A Store is a store of gotgt behind the contract of package backstore.
type Store struct {
	backend  backend
	gate     *gate.Gate
	turn     sync.Mutex // held over a call of a store that is not concurrent
	options  Options
	geometry backstore.Geometry
}

// Open initialises and opens a plugin of gotgt.
func Open(plugin api.BackingStore, o Options) (*Store, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	p, size, err := openPlugin(plugin, o)
	if err != nil {
		return nil, err
	}
	if size <= 0 {
		return nil, errors.Join(errors.New("gotgt store: it does not tell its size, and none was given"), p.close())
	}
	return newStore(p, size, o), nil
}

// OpenRemote serves a store that a program hands over. Closing the store closes
// remote if it is an io.Closer.
func OpenRemote(remote api.RemoteBackingStore, o Options) (*Store, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if o.Size <= 0 {
		return nil, fmt.Errorf("gotgt store: a remote store does not tell its size, so one greater than zero has to be given, not %d", o.Size)
	}
	return newStore(remoteStore{remote}, o.Size, o), nil
}

func (o Options) check() error {
	if extra := o.Trust &^ (backstore.CanUnmap | backstore.ReadsZeros); extra != 0 {
		return fmt.Errorf("gotgt store: %v cannot be trusted, the interfaces of gotgt do not have it", extra)
	}
	if o.Unmap < 0 || o.Physical < 0 {
		return fmt.Errorf("gotgt store: a negative granule (%d) or physical block (%d)", o.Unmap, o.Physical)
	}
	return nil
}

func newStore(b backend, size int64, o Options) *Store {
	s := &Store{backend: b, gate: gate.New(), options: o}
	s.geometry = backstore.Geometry{Size: size, Physical: o.Physical, Volatile: true, ReadOnly: o.ReadOnly}
	if o.Trust.Has(backstore.CanUnmap) && !o.ReadOnly {
		if s.geometry.Unmap = o.Unmap; s.geometry.Unmap == 0 {
			s.geometry.Unmap = 4096
		}
	}
	return s
}

// Geometry implements backstore.Store.
func (s *Store) Geometry() backstore.Geometry { return s.geometry }

// Features implements backstore.Featured: what is trusted.
func (s *Store) Features() backstore.Features {
	if s.geometry.ReadOnly {
		return s.options.Trust &^ backstore.CanUnmap
	}
	return s.options.Trust
}

// ReadAt implements io.ReaderAt.
func (s *Store) ReadAt(p []byte, off int64) (int, error) {
	if err := s.begin("read", off, int64(len(p))); err != nil {
		return 0, err
	}
	n, err := s.backend.readAt(p, off)
	s.end()
	return served("read", n, len(p), off, err, io.ErrUnexpectedEOF)
}

// WriteAt implements io.WriterAt.
func (s *Store) WriteAt(p []byte, off int64) (int, error) {
	if err := s.beginChange("write", off, int64(len(p))); err != nil {
		return 0, err
	}
	n, err := s.backend.writeAt(p, off)
	s.end()
	return served("write", n, len(p), off, err, io.ErrShortWrite)
}

// Sync implements backstore.Store.
func (s *Store) Sync() error {
	if err := s.begin("sync", 0, 0); err != nil {
		return err
	}
	err := s.backend.sync()
	s.end()
	if err != nil {
		return &backstore.Error{Op: "sync", Err: err}
	}
	return nil
}

// UnmapAt implements backstore.Unmapper, if that is trusted.
func (s *Store) UnmapAt(off, length int64) error {
	if err := s.beginChange("unmap", off, length); err != nil {
		return err
	}
	defer s.end()
	err := errors.ErrUnsupported
	if s.options.Trust.Has(backstore.CanUnmap) {
		err = s.backend.unmap(off, length)
	}
	if err != nil {
		return &backstore.Error{Op: "unmap", Offset: off, Length: length, Err: err}
	}
	return nil
}

// Close implements io.Closer.
func (s *Store) Close() error {
	if !s.gate.Close() {
		return &backstore.Error{Op: "close", Err: backstore.ErrGone}
	}
	if err := s.backend.close(); err != nil {
		return &backstore.Error{Op: "close", Err: err}
	}
	return nil
}

// begin admits a call; unless it fails, end has to follow.
func (s *Store) begin(op string, off, length int64) error {
	if off < 0 || length < 0 || off > s.geometry.Size || length > s.geometry.Size-off {
		return &backstore.Error{Op: op, Offset: off, Length: length, Err: backstore.ErrRange}
	}
	if !s.gate.Enter() {
		return &backstore.Error{Op: op, Offset: off, Length: length, Err: backstore.ErrGone}
	}
	if !s.options.Concurrent {
		s.turn.Lock()
	}
	return nil
}

// beginChange is begin for what a read-only store refuses.
func (s *Store) beginChange(op string, off, length int64) error {
	if s.geometry.ReadOnly {
		return &backstore.Error{Op: op, Offset: off, Length: length, Err: backstore.ErrReadOnly}
	}
	return s.begin(op, off, length)
}

func (s *Store) end() {
	if !s.options.Concurrent {
		s.turn.Unlock()
	}
	s.gate.Leave()
}

// served judges a transfer of n of want bytes; short is its error when it gave none.
func served(op string, n, want int, off int64, err, short error) (int, error) {
	n = min(max(n, 0), want)
	if n == want && (err == nil || err == io.EOF) {
		return n, nil
	}
	if err == nil || err == io.EOF {
		err = short
	}
	return n, &backstore.Error{Op: op, Offset: off + int64(n), Length: int64(want - n), Err: err}
}
