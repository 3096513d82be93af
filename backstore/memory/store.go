package memory

import (
	"fmt"
	"math"
	"sync"
	"sync/atomic"

	"github.com/isantarget/isantarget/backstore"
)

const (
	chunkSize = 64 << 10 // bytes of the piece in which space is taken and given back
	shards    = 64       // locks; neighbouring chunks have different ones
)

type chunk [chunkSize]byte

// A shard is every 64th chunk. Its lock is held for one copy of at most a chunk,
// never over I/O.
type shard struct {
	mu     sync.RWMutex
	chunks map[int64]*chunk // by number; a missing one is deallocated and reads as zeros
}

// A Store is a sparse medium in memory. It is a backstore.Unmapper, Zeroer,
// Mapper, Grower, TryReader and TryWriter, and what is not allocated reads as zeros.
type Store struct {
	size   atomic.Int64 // it only grows
	closed atomic.Bool
	shards [shards]shard
}

// New makes a store of size bytes, all of them zero and none of them allocated.
func New(size int64) (*Store, error) {
	if size <= 0 {
		return nil, fmt.Errorf("a memory store of %d bytes: the size must be greater than zero", size)
	}
	s := &Store{}
	s.size.Store(size)
	for i := range s.shards {
		s.shards[i].chunks = make(map[int64]*chunk)
	}
	return s, nil
}

// Geometry implements backstore.Store. The store is not volatile: Sync would
// make nothing safer. Any write is atomic: what ends the process ends the medium.
func (s *Store) Geometry() backstore.Geometry {
	return backstore.Geometry{Size: s.size.Load(), Unmap: chunkSize, Atomic: math.MaxInt}
}

// Features implements backstore.Featured.
func (s *Store) Features() backstore.Features {
	return backstore.CanUnmap | backstore.CanZero | backstore.CanMap | backstore.CanGrow |
		backstore.CanTryRead | backstore.CanTryWrite | backstore.ReadsZeros
}

// ReadAt implements io.ReaderAt.
func (s *Store) ReadAt(p []byte, off int64) (int, error) {
	if err := s.check("read", off, int64(len(p))); err != nil {
		return 0, err
	}
	for n := 0; n < len(p); {
		number, from := split(off + int64(n))
		piece := p[n:min(len(p), n+chunkSize-from)]
		sh := s.shard(number)
		sh.mu.RLock()
		if c := sh.chunks[number]; c != nil {
			copy(piece, c[from:])
		} else {
			clear(piece)
		}
		sh.mu.RUnlock()
		n += len(piece)
	}
	return len(p), s.stillOpen("read", off)
}

// TryReadAt implements backstore.TryReader: all is in memory.
func (s *Store) TryReadAt(p []byte, off int64) (int, error) { return s.ReadAt(p, off) }

// WriteAt implements io.WriterAt.
func (s *Store) WriteAt(p []byte, off int64) (int, error) {
	if err := s.check("write", off, int64(len(p))); err != nil {
		return 0, err
	}
	for n := 0; n < len(p); {
		number, from := split(off + int64(n))
		piece := p[n:min(len(p), n+chunkSize-from)]
		sh := s.shard(number)
		sh.mu.Lock()
		copy(sh.take(number)[from:], piece)
		sh.mu.Unlock()
		n += len(piece)
	}
	return len(p), s.stillOpen("write", off)
}

// TryWriteAt implements backstore.TryWriter: a write waits for nothing.
func (s *Store) TryWriteAt(p []byte, off int64) (int, error) { return s.WriteAt(p, off) }

// Sync implements backstore.Store. There is nothing to do.
func (s *Store) Sync() error { return s.stillOpen("sync", 0) }

// UnmapAt implements backstore.Unmapper: whole chunks are freed, the rest of
// the range is zeroed in place.
func (s *Store) UnmapAt(off, length int64) error {
	if err := s.check("unmap", off, length); err != nil {
		return err
	}
	return s.forget(off, length)
}

// ZeroAt implements backstore.Zeroer.
func (s *Store) ZeroAt(off, length int64, unmap bool) error {
	if err := s.check("zero", off, length); err != nil {
		return err
	}
	if unmap {
		return s.forget(off, length)
	}
	for end := off + length; off < end; {
		number, from := split(off)
		n := min(end-off, int64(chunkSize-from))
		sh := s.shard(number)
		sh.mu.Lock()
		clear(sh.take(number)[from : from+int(n)])
		sh.mu.Unlock()
		off += n
	}
	return s.stillOpen("zero", off)
}

// forget zeroes the edges of a range in place and frees the whole chunks between.
func (s *Store) forget(off, length int64) error {
	end := off + length
	first, last := (off+chunkSize-1)/chunkSize, end/chunkSize
	if first > last { // within one chunk
		s.clearPart(off, end)
		s.freeLast(off, end)
		return s.stillOpen("unmap", off)
	}
	s.clearPart(off, first*chunkSize)
	s.free(first, last)
	s.clearPart(last*chunkSize, end)
	s.freeLast(off, end)
	return s.stillOpen("unmap", off)
}

// freeLast drops the last chunk, which may be shorter than the others, if all of it
// lies in the range. Who makes the store bigger and then writes to that chunk waits for
// its lock, or has changed the size that is looked at here.
func (s *Store) freeLast(off, end int64) {
	number, _ := split(end)
	if off > number*chunkSize {
		return
	}
	sh := s.shard(number)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if s.size.Load() == end {
		delete(sh.chunks, number)
	}
}

// free drops the chunks first to last-1. Its work is bounded by what is
// allocated, not by the range.
func (s *Store) free(first, last int64) {
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		if int64(len(sh.chunks)) < (last-first)/shards {
			for number := range sh.chunks {
				if first <= number && number < last {
					delete(sh.chunks, number)
				}
			}
		} else {
			for number := first + (int64(i)-first%shards+shards)%shards; number < last; number += shards {
				delete(sh.chunks, number)
			}
		}
		sh.mu.Unlock()
	}
}

// clearPart zeroes a range that lies in one chunk, if that is allocated.
func (s *Store) clearPart(off, end int64) {
	if off >= end {
		return
	}
	number, from := split(off)
	sh := s.shard(number)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if c := sh.chunks[number]; c != nil {
		clear(c[from : from+int(end-off)])
	}
}

// Grow implements backstore.Grower. A store without anything below it has the size it
// has.
func (s *Store) Grow(size int64, _ func(done, total int64) error) (int64, error) {
	for {
		now := s.size.Load()
		if err := s.stillOpen("grow", now); err != nil {
			return now, err
		}
		switch {
		case size == 0 || size == now:
			return now, nil
		case size < now:
			return now, &backstore.Error{Op: "grow", Offset: size, Length: now - size, Err: backstore.ErrRange}
		case s.size.CompareAndSwap(now, size):
			return size, nil
		}
	}
}

// ExtentAt implements backstore.Mapper. One call looks at no more than 256 MiB.
func (s *Store) ExtentAt(off, length int64) (backstore.Extent, error) {
	if err := s.check("map", off, length); err != nil {
		return backstore.Extent{}, err
	}
	const most = 4096 // chunks
	number, _ := split(off)
	first := number
	state := s.state(number)
	for number++; number*chunkSize < off+length && number < first+most && s.state(number) == state; number++ {
	}
	e := backstore.Extent{Offset: off, Length: min(number*chunkSize, off+length) - off, State: state}
	return e, s.stillOpen("map", off)
}

func (s *Store) state(number int64) backstore.ExtentState {
	sh := s.shard(number)
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	if sh.chunks[number] == nil {
		return backstore.Deallocated
	}
	return backstore.Mapped
}

// Close implements io.Closer: the memory is free afterwards.
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		return &backstore.Error{Op: "close", Err: backstore.ErrGone}
	}
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		clear(sh.chunks)
		sh.mu.Unlock()
	}
	return nil
}

// check refuses a range outside, and a closed store.
func (s *Store) check(op string, off, length int64) error {
	if size := s.size.Load(); off < 0 || length < 0 || off > size || length > size-off {
		return &backstore.Error{Op: op, Offset: off, Length: length, Err: backstore.ErrRange}
	}
	return s.stillOpen(op, off)
}

// stillOpen is asked again after the work: a call that lost a race with Close
// may have seen chunks that were already dropped.
func (s *Store) stillOpen(op string, off int64) error {
	if s.closed.Load() {
		return &backstore.Error{Op: op, Offset: off, Err: backstore.ErrGone}
	}
	return nil
}

// split gives the number of the chunk that holds byte off, and its index there.
func split(off int64) (number int64, from int) { return off / chunkSize, int(off % chunkSize) }

func (s *Store) shard(number int64) *shard { return &s.shards[number%shards] }

// take returns a chunk to write to, allocating it. The shard is locked.
func (sh *shard) take(number int64) *chunk {
	c := sh.chunks[number]
	if c == nil {
		c = new(chunk)
		sh.chunks[number] = c
	}
	return c
}
