package sbc

import (
	"sync"
	"sync/atomic"

	"github.com/isantarget/isantarget/scsi"
)

// deferredErrors are failures of commands that had already ended (SPC-4 4.5.7):
// with the IMMED bit the status comes before the work. Each is told once, by the
// next command of the same I_T nexus that needs the medium; that command ends
// with it and is not performed.
type deferredErrors struct {
	pending atomic.Bool // there is one, for some nexus
	mu      sync.Mutex
	byNexus map[*scsi.Nexus]*scsi.Sense
}

// add keeps err for n. A nexus that has one already keeps the older.
func (e *deferredErrors) add(n *scsi.Nexus, err *scsi.Sense) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.byNexus == nil {
		e.byNexus = make(map[*scsi.Nexus]*scsi.Sense)
	}
	if e.byNexus[n] == nil {
		deferred := *err
		deferred.Deferred = true
		e.byNexus[n] = &deferred
	}
	e.pending.Store(true)
}

// take is what waits for n, once; nil for nothing.
func (e *deferredErrors) take(n *scsi.Nexus) *scsi.Sense {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.byNexus[n]
	delete(e.byNexus, n)
	e.pending.Store(len(e.byNexus) > 0)
	return s
}

// forget drops what waits for n.
func (e *deferredErrors) forget(n *scsi.Nexus) {
	if e.pending.Load() {
		e.take(n)
	}
}
