package block

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/backstore/internal/descriptor"
)

// Options says which device to open, and how.
type Options struct {
	Path     string
	Direct   bool // leave out the page cache (O_DIRECT)
	ReadOnly bool
}

// unmapping is what a device can do about space that is not needed any more.
type unmapping uint8

const (
	thick    unmapping = iota
	discards           // what a discarded range reads as is undefined
	punches            // it reads as zeros
)

// A Store is an open block device.
type Store struct {
	descriptor *descriptor.Descriptor
	sector     int64 // bytes; what is zeroed and given back as one
	unmapping  unmapping
	geometry   backstore.Geometry // without the size
	size       atomic.Int64       // it only grows
	features   backstore.Features
}

// Open opens a device, exclusively. When it is in use, mounted for instance, the
// error is backstore.ErrLocked and names who has it, as far as that can be seen.
func Open(o Options) (*Store, error) {
	info, err := os.Stat(o.Path)
	if err == nil && info.Mode()&(fs.ModeDevice|fs.ModeCharDevice) != fs.ModeDevice {
		err = errors.New("it is not a block device")
	}
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	if err != nil {
		return nil, fmt.Errorf("device %s: %w", o.Path, err)
	}
	fd, err := openExclusively(o)
	if err != nil {
		return nil, fmt.Errorf("device %s: %w", o.Path, err)
	}
	s, err := newStore(fd, o)
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("device %s: %w", o.Path, err)
	}
	return s, nil
}

func openExclusively(o Options) (int, error) {
	flags := unix.O_EXCL | unix.O_CLOEXEC | unix.O_RDWR
	if o.ReadOnly {
		flags = unix.O_EXCL | unix.O_CLOEXEC | unix.O_RDONLY
	}
	if o.Direct {
		flags |= unix.O_DIRECT
	}
	for {
		fd, err := unix.Open(o.Path, flags, 0)
		switch err {
		case unix.EINTR:
			continue
		case unix.EBUSY:
			return -1, fmt.Errorf("%w by %s", backstore.ErrLocked, holder(o.Path))
		case unix.EACCES, unix.EROFS, unix.EPERM:
			if !o.ReadOnly {
				return -1, fmt.Errorf("it cannot be opened for writing: %w", err)
			}
		}
		return fd, err
	}
}

// newStore makes a store of an open device.
func newStore(fd int, o Options) (*Store, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, err
	}
	if protected, err := unix.IoctlGetUint32(fd, unix.BLKROGET); err == nil && protected != 0 && !o.ReadOnly {
		return nil, fmt.Errorf("%w: a write-protected device has to be served read-only", backstore.ErrReadOnly)
	}
	size, err := unix.Seek(fd, 0, unix.SEEK_END)
	if err != nil {
		return nil, err
	}
	if size == 0 {
		return nil, errors.New("it has no medium: its size is 0")
	}
	sector, err := unix.IoctlGetUint32(fd, unix.BLKSSZGET)
	if err != nil {
		return nil, err
	}
	s := &Store{sector: int64(sector)}
	if !o.Direct {
		// A write of a part of a page reads the rest of it first. Before Linux 6.15
		// nothing keeps that away from zeros that the device writes into the same
		// page: what was zeroed would come back. So no page is zeroed in part.
		s.sector = max(s.sector, int64(os.Getpagesize()))
	}
	s.geometry = backstore.Geometry{Volatile: true, Rotational: descriptor.Rotational(st.Rdev), ReadOnly: o.ReadOnly}
	s.size.Store(size)
	if physical, err := unix.IoctlGetUint32(fd, unix.BLKPBSZGET); err == nil {
		s.geometry.Physical = int(physical)
	}
	if optimal, err := unix.IoctlGetUint32(fd, unix.BLKIOOPT); err == nil {
		s.geometry.Optimal = int(optimal)
	}
	var align descriptor.Alignment
	if o.Direct {
		align = descriptor.DirectAlignment(fd)
		align.Offset = int(sector) // which statx(2) does not tell before Linux 6.1
		cache, known := descriptor.QueueText(st.Rdev, "write_cache")
		s.geometry.Volatile = !known || cache != "write through"
	}
	if !o.ReadOnly {
		s.askUnmapping(st.Rdev)
	}
	s.descriptor = descriptor.New(fd, align)
	s.askFeatures()
	return s, nil
}

// askUnmapping asks the request queue of the device what it can do.
func (s *Store) askUnmapping(device uint64) {
	discard, _ := descriptor.Queue(device, "discard_max_bytes")
	zero, _ := descriptor.Queue(device, "write_zeroes_max_bytes")
	switch {
	case discard > 0 && zero > 0:
		s.unmapping = punches
	case discard > 0:
		s.unmapping = discards
	default:
		return
	}
	granularity, _ := descriptor.Queue(device, "discard_granularity")
	s.geometry.Unmap = int(max(granularity, s.sector))
}

func (s *Store) askFeatures() {
	s.features = backstore.CanGrow
	if s.descriptor.CanTryRead(s.size.Load()) {
		s.features |= backstore.CanTryRead | backstore.CanReadBatch
	}
	if s.geometry.ReadOnly {
		return
	}
	s.features |= backstore.CanZero | backstore.CanWriteThrough
	if !s.descriptor.Direct() {
		s.features |= backstore.Buffered
	}
	if s.descriptor.CanTryWrite() {
		s.features |= backstore.CanTryWrite
	}
	switch s.unmapping {
	case punches:
		s.features |= backstore.CanUnmap | backstore.ReadsZeros
	case discards:
		s.features |= backstore.CanUnmap
	}
}

// Geometry implements backstore.Store.
func (s *Store) Geometry() backstore.Geometry {
	g := s.geometry
	g.Size = s.size.Load()
	return g
}

// Features implements backstore.Featured.
func (s *Store) Features() backstore.Features { return s.features }

// ReadAt implements io.ReaderAt.
func (s *Store) ReadAt(p []byte, off int64) (int, error) {
	if !s.within(off, int64(len(p))) {
		return 0, outside("read", off, int64(len(p)))
	}
	return s.descriptor.ReadAt(p, off)
}

// TryReadAt implements backstore.TryReader.
func (s *Store) TryReadAt(p []byte, off int64) (int, error) {
	if !s.within(off, int64(len(p))) {
		return 0, outside("read", off, int64(len(p)))
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
func (s *Store) WriteAt(p []byte, off int64) (int, error) {
	if !s.writable(off, int64(len(p))) {
		return 0, s.refusal("write", off, int64(len(p)))
	}
	return s.descriptor.WriteAt(p, off)
}

// TryWriteAt implements backstore.TryWriter.
func (s *Store) TryWriteAt(p []byte, off int64) (int, error) {
	if !s.writable(off, int64(len(p))) {
		return 0, s.refusal("write", off, int64(len(p)))
	}
	return s.descriptor.TryWriteAt(p, off)
}

// WriteThroughAt implements backstore.ThroughWriter.
func (s *Store) WriteThroughAt(p []byte, off int64) (int, error) {
	if !s.writable(off, int64(len(p))) {
		return 0, s.refusal("write", off, int64(len(p)))
	}
	return s.descriptor.WriteThroughAt(p, off)
}

// Sync implements backstore.Store: it empties the page cache of the device and
// the cache in the device. Once it has failed it fails until the device is
// opened anew.
func (s *Store) Sync() error {
	if s.geometry.ReadOnly {
		if err := s.descriptor.Control(func(int) error { return nil }); err != nil {
			return &backstore.Error{Op: "sync", Err: err}
		}
		return nil
	}
	return s.descriptor.Sync()
}

// Close implements io.Closer: it waits for the calls in flight.
func (s *Store) Close() error { return s.descriptor.Close() }

func (s *Store) within(off, length int64) bool {
	size := s.size.Load()
	return off >= 0 && length >= 0 && off <= size && length <= size-off
}

func outside(op string, off, length int64) error {
	return &backstore.Error{Op: op, Offset: off, Length: length, Err: backstore.ErrRange}
}

func (s *Store) writable(off, length int64) bool {
	return !s.geometry.ReadOnly && s.within(off, length)
}

// refusal tells why a range is not writable.
func (s *Store) refusal(op string, off, length int64) error {
	if !s.within(off, length) {
		return outside(op, off, length)
	}
	return &backstore.Error{Op: op, Offset: off, Length: length, Err: backstore.ErrReadOnly}
}
