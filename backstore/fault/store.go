package fault

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/isantarget/isantarget/backstore"
)

// Options say how a Store breaks.
type Options struct {
	// Unit is what is written as one: bytes, a power of two. 0: 512.
	Unit int
	// Seed makes what happens by chance repeatable, as far as the order of calls is.
	Seed uint64
	// Struck, if set, hears of each time that a fault strikes. It must not wait.
	Struck func(Strike)
}

// A Strike is a fault that has happened.
type Strike struct {
	Fault          Fault
	Call           string
	Offset, Length int64 // bytes; of a call without a range 0
	Times          int64 // that this fault has struck so far
}

// A Store is a layer upon another store, which it owns from then on. It has each
// capability of the store below, and promises no atomic write. Whatever is below,
// it may lose what was not synced.
type Store struct {
	below    backstore.Store
	features backstore.Features
	unit     int64
	struck   func(Strike)

	unmapper  backstore.Unmapper
	zeroer    backstore.Zeroer
	mapper    backstore.Mapper
	through   backstore.ThroughWriter
	copier    backstore.Copier
	comparer  backstore.Comparer
	tryReader backstore.TryReader
	tryWriter backstore.TryWriter
	teller    backstore.SpaceTeller
	grower    backstore.Grower

	set        atomic.Pointer[faults] // nil: none
	syncFailed atomic.Pointer[error]
	cache      cache
	closed     chan struct{}
	calls      sync.WaitGroup // that wait in a delay
	closing    sync.Mutex

	dice    sync.Mutex
	chances *rand.Rand
}

var _ backstore.Layer = (*Store)(nil)

// faults are those in force. They are replaced as a whole.
type faults struct {
	list     []*counted
	calls    Calls // that any of them is about
	cache    bool  // one of them needs the cache
	replaced chan struct{}
	cut      atomic.Bool // the power is off
}

// A counted is a fault and how often it was met.
type counted struct {
	Fault
	met, struck atomic.Int64
}

// New puts a layer without faults upon below.
func New(below backstore.Store, o Options) (*Store, error) {
	if o.Unit == 0 {
		o.Unit = 512
	}
	if o.Unit < 0 || o.Unit&(o.Unit-1) != 0 {
		return nil, fmt.Errorf("faults: a unit of %d bytes: give a power of two", o.Unit)
	}
	s := &Store{
		below: below, features: backstore.FeaturesOf(below), unit: int64(o.Unit), struck: o.Struck,
		closed: make(chan struct{}), chances: rand.New(rand.NewPCG(o.Seed, 0x66617565)),
	}
	s.cache.init(s)
	s.unmapper, _ = below.(backstore.Unmapper)
	s.zeroer, _ = below.(backstore.Zeroer)
	s.mapper, _ = below.(backstore.Mapper)
	s.through, _ = below.(backstore.ThroughWriter)
	s.copier, _ = below.(backstore.Copier)
	s.comparer, _ = below.(backstore.Comparer)
	s.tryReader, _ = below.(backstore.TryReader)
	s.tryWriter, _ = below.(backstore.TryWriter)
	s.teller, _ = below.(backstore.SpaceTeller)
	s.grower, _ = below.(backstore.Grower)
	return s, nil
}

// Set replaces the faults. Calls that wait in a delay go on at once, and after a
// power cut there is power again. A sync that has failed stays failed: for that the
// store has to be opened anew.
func (s *Store) Set(list []Fault) {
	var next *faults
	if len(list) > 0 {
		next = &faults{replaced: make(chan struct{})}
		for _, f := range list {
			next.list = append(next.list, &counted{Fault: f})
			next.calls |= f.Calls
			next.cache = next.cache || f.Kind == LostSync || f.Kind == PowerCut
		}
	}
	s.cache.follow(next != nil && next.cache)
	if old := s.set.Swap(next); old != nil {
		close(old.replaced)
	}
}

// A Status is a fault in force.
type Status struct {
	Fault
	Met, Struck int64 // calls that it was about, and to how many it happened
}

// Faults are those in force.
func (s *Store) Faults() []Status {
	var list []Status
	if set := s.set.Load(); set != nil {
		for _, f := range set.list {
			list = append(list, Status{Fault: f.Fault, Met: f.met.Load(), Struck: f.struck.Load()})
		}
	}
	return list
}

// Mend forgets that a sync has failed, for a store that cannot be opened anew: who
// calls it knows that something may be lost.
func (s *Store) Mend() { s.syncFailed.Store(nil) }

// Off tells whether a power cut has happened, and the power is still off.
func (s *Store) Off() bool {
	set := s.set.Load()
	return set != nil && set.cut.Load()
}

// Below implements backstore.Layer.
func (s *Store) Below() []backstore.Store { return []backstore.Store{s.below} }

// Features implements backstore.Featured: they are those of the store below.
func (s *Store) Features() backstore.Features { return s.features }

// Geometry implements backstore.Store: that of the store below, but volatile, and
// without atomic writes.
func (s *Store) Geometry() backstore.Geometry {
	g := s.below.Geometry()
	g.Volatile, g.Atomic = true, 0
	return g
}

// Grow implements backstore.Grower. No fault strikes it, but a power cut.
func (s *Store) Grow(size int64, step func(done, total int64) error) (int64, error) {
	if s.grower == nil {
		return s.Geometry().Size, errors.ErrUnsupported
	}
	if s.Off() {
		return s.Geometry().Size, errOff
	}
	return s.grower.Grow(size, step)
}

// Close implements backstore.Store. Calls that wait in a delay go on at once.
func (s *Store) Close() error {
	s.closing.Lock()
	select {
	case <-s.closed:
	default:
		close(s.closed)
	}
	s.closing.Unlock()
	s.calls.Wait()
	return s.below.Close()
}

// meets tells whether a fault in force may strike a call of this kind.
func (s *Store) meets(call Calls) bool {
	set := s.set.Load()
	return set != nil && (set.calls&call != 0 || set.cut.Load())
}

// A verdict is what shall happen to a call.
type verdict struct {
	err   error // the call fails so ...
	at    int64 // ... with the byte at this offset; all before it is done
	short bool  // only the bytes before at are moved, and no error is told
	torn  bool
	lost  bool // a sync that is a lie
}

// judge asks each fault in force for a call, and waits where one of them delays it.
// A call without a range has length 0 and touches everything.
func (s *Store) judge(call Calls, name string, off, length int64) (v verdict) {
	set := s.set.Load()
	if set == nil {
		return v
	}
	if set.cut.Load() {
		return verdict{err: errOff, at: off}
	}
	if set.calls&call == 0 {
		return v
	}
	for _, f := range set.list {
		at, ok := off, f.Calls&call != 0
		if ok && length > 0 {
			at, ok = f.touches(off, length)
		}
		if !ok || !s.happens(f) {
			continue
		}
		if s.struck != nil {
			s.struck(Strike{Fault: f.Fault, Call: name, Offset: off, Length: length, Times: f.struck.Load()})
		}
		switch f.Kind {
		case Delay:
			s.wait(set, f.Delay)
		case LostSync:
			v.lost = true
		case PowerCut:
			if err := s.cut(set, f.Keep); err != nil {
				return verdict{err: err, at: off}
			}
			return verdict{err: errOff, at: off}
		case Short:
			if v.err == nil && length > 0 {
				v.short, v.at = true, s.boundary(off, length)
			}
		case Torn:
			if v.err == nil {
				v.err, v.at, v.torn, v.short = syscall.EIO, off, true, false
			}
		default:
			if v.err == nil || at < v.at {
				v.err, v.at, v.torn, v.short = f.Errno, at, false, false
			}
		}
	}
	if set.cut.Load() { // while the call was delayed
		return verdict{err: errOff, at: off}
	}
	return v
}

// errOff: the power is off.
var errOff = fmt.Errorf("%w: the power is cut", backstore.ErrGone)

// happens counts a call that f is about, and tells whether it strikes.
func (s *Store) happens(f *counted) bool {
	if f.met.Add(1) <= f.After {
		return false
	}
	if f.Rate > 0 && f.Rate < 1 && s.chance() >= f.Rate {
		return false
	}
	n := f.struck.Add(1)
	if f.Count > 0 && n > f.Count {
		f.struck.Add(-1)
		return false
	}
	return true
}

func (s *Store) chance() float64 {
	s.dice.Lock()
	defer s.dice.Unlock()
	return s.chances.Float64()
}

// roll is a number from 0 to n-1.
func (s *Store) roll(n int64) int64 {
	s.dice.Lock()
	defer s.dice.Unlock()
	return s.chances.Int64N(n)
}

// wait waits, until the faults are replaced or the store is closed at the latest.
func (s *Store) wait(set *faults, d time.Duration) {
	s.closing.Lock()
	select {
	case <-s.closed:
		s.closing.Unlock()
		return
	default:
	}
	s.calls.Add(1)
	s.closing.Unlock()
	defer s.calls.Done()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-set.replaced:
	case <-s.closed:
	}
}

// boundary is a place in a range where a transfer may end early: its beginning, or
// where a unit begins.
func (s *Store) boundary(off, length int64) int64 {
	return max((off+s.roll(length))&^(s.unit-1), off)
}

// failed is the error of a call.
func failed(op string, off, length int64, err error) error {
	return &backstore.Error{Op: op, Offset: off, Length: length, Err: err}
}

// outside refuses a range that is not in the store, before any fault meets it.
func (s *Store) outside(op string, off, length int64) error {
	if size := s.below.Geometry().Size; off < 0 || length < 0 || off > size || length > size-off {
		return failed(op, off, length, backstore.ErrRange)
	}
	return nil
}

// ReadAt implements io.ReaderAt.
func (s *Store) ReadAt(p []byte, off int64) (int, error) {
	if !s.meets(Read) {
		return s.below.ReadAt(p, off)
	}
	length := int64(len(p))
	if err := s.outside("read", off, length); err != nil {
		return 0, err
	}
	v := s.judge(Read, "read", off, length)
	switch {
	case v.err != nil:
		n, err := s.below.ReadAt(p[:v.at-off], off)
		if err != nil {
			return n, err
		}
		return n, failed("read", v.at, off+length-v.at, v.err)
	case v.short:
		return s.below.ReadAt(p[:v.at-off], off)
	}
	return s.below.ReadAt(p, off)
}

// TryReadAt implements backstore.TryReader. While a fault may meet reads, each
// would have to wait.
func (s *Store) TryReadAt(p []byte, off int64) (int, error) {
	if s.tryReader == nil || s.meets(Read) {
		return 0, s.wouldBlock("read", off, int64(len(p)))
	}
	return s.tryReader.TryReadAt(p, off)
}

// UncacheAt implements backstore.Uncacher.
func (s *Store) UncacheAt(off, length int64) {
	if u, ok := s.below.(backstore.Uncacher); ok {
		u.UncacheAt(off, length)
	}
}

// WriteAt implements io.WriterAt.
func (s *Store) WriteAt(p []byte, off int64) (int, error) {
	if !s.meets(Write) && !s.cache.on() {
		return s.below.WriteAt(p, off)
	}
	return s.write(p, off, false, s.below.WriteAt)
}

// write writes p as the faults have it.
func (s *Store) write(p []byte, off int64, durable bool, write func([]byte, int64) (int, error)) (int, error) {
	length := int64(len(p))
	if err := s.outside("write", off, length); err != nil {
		return 0, err
	}
	v := s.judge(Write, "write", off, length)
	switch {
	case v.torn:
		return s.tear(p, off, durable, write)
	case v.err != nil:
		n, err := s.cached(p[:v.at-off], off, durable, write)
		if err != nil {
			return n, err
		}
		return n, failed("write", v.at, off+length-v.at, v.err)
	case v.short:
		return s.cached(p[:v.at-off], off, durable, write)
	}
	return s.cached(p, off, durable, write)
}

// cached writes p, noting before what it replaces.
func (s *Store) cached(p []byte, off int64, durable bool, write func([]byte, int64) (int, error)) (n int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	err = s.cache.change(off, int64(len(p)), durable, func() error {
		n, err = write(p, off)
		return err
	})
	return n, err
}

// tear writes some units of p and not the others. The error names the first that
// was not: all before it were.
func (s *Store) tear(p []byte, off int64, durable bool, write func([]byte, int64) (int, error)) (int, error) {
	length := int64(len(p))
	first := s.boundary(off, length) - off
	if n, err := s.cached(p[:first], off, durable, write); err != nil {
		return n, err
	}
	for at := min((off+first)&^(s.unit-1)+s.unit-off, length); at < length; {
		next := min((off+at)&^(s.unit-1)+s.unit-off, length)
		if s.roll(2) == 0 {
			if _, err := s.cached(p[at:next], off+at, durable, write); err != nil {
				break // it fails anyhow
			}
		}
		at = next
	}
	return int(first), failed("write", off+first, length-first, syscall.EIO)
}

// TryWriteAt implements backstore.TryWriter. While a fault may meet writes, each
// would have to wait.
func (s *Store) TryWriteAt(p []byte, off int64) (int, error) {
	if s.tryWriter == nil || s.meets(Write) || s.cache.on() {
		return 0, s.wouldBlock("write", off, int64(len(p)))
	}
	return s.tryWriter.TryWriteAt(p, off)
}

func (s *Store) wouldBlock(op string, off, length int64) error {
	if err := s.outside(op, off, length); err != nil {
		return err
	}
	return backstore.ErrWouldBlock
}

// WriteThroughAt implements backstore.ThroughWriter: a write that the faults of
// writes meet, and then a sync of its bytes that the faults of syncs meet.
func (s *Store) WriteThroughAt(p []byte, off int64) (int, error) {
	if s.through == nil {
		return s.writeThenSync(p, off)
	}
	if !s.meets(Write|Sync) && !s.cache.on() && s.syncFailed.Load() == nil {
		return s.through.WriteThroughAt(p, off)
	}
	if err := s.earlierFailure("write through", off, int64(len(p))); err != nil {
		return 0, err
	}
	v := s.judge(Sync, "write through", 0, 0)
	if v.lost {
		return s.write(p, off, false, s.below.WriteAt)
	}
	if v.err != nil {
		if n, err := s.write(p, off, false, s.below.WriteAt); err != nil || n < len(p) {
			return n, err
		}
		return 0, s.rememberFailure("write through", off, int64(len(p)), v.err)
	}
	return s.write(p, off, true, s.through.WriteThroughAt)
}

func (s *Store) writeThenSync(p []byte, off int64) (int, error) {
	n, err := s.WriteAt(p, off)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return n, err
	}
	if err := s.Sync(); err != nil {
		return 0, err
	}
	return n, nil
}

// Sync implements backstore.Store. Once a fault made it fail it fails for ever, as
// every store's does.
func (s *Store) Sync() error {
	if err := s.earlierFailure("sync", 0, 0); err != nil {
		return err
	}
	if !s.meets(Sync) && !s.cache.on() {
		return s.below.Sync()
	}
	v := s.judge(Sync, "sync", 0, 0)
	switch {
	case v.lost:
		return nil
	case v.err == errOff:
		return failed("sync", 0, 0, v.err)
	case v.err != nil:
		return s.rememberFailure("sync", 0, 0, v.err)
	}
	return s.cache.sync()
}

func (s *Store) earlierFailure(op string, off, length int64) error {
	if failure := s.syncFailed.Load(); failure != nil {
		return failed(op, off, length, fmt.Errorf("an earlier sync failed; %w: %w", backstore.ErrLost, *failure))
	}
	return nil
}

func (s *Store) rememberFailure(op string, off, length int64, err error) error {
	s.syncFailed.CompareAndSwap(nil, &err)
	return failed(op, off, length, fmt.Errorf("%w: %w", backstore.ErrLost, err))
}

// UnmapAt implements backstore.Unmapper.
func (s *Store) UnmapAt(off, length int64) error {
	return s.alter(Unmap, "unmap", off, length, s.unmapper.UnmapAt)
}

// ZeroAt implements backstore.Zeroer.
func (s *Store) ZeroAt(off, length int64, unmap bool) error {
	return s.alter(Zero, "zero", off, length, func(off, length int64) error { return s.zeroer.ZeroAt(off, length, unmap) })
}

// alter does what changes a range without bytes that are handed over.
func (s *Store) alter(call Calls, op string, off, length int64, do func(off, length int64) error) error {
	if !s.meets(call) && !s.cache.on() {
		return do(off, length)
	}
	if err := s.outside(op, off, length); err != nil {
		return err
	}
	v := s.judge(call, op, off, length)
	part := length
	switch {
	case v.torn:
		v.at = s.boundary(off, length)
		part = v.at - off
	case v.err != nil:
		part = v.at - off
	}
	if part > 0 || v.err == nil {
		if err := s.cache.change(off, part, false, func() error { return do(off, part) }); err != nil {
			return err
		}
	}
	if v.err != nil {
		return failed(op, v.at, off+length-v.at, v.err)
	}
	return nil
}

// ExtentAt implements backstore.Mapper.
func (s *Store) ExtentAt(off, length int64) (backstore.Extent, error) {
	if s.meets(Map) {
		if err := s.outside("map", off, length); err != nil {
			return backstore.Extent{}, err
		}
		if v := s.judge(Map, "map", off, length); v.err != nil {
			return backstore.Extent{}, failed("map", v.at, off+length-v.at, v.err)
		}
	}
	return s.mapper.ExtentAt(off, length)
}

// Space implements backstore.SpaceTeller.
func (s *Store) Space() (backstore.Space, error) { return s.teller.Space() }

// CopyAt implements backstore.Copier. What another layer of this kind reads for it,
// the faults of that one meet.
func (s *Store) CopyAt(off int64, from backstore.Store, fromOff, length int64) error {
	if other, ok := from.(*Store); ok {
		if other.meets(Read) {
			if err := other.outside("copy from", fromOff, length); err != nil {
				return err
			}
			if v := other.judge(Read, "copy from", fromOff, length); v.err != nil {
				return failed("copy from", v.at, fromOff+length-v.at, v.err)
			}
		}
		from = other.below
	}
	return s.alter(Write, "copy", off, length, func(off, n int64) error { return s.copier.CopyAt(off, from, fromOff, n) })
}

// CompareAndWriteAt implements backstore.Comparer.
func (s *Store) CompareAndWriteAt(old, new []byte, off int64) (miscompare int, err error) {
	length := int64(len(new))
	if s.meets(Transfers) {
		if err := s.outside("compare and write", off, length); err != nil {
			return 0, err
		}
		if v := s.judge(Transfers, "compare and write", off, length); v.err != nil {
			return 0, failed("compare and write", v.at, off+length-v.at, v.err)
		}
	}
	err = s.cache.change(off, length, false, func() error {
		miscompare, err = s.comparer.CompareAndWriteAt(old, new, off)
		return err
	})
	return miscompare, err
}
