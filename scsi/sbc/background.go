package sbc

import (
	"sync"
	"sync/atomic"

	"github.com/isantarget/isantarget/scsi"
)

// background is the work that goes on after its command has ended: what IMMED
// asks for. It is bounded: one flush, one prefetch and one format run at a time.
type background struct {
	tasks  sync.WaitGroup
	closed atomic.Bool // long work ends early

	mu          sync.Mutex
	flushing    bool
	waiting     map[*scsi.Nexus]struct{} // whose flush begins when the present one ends
	prefetching bool
}

// start runs work on a goroutine that wait waits for.
func (b *background) start(work func()) {
	b.tasks.Add(1)
	go func() {
		defer b.tasks.Done()
		work()
	}()
}

// wait returns when nothing runs in the background any more.
func (b *background) wait() { b.tasks.Wait() }

// Settle waits until nothing goes on in the background, so that the medium can be taken
// away (Swap). The caller has quiesced the unit: else there is always more.
func (d *Device) Settle() { d.background.wait() }

// flush makes durable all that was written before, and keeps a failure for n as a
// deferred error. Flushes that are asked for while one runs become one.
func (d *Device) flush(n *scsi.Nexus) {
	b := &d.background
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.waiting == nil {
		b.waiting = make(map[*scsi.Nexus]struct{})
	}
	b.waiting[n] = struct{}{}
	if b.flushing {
		return
	}
	b.flushing = true
	b.start(d.flushWaiting)
}

// flushWaiting flushes until nobody waits.
func (d *Device) flushWaiting() {
	b := &d.background
	for {
		b.mu.Lock()
		asked := b.waiting
		b.waiting = nil
		if len(asked) == 0 {
			b.flushing = false
			b.mu.Unlock()
			return
		}
		b.mu.Unlock()
		m := d.medium.Load()
		if m == nil {
			continue
		}
		err := d.writeError(m, m.Sync(), 0)
		if s, ok := err.(*scsi.Sense); ok {
			for n := range asked {
				d.deferred.add(n, s)
				if l := d.loss.Load(); l != nil {
					l.tell(n) // it hears of it so, and once
				}
			}
		}
	}
}
