package fault

import (
	"sync"
	"sync/atomic"

	"github.com/isantarget/isantarget/backstore"
)

// maxCached bounds what a cache remembers: bytes. Beyond it everything is made
// durable, as the cache of a disk writes back what it cannot hold.
const maxCached = 32 << 20

// A cache knows what each unit held when it was durable last, for those that were
// changed since. While it is off it costs one atomic load.
//
// Its lock is held over I/O: what a unit held and what is written to it must not
// come apart. It is the price of a fault, and paid only while one needs it.
type cache struct {
	store   *Store
	below   *backstore.Medium // reads whole or fails
	enabled atomic.Bool

	mu   sync.Mutex
	held map[int64][]byte // by offset of the unit
}

func (c *cache) init(s *Store) {
	c.store, c.below, c.held = s, backstore.Bind(s.below), map[int64][]byte{}
}

func (c *cache) on() bool { return c.enabled.Load() }

// follow turns the cache on or off. What was written before counts as durable, and
// so does all that is in it when it is turned off.
func (c *cache) follow(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !on {
		clear(c.held)
	}
	c.enabled.Store(on)
}

// change calls do, which changes a range, and remembers what was there; durable: do
// makes it durable.
func (c *cache) change(off, length int64, durable bool, do func() error) error {
	if !c.on() {
		return do()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	set := c.store.set.Load()
	if set != nil && set.cut.Load() {
		return failed("write", off, length, errOff)
	}
	if length > maxCached-int64(len(c.held))*c.store.unit {
		if err := c.store.below.Sync(); err != nil {
			return err
		}
		clear(c.held)
	}
	if length > maxCached {
		if err := do(); err != nil {
			return err
		}
		return c.store.below.Sync()
	}
	if err := c.note(off, length, set.keep()); err != nil {
		return err
	}
	if err := do(); err != nil || !durable {
		return err
	}
	return c.forget(off, length) // before the power can be cut
}

// note remembers what the units of a range hold. One that was changed before may
// have become durable meanwhile, by chance.
func (c *cache) note(off, length int64, keep float64) error {
	unit := c.store.unit
	size := c.store.below.Geometry().Size
	for at := off &^ (unit - 1); at < off+length; at += unit {
		if c.held[at] != nil && (keep == 0 || c.store.chance() >= keep) {
			continue
		}
		p := make([]byte, min(unit, size-at))
		if _, err := c.below.ReadAt(p, at); err != nil {
			return err
		}
		c.held[at] = p
	}
	return nil
}

// keep is the chance of a unit to survive a power cut.
func (f *faults) keep() float64 {
	if f == nil {
		return 0
	}
	for _, one := range f.list {
		if one.Kind == PowerCut {
			return one.Keep
		}
	}
	return 0
}

// forget drops the units of a range, which are on the disk. Of a unit that was written
// in part the rest has to follow.
func (c *cache) forget(off, length int64) error {
	unit := c.store.unit
	if (off|length)&(unit-1) != 0 {
		if err := c.store.below.Sync(); err != nil {
			return err
		}
		clear(c.held)
		return nil
	}
	for at := off; at < off+length; at += unit {
		delete(c.held, at)
	}
	return nil
}

// sync makes everything durable.
func (c *cache) sync() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if set := c.store.set.Load(); set != nil && set.cut.Load() {
		return failed("sync", 0, 0, errOff)
	}
	if err := c.store.below.Sync(); err != nil {
		return err
	}
	clear(c.held)
	return nil
}

// Cut cuts the power: each unit that was changed since it was durable last holds
// what it held then, but for those that survive by chance, keep of 1. Every call
// fails with backstore.ErrGone until Set is called. A store without a fault of kind
// PowerCut or LostSync has nothing that it could lose.
func (s *Store) Cut(keep float64) error {
	set := s.set.Load()
	if set == nil {
		set = &faults{replaced: make(chan struct{})}
		if !s.set.CompareAndSwap(nil, set) {
			return s.Cut(keep)
		}
	}
	return s.cut(set, keep)
}

func (s *Store) cut(set *faults, keep float64) error {
	c := &s.cache
	c.mu.Lock()
	defer c.mu.Unlock()
	if set.cut.Swap(true) {
		return nil
	}
	for at, p := range c.held {
		if keep > 0 && s.chance() < keep {
			continue
		}
		if _, err := s.below.WriteAt(p, at); err != nil {
			return err
		}
	}
	clear(c.held)
	return s.below.Sync()
}
