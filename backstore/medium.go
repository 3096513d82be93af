package backstore

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// zeroChunk bounds one write of zeros, copyChunk the memory of one copy.
	zeroChunk = 64 << 10
	copyChunk = 256 << 10

	// extentSteps bounds the work of one ExtentAt upon a store in many pieces.
	extentSteps = 256
)

// zeroPage is what emulated zeroing writes. Nothing ever writes to it.
var zeroPage [zeroChunk]byte

// A Medium is a Store with its capabilities bound once, so that no command
// asserts a type. It is the one gate to a store:
//
//   - Every operation is there: native, emulated as its comment says, or refused
//     with errors.ErrUnsupported.
//   - Every range is checked against Geometry().Size: one that lies outside, in
//     whole or in part, fails with ErrRange and touches nothing. An empty range
//     within the medium succeeds and does nothing.
//   - What would change a read-only store fails with ErrReadOnly.
//   - Once a sync has failed every later one fails, and so does all that would change
//     a byte, with ErrLost and the first cause: see Trust. What is there can be read.
//   - What a signal has cut short (EINTR) is done again.
//   - Every error is a *Error that names the first byte that failed, but for
//     ErrWouldBlock, which comes as itself.
//
// ReadAt, TryReadAt, WriteAt and TryWriteAt do not allocate, unless they fail.
// Like a Store, a Medium may be used by many goroutines at once.
type Medium struct {
	store    Store
	features Features

	unmapper  Unmapper
	zeroer    Zeroer
	mapper    Mapper
	through   ThroughWriter
	copier    Copier
	comparer  Comparer
	tryReader TryReader
	tryWriter TryWriter
	batch     BatchReader
	teller    SpaceTeller
	grower    Grower

	dirty  atomic.Bool           // something was changed that no sync has made durable
	midway atomic.Int32          // syncs that have begun and not ended, and may leave it dirty
	synced atomic.Int64          // when the last sync that succeeded began, or the medium was bound: Unix nanoseconds
	lost   atomic.Pointer[error] // nil, or why what was written before may be lost
}

// Bind asks s once what it can do.
func Bind(s Store) *Medium {
	f := FeaturesOf(s)
	m := &Medium{store: s, features: f}
	m.synced.Store(time.Now().UnixNano())
	if f.Has(CanUnmap) {
		m.unmapper = s.(Unmapper)
	}
	if f.Has(CanZero) {
		m.zeroer = s.(Zeroer)
	}
	if f.Has(CanMap) {
		m.mapper = s.(Mapper)
	}
	if f.Has(CanWriteThrough) {
		m.through = s.(ThroughWriter)
	}
	if f.Has(CanCopy) {
		m.copier = s.(Copier)
	}
	if f.Has(CanCompare) {
		m.comparer = s.(Comparer)
	}
	if f.Has(CanTryRead) {
		m.tryReader = s.(TryReader)
	}
	if f.Has(CanTryWrite) {
		m.tryWriter = s.(TryWriter)
	}
	if f.Has(CanReadBatch) {
		m.batch = s.(BatchReader)
	}
	if f.Has(TellsSpace) {
		m.teller = s.(SpaceTeller)
	}
	if f.Has(CanGrow) {
		m.grower = s.(Grower)
	}
	return m
}

// Geometry is the store's.
func (m *Medium) Geometry() Geometry { return m.store.Geometry() }

// Features tells what is native.
func (m *Medium) Features() Features { return m.features }

// Close closes the store, after the calls that are in flight. It does not Sync.
func (m *Medium) Close() error { return m.store.Close() }

// ReadAt fills all of p from off and returns len(p), or fails. The medium does
// not keep p.
func (m *Medium) ReadAt(p []byte, off int64) (int, error) {
	g := m.store.Geometry()
	if !within(off, int64(len(p)), g.Size) {
		return 0, outside("read", off, int64(len(p)), g.Size)
	}
	n, err := m.store.ReadAt(p, off)
	for tries := 0; n < len(p) && interrupted(err, &tries); {
		var more int
		more, err = m.store.ReadAt(p[n:], off+int64(n))
		n += more
	}
	if n == len(p) && (err == nil || err == io.EOF) { // io.ReaderAt may add io.EOF to a whole read
		return n, nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, failed("read", off, int64(len(p)), int64(n), err)
}

// TryReadAt fills all of p from what is in memory and returns len(p), or returns
// ErrWouldBlock at once; the content of p is then undefined. A store that cannot
// tell would always block.
func (m *Medium) TryReadAt(p []byte, off int64) (int, error) {
	if m.tryReader == nil {
		return 0, ErrWouldBlock
	}
	g := m.store.Geometry()
	if !within(off, int64(len(p)), g.Size) {
		return 0, outside("read", off, int64(len(p)), g.Size)
	}
	n, err := m.tryReader.TryReadAt(p, off)
	if err == nil && n == len(p) {
		return n, nil
	}
	if err == nil || err == ErrWouldBlock {
		return 0, ErrWouldBlock
	}
	return 0, failed("read", off, int64(len(p)), 0, err)
}

// TryReadBatch is TryReadAt for each of reads, whose Err it sets.
func (m *Medium) TryReadBatch(reads []Read) {
	g := m.store.Geometry()
	whole := m.batch != nil
	for i := range reads {
		whole = whole && within(reads[i].Offset, int64(len(reads[i].Data)), g.Size)
	}
	if whole {
		m.batch.TryReadBatch(reads)
	}
	for i := range reads {
		r := &reads[i]
		switch {
		case !whole:
			_, r.Err = m.TryReadAt(r.Data, r.Offset)
		case r.Err != nil && r.Err != ErrWouldBlock:
			r.Err = failed("read", r.Offset, int64(len(r.Data)), 0, r.Err)
		}
	}
}

// UncacheAt has what is read next of a range come from the device, as far as the store
// can; see Uncacher. A medium that has lost something (see Lost) keeps what is cached: it
// may be the only copy.
func (m *Medium) UncacheAt(off, length int64) {
	u, ok := m.store.(Uncacher)
	if ok && m.Lost() == nil && within(off, length, m.store.Geometry().Size) && length > 0 {
		u.UncacheAt(off, length)
	}
}

// WriteAt writes all of p at off and returns len(p), or fails. The medium
// neither changes nor keeps p. The write is durable after the next Sync.
func (m *Medium) WriteAt(p []byte, off int64) (int, error) {
	if err := m.admitWrite("write", off, int64(len(p))); err != nil {
		return 0, err
	}
	n, err := m.write(p, off)
	if err == nil && n == len(p) {
		m.changed()
		return n, nil
	}
	return wrote(n, err, len(p), off)
}

// write is the store's WriteAt, made again where a signal has cut it short.
func (m *Medium) write(p []byte, off int64) (int, error) {
	n, err := m.store.WriteAt(p, off)
	for tries := 0; interrupted(err, &tries); {
		n, err = m.store.WriteAt(p, off)
	}
	return n, err
}

// TryWriteAt writes all of p at off and returns len(p) if that needs no waiting;
// else it returns ErrWouldBlock at once, having written any part of p: the caller
// writes all of p again with WriteAt. A store that cannot tell would always block.
func (m *Medium) TryWriteAt(p []byte, off int64) (int, error) {
	if m.tryWriter == nil {
		return 0, ErrWouldBlock
	}
	if err := m.admitWrite("write", off, int64(len(p))); err != nil {
		return 0, err
	}
	n, err := m.tryWriter.TryWriteAt(p, off)
	if err == ErrWouldBlock || (err == nil && n != len(p)) {
		return 0, ErrWouldBlock
	}
	if err == nil {
		m.changed()
	}
	return wrote(n, err, len(p), off)
}

// WriteThroughAt is WriteAt, and returns when p is durable. Emulated: WriteAt
// and, if the store is volatile, Sync.
func (m *Medium) WriteThroughAt(p []byte, off int64) (int, error) {
	if err := m.admitWrite("write", off, int64(len(p))); err != nil {
		return 0, err
	}
	if m.through != nil {
		n, err := m.through.WriteThroughAt(p, off)
		for tries := 0; interrupted(err, &tries); {
			n, err = m.through.WriteThroughAt(p, off)
		}
		if errors.Is(err, ErrLost) {
			m.Distrust(err)
		}
		return wrote(n, err, len(p), off)
	}
	n, err := m.write(p, off)
	if n, err = wrote(n, err, len(p), off); err != nil || !m.store.Geometry().Volatile {
		return n, err
	}
	m.changed()
	if err := m.Sync(); err != nil {
		// All of p may be lost, so its first byte is the first that failed.
		var e *Error
		errors.As(err, &e)
		return 0, &Error{Op: "write through", Offset: off, Length: int64(len(p)), Err: e.Err}
	}
	return n, nil
}

// Sync makes durable every write, unmap and zeroing that returned before the call.
// Once it has failed, it fails until Trust: ErrLost.
func (m *Medium) Sync() error {
	if err := m.refuseLost("sync"); err != nil {
		return err
	}
	began := time.Now().UnixNano()
	m.midway.Add(1)
	dirty := m.dirty.Swap(false)
	if dirty {
		defer m.midway.Add(-1)
	} else {
		m.midway.Add(-1)
	}
	err := m.store.Sync()
	if err == nil {
		m.synced.Store(max(began, m.synced.Load()))
		return nil
	}
	if dirty {
		m.dirty.Store(true)
	}
	if err = failed("sync", 0, 0, 0, err); !errors.Is(err, ErrLost) {
		var e *Error
		errors.As(err, &e)
		err = &Error{Op: e.Op, Offset: e.Offset, Length: e.Length, Err: fmt.Errorf("%w: %w", ErrLost, e.Err)}
	}
	m.Distrust(err)
	return err
}

// Distrust has the medium be as after a sync that failed with err.
func (m *Medium) Distrust(err error) {
	if !errors.Is(err, ErrLost) {
		err = fmt.Errorf("%w: %w", ErrLost, err)
	}
	m.lost.CompareAndSwap(nil, &err)
}

// Trust ends what a failed sync, or Distrust, has begun: the owner knows that
// something may be lost, and goes on with what is there. It syncs the store first,
// and if that fails nothing has changed; a store that remembers its failed sync has
// to be opened anew.
func (m *Medium) Trust() error {
	if err := m.store.Sync(); err != nil {
		return failed("sync", 0, 0, 0, err)
	}
	m.dirty.Store(false) // nothing could be written meanwhile
	m.synced.Store(time.Now().UnixNano())
	m.lost.Store(nil)
	return nil
}

// Lost is nil, or why what was written before may be lost.
func (m *Medium) Lost() error {
	if err := m.lost.Load(); err != nil {
		return *err
	}
	return nil
}

// Unsynced tells since when nothing that was changed is known to be durable; false:
// nothing was changed since the last sync, which has ended.
func (m *Medium) Unsynced() (since time.Time, ok bool) {
	// A sync may begin, or fail, between two of these looks.
	unsynced := m.dirty.Load() || m.midway.Load() > 0 || m.dirty.Load()
	return time.Unix(0, m.synced.Load()), unsynced && m.store.Geometry().Volatile
}

// refuseLost is the error of what cannot be done because something may be lost. It
// names no place: it is about none.
func (m *Medium) refuseLost(op string) error {
	if err := m.lost.Load(); err != nil {
		return &Error{Op: op, Err: *err}
	}
	return nil
}

// UnmapAt forgets a range; see Unmapper. A thick store refuses it with
// errors.ErrUnsupported.
func (m *Medium) UnmapAt(off, length int64) error {
	if err := m.admitWrite("unmap", off, length); err != nil {
		return err
	}
	if m.unmapper == nil {
		return &Error{Op: "unmap", Offset: off, Length: length, Err: errors.ErrUnsupported}
	}
	if length == 0 {
		return nil
	}
	err := m.unmapper.UnmapAt(off, length)
	for tries := 0; interrupted(err, &tries); {
		err = m.unmapper.UnmapAt(off, length)
	}
	if err != nil {
		return failed("unmap", off, length, 0, err)
	}
	m.changed()
	return nil
}

// ZeroAt fills a range with zeros; see Zeroer. Emulated: by UnmapAt if unmap is
// wanted and leaves zeros, else by writing zeros in pieces of 64 KiB.
func (m *Medium) ZeroAt(off, length int64, unmap bool) error {
	if err := m.admitWrite("zero", off, length); err != nil {
		return err
	}
	if length == 0 {
		return nil
	}
	if m.zeroer != nil {
		err := m.zeroer.ZeroAt(off, length, unmap)
		for tries := 0; interrupted(err, &tries); {
			err = m.zeroer.ZeroAt(off, length, unmap)
		}
		if err == nil {
			m.changed()
			return nil
		}
		if !errors.Is(err, errors.ErrUnsupported) {
			return failed("zero", off, length, 0, err)
		}
	}
	if unmap && m.features.Has(CanUnmap|ReadsZeros) {
		return m.UnmapAt(off, length)
	}
	return m.writeZeros(off, length)
}

func (m *Medium) writeZeros(off, length int64) error {
	for end := off + length; off < end; {
		p := zeroPage[:min(end-off, zeroChunk)]
		n, err := m.write(p, off)
		if n, err = wrote(n, err, len(p), off); err != nil {
			return failed("zero", off, end-off, int64(n), err)
		}
		m.changed()
		off += int64(n)
	}
	return nil
}

// ExtentAt returns the extent that begins at off, cut at off+length. Extents of
// equal state that touch are joined, so that the next extent has another state;
// but for a store in very many pieces, where a bound on the work ends it early.
// Emulated: all is mapped. An empty range gives an empty, mapped extent.
func (m *Medium) ExtentAt(off, length int64) (Extent, error) {
	size := m.store.Geometry().Size
	if !within(off, length, size) {
		return Extent{}, outside("map", off, length, size)
	}
	all := Extent{Offset: off, Length: length, State: Mapped}
	if m.mapper == nil || length == 0 {
		return all, nil
	}
	e, err := m.mapper.ExtentAt(off, length)
	for steps := 1; err == nil && e.End() < all.End() && steps < extentSteps; steps++ {
		var next Extent
		if next, err = m.mapper.ExtentAt(e.End(), all.End()-e.End()); err == nil {
			if next.State != e.State {
				break
			}
			e.Length += next.Length
		}
	}
	if err != nil {
		return Extent{}, failed("map", off, length, e.Length, err)
	}
	return e, nil
}

// CopyAt copies length bytes of from, at fromOff, to off. The two may be the
// same medium, and the ranges may overlap: the copy is then as if by way of
// another place, if nothing else writes there. Emulated: through 256 KiB of
// memory. An error's offset is in m if writing failed; Op is "copy from" and the
// offset is in from if reading did.
func (m *Medium) CopyAt(off int64, from *Medium, fromOff, length int64) error {
	if err := m.admitWrite("copy", off, length); err != nil {
		return err
	}
	if size := from.store.Geometry().Size; !within(fromOff, length, size) {
		return outside("copy from", fromOff, length, size)
	}
	if length == 0 || (m.store == from.store && off == fromOff) {
		return nil
	}
	if m.copier != nil {
		err := m.copier.CopyAt(off, from.store, fromOff, length)
		overlap := m.store == from.store && off < fromOff+length && fromOff < off+length
		for tries := 0; !overlap && interrupted(err, &tries); {
			err = m.copier.CopyAt(off, from.store, fromOff, length)
		}
		if err == nil {
			m.changed()
			return nil
		}
		if !errors.Is(err, errors.ErrUnsupported) {
			return failed("copy", off, length, 0, err)
		}
	}
	return m.copyThroughMemory(off, from, fromOff, length)
}

func (m *Medium) copyThroughMemory(off int64, from *Medium, fromOff, length int64) error {
	buffer := make([]byte, min(length, copyChunk))
	backwards := m.store == from.store && off > fromOff && off < fromOff+length
	for done := int64(0); done < length; {
		n := min(length-done, copyChunk)
		at := done
		if backwards {
			at = length - done - n
		}
		p := buffer[:n]
		if _, err := from.ReadAt(p, fromOff+at); err != nil {
			return renamed("copy from", err)
		}
		if _, err := m.WriteAt(p, off+at); err != nil {
			return renamed("copy", err)
		}
		done += n
	}
	return nil
}

// Grow makes the medium size bytes long, or as long as what lies below it has become
// when size is 0; see Grower. A store that cannot refuses with errors.ErrUnsupported.
func (m *Medium) Grow(size int64, step func(done, total int64) error) (int64, error) {
	g := m.store.Geometry()
	switch {
	case m.grower == nil:
		return g.Size, &Error{Op: "grow", Offset: g.Size, Err: errors.ErrUnsupported}
	case g.ReadOnly && size != 0:
		return g.Size, &Error{Op: "grow", Offset: g.Size, Err: ErrReadOnly}
	case size < 0 || size != 0 && size < g.Size:
		return g.Size, &Error{Op: "grow", Offset: size, Length: g.Size - size, Err: ErrRange}
	}
	if err := m.refuseLost("grow"); err != nil {
		return g.Size, err
	}
	if step == nil {
		step = func(int64, int64) error { return nil }
	}
	now, err := m.grower.Grow(size, step)
	if errors.Is(err, ErrLost) { // the sync of the new size has failed
		m.Distrust(err)
	}
	if err != nil {
		return now, failed("grow", g.Size, max(size-g.Size, 0), 0, err)
	}
	return now, nil
}

// CompareAndWriteAt writes new at off if the medium holds old there, and returns
// -1; else it returns the index of the first byte that differs. The two slices
// have the same length. Emulated: read, compare, write, which is one step only
// if the caller keeps other writers out of the range.
func (m *Medium) CompareAndWriteAt(old, new []byte, off int64) (miscompare int, err error) {
	if err := m.admitWrite("compare and write", off, int64(len(new))); err != nil {
		return 0, err
	}
	if m.comparer != nil {
		if miscompare, err = m.comparer.CompareAndWriteAt(old, new, off); err != nil {
			return 0, failed("compare and write", off, int64(len(new)), 0, err)
		}
		if miscompare < 0 {
			m.changed()
		}
		return miscompare, nil
	}
	held := make([]byte, len(old))
	if _, err := m.ReadAt(held, off); err != nil {
		return 0, err
	}
	if !bytes.Equal(held, old) {
		for i := range held {
			if held[i] != old[i] {
				return i, nil
			}
		}
	}
	if _, err := m.WriteAt(new, off); err != nil {
		return 0, err
	}
	return -1, nil
}

// admitWrite refuses a range outside, what a read-only medium refuses, and everything
// once a sync has failed.
func (m *Medium) admitWrite(op string, off, length int64) error {
	g := m.store.Geometry()
	if !within(off, length, g.Size) {
		return outside(op, off, length, g.Size)
	}
	if g.ReadOnly {
		return &Error{Op: op, Offset: off, Length: length, Err: ErrReadOnly}
	}
	if m.lost.Load() != nil {
		return m.refuseLost(op)
	}
	return nil
}

// interrupted tells whether a signal has cut a call short (EINTR), so that it is to be
// made again: what was done of it is done again. tries counts, for no store is asked
// for ever. A sync is not asked again: it may have told of a loss, and forgotten it.
func interrupted(err error, tries *int) bool {
	const most = 100
	*tries++
	return err != nil && *tries <= most && errors.Is(err, syscall.EINTR) && !errors.Is(err, ErrLost)
}

// changed notes that something was changed, and is not durable yet. It is called when
// that has succeeded: who was not told so has no promise.
func (m *Medium) changed() {
	if !m.dirty.Load() {
		m.dirty.Store(true)
	}
}

// within reports whether [off, off+length) lies in a medium of size bytes; it
// is careful about sums that overflow.
func within(off, length, size int64) bool {
	return off >= 0 && length >= 0 && off <= size && length <= size-off
}

// outside is the error for a range that is not within size: it names the first
// byte that is not there.
func outside(op string, off, length, size int64) error {
	first := off
	if off >= 0 && off < size && length > 0 {
		first = size
	}
	return &Error{Op: op, Offset: first, Length: max(off+length-first, 0), Err: ErrRange}
}

// wrote checks that a store kept the contract of io.WriterAt.
func wrote(n int, err error, want int, off int64) (int, error) {
	if err == nil && n == want {
		return n, nil
	}
	if err == nil {
		err = io.ErrShortWrite
	}
	return n, failed("write", off, int64(want), int64(n), err)
}

// renamed is an *Error of another operation at the same place.
func renamed(op string, err error) error {
	var e *Error
	if !errors.As(err, &e) {
		return err
	}
	return &Error{Op: op, Offset: e.Offset, Length: e.Length, Err: e.Err}
}

// failed makes a *Error of err, unless it is one already. done is how many bytes
// of the range had been served; of one that was moved whole, and failed all the same,
// none counts.
func failed(op string, off, length, done int64, err error) error {
	var e *Error
	if errors.As(err, &e) {
		return err
	}
	if done < 0 || done >= length {
		done = 0
	}
	return &Error{Op: op, Offset: off + done, Length: length - done, Err: err}
}
