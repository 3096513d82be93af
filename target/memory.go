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
	used   atomic.Int64
	queued atomic.Int32

	mu      sync.Mutex
	waiters []*memoryWaiter
}

type memoryWaiter struct {
	bytes int64
	ready chan struct{} // closed when the bytes are booked
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

// take books n bytes, waiting until they are free or cancel is closed; it
// tells whether they are booked. More than the limit is never granted.
func (m *memory) take(n int64, cancel <-chan struct{}) bool {
	if m.tryTake(n) {
		return true
	}
	if n > m.limit || !m.wait(n, cancel) {
		return false
	}
	if m.parent != nil && !m.parent.take(n, cancel) {
		m.unbook(n)
		return false
	}
	return true
}

// give returns n bytes.
func (m *memory) give(n int64) {
	if m.parent != nil {
		m.parent.give(n)
	}
	m.unbook(n)
}

func (m *memory) book(n int64) bool {
	if m.used.Add(n) <= m.limit {
		return true
	}
	m.unbook(n)
	return false
}

func (m *memory) unbook(n int64) {
	m.used.Add(-n)
	if m.queued.Load() != 0 {
		m.grant()
	}
}

// wait queues for n bytes of this account alone.
func (m *memory) wait(n int64, cancel <-chan struct{}) bool {
	w := &memoryWaiter{bytes: n, ready: make(chan struct{})}
	m.mu.Lock()
	m.waiters = append(m.waiters, w)
	m.queued.Add(1)
	m.mu.Unlock()
	m.grant() // what was given back before we stood in the queue woke nobody
	select {
	case <-w.ready:
		return true
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
		m.unbook(n)
	}
	return false
}

func (m *memory) grant() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.grantLocked()
}

func (m *memory) grantLocked() {
	for len(m.waiters) > 0 {
		w := m.waiters[0]
		if m.used.Add(w.bytes) > m.limit {
			m.used.Add(-w.bytes)
			return
		}
		m.waiters[0] = nil
		m.waiters = m.waiters[1:]
		m.queued.Add(-1)
		close(w.ready)
	}
}
