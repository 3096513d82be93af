package target

import (
	"slices"
	"sync"
	"sync/atomic"
)

// A memory is an account of buffer bytes with a bound. Those who may wait are
// served in the order they came, so that a large request is not starved by
// small ones. An account may stand under another, which must grant the same
// bytes: a session's account bounds one peer, the entity's bounds all.
type memory struct {
	limit  int64
	parent *memory
	own    *memory // where those who wait here are served too, if they fit; nil: nowhere
	used   atomic.Int64
	queued atomic.Int32
	lends  []*memory // whose waiters are served from here, see own

	mu      sync.Mutex
	waiters []*memoryWaiter
}

type memoryWaiter struct {
	bytes int64
	own   *memory       // memory.own of the account that it waits for in the end
	by    *memory       // on whom the bytes are booked
	ready chan struct{} // closed when they are
}

// tryTake books n bytes if they are free now and nobody waits for them.
func (m *memory) tryTake(n int64) bool {
	if m.queued.Load() != 0 || !m.book(n) {
		return false
	}
	if m.parent != nil && !m.parent.tryTake(n) {
		m.unbook(n)
		return false
	}
	return true
}

// take books n bytes, waiting until they are free or cancel is closed, and gives the
// account that they are booked on: m, or its own; nil: they are not booked. More than
// the limit is never granted.
func (m *memory) take(n int64, cancel <-chan struct{}) *memory {
	if m.tryTake(n) {
		return m
	}
	if m.own != nil && m.own.tryTake(n) {
		return m.own
	}
	if n > m.limit {
		return nil
	}
	if by := m.wait(n, m.own, cancel); by != m {
		return by
	}
	if m.parent == nil || m.parent.tryTake(n) {
		return m
	}
	by := m.parent.wait(n, m.own, cancel)
	if by == m.parent {
		return m
	}
	m.unbook(n)
	return by
}

// give returns n bytes.
func (m *memory) give(n int64) {
	if m.parent != nil {
		m.parent.give(n)
	}
	m.unbook(n)
}

func (m *memory) book(n int64) bool {
	for {
		used := m.used.Load()
		if used+n > m.limit {
			return false
		}
		if m.used.CompareAndSwap(used, used+n) {
			return true
		}
	}
}

func (m *memory) unbook(n int64) {
	m.used.Add(-n)
	if m.queued.Load() != 0 {
		m.grant()
	}
	for _, o := range m.lends {
		o.lend(m)
	}
}

// wait queues for n bytes of this account alone, or of own, and gives the account that
// they are booked on; nil: cancel was closed.
func (m *memory) wait(n int64, own *memory, cancel <-chan struct{}) *memory {
	w := &memoryWaiter{bytes: n, own: own, ready: make(chan struct{})}
	m.mu.Lock()
	m.waiters = append(m.waiters, w)
	m.queued.Add(1)
	m.mu.Unlock()
	m.grant() // what was given back before we stood in the queue woke nobody
	m.lend(own)
	select {
	case <-w.ready:
		return w.by
	case <-cancel:
	}
	m.mu.Lock()
	i := slices.Index(m.waiters, w)
	if i >= 0 {
		m.waiters = slices.Delete(m.waiters, i, i+1)
		m.queued.Add(-1)
	}
	m.grantLocked()
	m.mu.Unlock()
	if i < 0 { // granted in the same moment
		w.by.unbook(n)
	}
	return nil
}

// lend serves those who wait here from own, which is theirs.
func (m *memory) lend(own *memory) {
	if own == nil || m.queued.Load() == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.waiters = slices.DeleteFunc(m.waiters, func(w *memoryWaiter) bool {
		if w.own != own || !own.book(w.bytes) {
			return false
		}
		m.served(w, own)
		return true
	})
	m.grantLocked()
}

// served tells w, which is out of the queue, that its bytes are booked on by.
func (m *memory) served(w *memoryWaiter, by *memory) {
	m.queued.Add(-1)
	w.by = by
	close(w.ready)
}

func (m *memory) grant() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.grantLocked()
}

func (m *memory) grantLocked() {
	for len(m.waiters) > 0 {
		w := m.waiters[0]
		if !m.book(w.bytes) {
			return
		}
		m.waiters[0] = nil
		m.waiters = m.waiters[1:]
		m.served(w, m)
	}
}

// A purse is the memory that a session may use: its shares of what all sessions have
// together, and something of its own, which nobody else can use up: whatever others
// hold on to, what fits into it goes on.
type purse struct {
	asked   memory // for data that we ask for or send
	unasked memory // for data that the initiator sends unasked
	own     memory // for either, when there is nothing else
}

// divide gives three eighths of Limits.Memory to data that we ask for or send, as much
// to data that initiators send unasked, and keeps a quarter for the sessions' own.
func (e *Entity) divide() {
	e.memory.limit = e.limits.Memory / 8 * 3
	e.burstMemory.limit = e.memory.limit
}

// open makes the purse that of a session of e. A share is never less than what one
// command may need.
func (p *purse) open(e *Entity) {
	p.asked.limit, p.asked.parent, p.asked.own = max(e.memory.limit/4, MaxTransfer), &e.memory, &p.own
	p.unasked.limit, p.unasked.parent = max(e.burstMemory.limit/4, MaxTransfer), &e.burstMemory
	p.own.limit = e.limits.Memory / 4 / int64(e.limits.Connections)
	p.own.lends = []*memory{&p.asked, &e.memory}
}

// tryTake books n bytes of data that we ask for or send, and tells on whom; nil: there
// are none at once.
func (p *purse) tryTake(n int64) *memory { return p.first(&p.asked, n) }

// tryTakeUnasked is tryTake for data that the initiator sends unasked.
func (p *purse) tryTakeUnasked(n int64) *memory { return p.first(&p.unasked, n) }

func (p *purse) first(m *memory, n int64) *memory {
	if m.tryTake(n) {
		return m
	}
	if p.own.tryTake(n) {
		return &p.own
	}
	return nil
}

// take is tryTake that waits until there are some, or cancel is closed.
func (p *purse) take(n int64, cancel <-chan struct{}) *memory { return p.asked.take(n, cancel) }
