package storetest

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/backstore/memory"
)

// An honest store, to be embedded by stores that each tell one lie.
type honest struct{ *memory.Store }

func newHonest() honest {
	s, err := memory.New(2 * MinSize)
	if err != nil {
		panic(err)
	}
	return honest{s}
}

// lies are stores with one fault each, and the check that must find it. Others
// may find it too.
func lies() []struct {
	name, check string
	store       func() backstore.Store
} {
	type lie = struct {
		name, check string
		store       func() backstore.Store
	}
	return []lie{
		{"unmaps nothing", "Unmap", func() backstore.Store { return unmapsNothing{newHonest()} }},
		{"unmaps its neighbour too", "Unmap", func() backstore.Store { return unmapsTooMuch{newHonest()} }},
		{"zeros, but keeps the space", "Unmap", func() backstore.Store { return keepsSpace{newHonest()} }},
		{"thin without UnmapAt", "Geometry", func() backstore.Store { return thinByName{newHonest()} }},
		{"zeroes nothing", "Zero", func() backstore.Store { return zeroesNothing{newHonest()} }},
		{"gives the space of zeros back unasked", "Zero", func() backstore.Store { return alwaysUnmaps{newHonest()} }},
		{"stores half of a write", "ReadAfterWrite", func() backstore.Store { return halfWrites{newHonest()} }},
		{"aligns offsets down", "ReadAfterWrite", func() backstore.Store { return alignsDown{newHonest()} }},
		{"reads zeros after the end", "Outside", func() backstore.Store { return endless{newHonest()} }},
		{"changes the buffer of a write", "Buffers", func() backstore.Store { return encryptsInPlace{newHonest()} }},
		{"keeps the buffer of a write", "Buffers", func() backstore.Store { return &keepsBuffer{honest: newHonest()} }},
		{"says that all is mapped", "Unmap", func() backstore.Store { return allMapped{newHonest()} }},
		{"says that nothing is mapped", "Extents", func() backstore.Store { return noneMapped{newHonest()} }},
		{"gives empty extents", "Extents", func() backstore.Store { return emptyExtents{newHonest()} }},
		{"gives extents that reach too far", "Extents", func() backstore.Store { return longExtents{newHonest()} }},
		{"answers a try from an old cache", "TryRead", func() backstore.Store { return staleTry{newHonest()} }},
		{"can try, and never does", "TryRead", func() backstore.Store { return neverTries{newHonest()} }},
		{"tries in part", "TryRead", func() backstore.Store { return triesHalf{newHonest()} }},
		{"tries all of a batch at the place of its first", "TryReadBatch", func() backstore.Store { return onePlace{newHonest()} }},
		{"takes a try and drops it", "TryWrite", func() backstore.Store { return dropsTry{newHonest()} }},
		{"writes through to nowhere", "WriteThrough", func() backstore.Store { return throughNothing{newHonest()} }},
		{"copies forwards over itself", "Copy", func() backstore.Store { return copiesForwards{newHonest()} }},
		{"writes what does not compare", "CompareAndWrite", func() backstore.Store { return writesAnyway{newHonest()} }},
		{"grows by its word", "Grow", func() backstore.Store { return growsByWord{newHonest()} }},
		{"grows smaller", "Grow", func() backstore.Store { return shrinks{newHonest()} }},
		{"fails to sync when others do", "Sync", func() backstore.Store { return &oneSync{honest: newHonest()} }},
		{"reads, merges and writes back whole sectors", "Neighbours", func() backstore.Store { return merges{newHonest()} }},
		{"forgets which write was the last", "Model", func() backstore.Store { return &reorders{honest: newHonest()} }},
		{"answers after Close", "Close", func() backstore.Store { return undead{newHonest()} }},
		{"reads zeros when it is closed meanwhile", "CloseUnderLoad", func() backstore.Store { return zerosAtLast{newHonest()} }},
		{"allocates", "Allocations", func() backstore.Store { return &allocates{honest: newHonest()} }},
	}
}

func TestChecks_FindEachLie(t *testing.T) {
	for _, lie := range lies() {
		t.Run(lie.name, func(t *testing.T) {
			subject := Subject{Open: func() (backstore.Store, error) { return lie.store(), nil }}
			for _, check := range Checks() {
				if check.Name != lie.check {
					continue
				}
				err := check.Run(subject)
				if err == nil {
					t.Fatalf("the check %s believes it", check.Name)
				}
				t.Log(err)
				return
			}
			t.Fatalf("there is no check %s", lie.check)
		})
	}
}

// A store that keeps what it promises passes, so that what the checks find in the
// others is the lie.
func TestChecks_BelieveAnHonestStore(t *testing.T) {
	Run(t, func(t *testing.T) backstore.Store { return newHonest() })
}

// Every check but those named here has a lie that it must find.
func TestChecks_EachHasALie(t *testing.T) {
	covered := map[string]bool{"Persistence": true} // TestPersistence_FindsWhatWasLost
	for _, lie := range lies() {
		covered[lie.check] = true
	}
	for _, check := range Checks() {
		if !covered[check.Name] {
			t.Errorf("no store that lies to the check %s", check.Name)
		}
	}
}

// A store whose Close loses what was synced.
func TestPersistence_FindsWhatWasLost(t *testing.T) {
	subject := Subject{
		Open:   func() (backstore.Store, error) { return newHonest(), nil },
		Reopen: func(backstore.Store) (backstore.Store, error) { return newHonest(), nil },
	}
	if err := checkPersistence(subject); err == nil {
		t.Error("the check Persistence believes a store that lost everything")
	}
	kept := newHonest()
	subject = Subject{
		Open:   func() (backstore.Store, error) { return staysOpen{kept}, nil },
		Reopen: func(backstore.Store) (backstore.Store, error) { return kept, nil },
	}
	if err := checkPersistence(subject); err != nil {
		t.Errorf("the check Persistence does not believe a store that lost nothing: %v", err)
	}
}

type staysOpen struct{ honest }

func (staysOpen) Close() error { return nil }

type unmapsNothing struct{ honest }

func (s unmapsNothing) UnmapAt(off, length int64) error { return nil }

type unmapsTooMuch struct{ honest }

func (s unmapsTooMuch) UnmapAt(off, length int64) error {
	if off+length < s.Geometry().Size {
		length++
	}
	return s.Store.UnmapAt(off, length)
}

type keepsSpace struct{ honest }

func (s keepsSpace) UnmapAt(off, length int64) error { return s.ZeroAt(off, length, false) }

type thinByName struct{ honest }

func (s thinByName) Features() backstore.Features { return s.Store.Features() &^ backstore.CanUnmap }

type zeroesNothing struct{ honest }

func (s zeroesNothing) ZeroAt(off, length int64, unmap bool) error { return nil }

type alwaysUnmaps struct{ honest }

func (s alwaysUnmaps) ZeroAt(off, length int64, unmap bool) error {
	return s.Store.ZeroAt(off, length, true)
}

type halfWrites struct{ honest }

func (s halfWrites) WriteAt(p []byte, off int64) (int, error) {
	_, err := s.Store.WriteAt(p[:len(p)/2], off)
	return len(p), err
}

type alignsDown struct{ honest }

func (s alignsDown) WriteAt(p []byte, off int64) (int, error) { return s.Store.WriteAt(p, off&^511) }

type endless struct{ honest }

func (s endless) ReadAt(p []byte, off int64) (int, error) {
	n, err := s.Store.ReadAt(p, off)
	if errors.Is(err, backstore.ErrRange) {
		clear(p)
		return len(p), nil
	}
	return n, err
}

type encryptsInPlace struct{ honest }

func (s encryptsInPlace) WriteAt(p []byte, off int64) (int, error) {
	n, err := s.Store.WriteAt(p, off)
	for i := range p {
		p[i] ^= 0x55
	}
	return n, err
}

// keepsBuffer writes each buffer when the next call comes.
type keepsBuffer struct {
	honest
	p   []byte
	off int64
}

func (s *keepsBuffer) flush() {
	if s.p != nil {
		_, _ = s.Store.WriteAt(s.p, s.off)
		s.p = nil
	}
}

func (s *keepsBuffer) WriteAt(p []byte, off int64) (int, error) {
	s.flush()
	s.p, s.off = p, off
	return len(p), nil
}

func (s *keepsBuffer) ReadAt(p []byte, off int64) (int, error) {
	s.flush()
	return s.Store.ReadAt(p, off)
}

type allMapped struct{ honest }

func (s allMapped) ExtentAt(off, length int64) (backstore.Extent, error) {
	return backstore.Extent{Offset: off, Length: length, State: backstore.Mapped}, nil
}

type noneMapped struct{ honest }

func (s noneMapped) ExtentAt(off, length int64) (backstore.Extent, error) {
	return backstore.Extent{Offset: off, Length: length, State: backstore.Deallocated}, nil
}

type emptyExtents struct{ honest }

func (s emptyExtents) ExtentAt(off, length int64) (backstore.Extent, error) {
	return backstore.Extent{Offset: off}, nil
}

type longExtents struct{ honest }

func (s longExtents) ExtentAt(off, length int64) (backstore.Extent, error) {
	e, err := s.Store.ExtentAt(off, length)
	e.Length++
	return e, err
}

type staleTry struct{ honest }

func (s staleTry) TryReadAt(p []byte, off int64) (int, error) {
	clear(p)
	return len(p), nil
}

type neverTries struct{ honest }

func (s neverTries) TryReadAt(p []byte, off int64) (int, error) { return 0, backstore.ErrWouldBlock }

type triesHalf struct{ honest }

func (s triesHalf) TryReadAt(p []byte, off int64) (int, error) {
	n, err := s.ReadAt(p[:len(p)/2], off)
	if err == nil && len(p) > 1 {
		return len(p), nil
	}
	return n, err
}

type onePlace struct{ honest }

func (s onePlace) Features() backstore.Features { return s.honest.Features() | backstore.CanReadBatch }

func (s onePlace) TryReadBatch(reads []backstore.Read) {
	for i := range reads {
		_, reads[i].Err = s.TryReadAt(reads[i].Data, reads[0].Offset)
	}
}

type dropsTry struct{ honest }

func (s dropsTry) TryWriteAt(p []byte, off int64) (int, error) { return len(p), nil }

type throughNothing struct{ honest }

func (s throughNothing) Features() backstore.Features {
	return s.Store.Features() | backstore.CanWriteThrough
}

func (s throughNothing) WriteThroughAt(p []byte, off int64) (int, error) { return len(p), nil }

type copiesForwards struct{ honest }

func (s copiesForwards) Features() backstore.Features { return s.Store.Features() | backstore.CanCopy }

func (s copiesForwards) CopyAt(off int64, from backstore.Store, fromOff, length int64) error {
	p := make([]byte, 512)
	for done := int64(0); done < length; done += 512 {
		q := p[:min(512, length-done)]
		if _, err := from.ReadAt(q, fromOff+done); err != nil {
			return err
		}
		if _, err := s.WriteAt(q, off+done); err != nil {
			return err
		}
	}
	return nil
}

type writesAnyway struct{ honest }

func (s writesAnyway) Features() backstore.Features { return s.Store.Features() | backstore.CanCompare }

func (s writesAnyway) CompareAndWriteAt(old, new []byte, off int64) (int, error) {
	held := make([]byte, len(old))
	if _, err := s.ReadAt(held, off); err != nil {
		return 0, err
	}
	_, err := s.WriteAt(new, off)
	for i := range held {
		if held[i] != old[i] {
			return i, err
		}
	}
	return -1, err
}

type oneSync struct {
	honest
	mu sync.Mutex
	n  int
}

func (s *oneSync) Sync() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n++; s.n%7 == 0 {
		return errors.New("busy")
	}
	return nil
}

// merges is what a careless layer of encryption does.
type merges struct{ honest }

func (s merges) WriteAt(p []byte, off int64) (int, error) {
	start := off &^ 4095
	end := min((off+int64(len(p))+4095)&^4095, s.Geometry().Size)
	if off < 0 || end < off+int64(len(p)) {
		return s.Store.WriteAt(p, off)
	}
	whole := make([]byte, end-start)
	if _, err := s.ReadAt(whole, start); err != nil {
		return 0, err
	}
	copy(whole[off-start:], p)
	time.Sleep(20 * time.Microsecond) // as a disk would: the others come in between
	if _, err := s.Store.WriteAt(whole, start); err != nil {
		return 0, err
	}
	return len(p), nil
}

// reorders lets now and then an older write win, as a careless cache does.
type reorders struct {
	honest
	n   int
	old []byte
	off int64
}

func (s *reorders) WriteAt(p []byte, off int64) (int, error) {
	n, err := s.Store.WriteAt(p, off)
	if s.n++; s.n%5 == 0 && s.old != nil {
		_, _ = s.Store.WriteAt(s.old, s.off)
	}
	s.old, s.off = append([]byte(nil), p...), off
	return n, err
}

type undead struct{ honest }

func (s undead) ReadAt(p []byte, off int64) (int, error) {
	if n, err := s.Store.ReadAt(p, off); err == nil {
		return n, nil
	}
	return len(p), nil
}

type zerosAtLast struct{ honest }

func (s zerosAtLast) ReadAt(p []byte, off int64) (int, error) {
	n, err := s.Store.ReadAt(p, off)
	if errors.Is(err, backstore.ErrGone) {
		clear(p)
		return len(p), nil
	}
	return n, err
}

type allocates struct {
	honest
	last []byte
}

func (s *allocates) ReadAt(p []byte, off int64) (int, error) {
	s.last = make([]byte, len(p))
	n, err := s.Store.ReadAt(s.last, off)
	copy(p, s.last)
	return n, err
}

type growsByWord struct{ honest }

func (g growsByWord) Grow(size int64, _ func(done, total int64) error) (int64, error) {
	return max(size, g.Geometry().Size), nil
}

type shrinks struct{ honest }

func (s shrinks) Grow(size int64, _ func(done, total int64) error) (int64, error) {
	return s.Store.Grow(size-4096, nil)
}
