package sbc

import (
	"sync/atomic"
	"time"

	"github.com/isantarget/isantarget/backstore"
)

// probePause is the least time between two attempts upon a medium that is gone.
const probePause = time.Second

// A probe watches a medium that has failed with backstore.ErrGone. Until it
// answers a read again, the unit is not ready. It is tried when somebody asks
// whether the unit is ready, never in the way of who asks.
type probe struct {
	medium  *backstore.Medium
	running atomic.Bool
	last    atomic.Int64 // when it was tried, in Unix nanoseconds
}

// lose notes that m is gone. If another medium has taken its place meanwhile
// there is nothing to note.
func (d *Device) lose(m *backstore.Medium) {
	if d.medium.Load() != m || d.gone.Load() != nil {
		return
	}
	p := &probe{medium: m}
	p.last.Store(time.Now().UnixNano())
	d.gone.CompareAndSwap(nil, p)
}

// stillGone tells whether m is gone and has not come back, and sees to it that
// this is found out.
func (d *Device) stillGone(m *backstore.Medium) bool {
	p := d.gone.Load()
	if p == nil || p.medium != m {
		return false
	}
	now := time.Now().UnixNano()
	if now-p.last.Load() >= int64(probePause) && p.running.CompareAndSwap(false, true) {
		p.last.Store(now)
		d.background.start(func() {
			defer p.running.Store(false)
			block := make([]byte, d.blockSize)
			if _, err := m.ReadAt(block, 0); err == nil {
				d.gone.CompareAndSwap(p, nil)
			}
		})
	}
	return true
}
