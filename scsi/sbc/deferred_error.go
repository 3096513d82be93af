package sbc

import (
	"sync"
	"sync/atomic"

	"github.com/isantarget/isantarget/backstore"
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

// loss is what a unit has to tell of writes that were acknowledged and may be lost:
// a sync of its medium has failed. Each I_T nexus hears of it once, as a deferred
// error, those that come later too: the write cache belongs to all of them.
type loss struct {
	sense scsi.Sense
	mu    sync.Mutex
	told  map[*scsi.Nexus]struct{}
}

// tell is the sense data for n, which has not heard of it; nil for one that has.
func (l *loss) tell(n *scsi.Nexus) *scsi.Sense {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.told[n]; ok {
		return nil
	}
	l.told[n] = struct{}{}
	return &l.sense
}

func (l *loss) forget(n *scsi.Nexus) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.told, n)
}

// Distrust has the unit be as after a sync that failed with err: it refuses to write
// and to sync, and tells every nexus, until the medium is trusted again ([Device.Trust])
// or another takes its place.
func (d *Device) Distrust(err error) {
	if m := d.medium.Load(); m != nil {
		m.Distrust(err)
		d.lost(m)
	}
}

// Trust ends that: see backstore.Medium.Trust.
func (d *Device) Trust() error {
	m := d.medium.Load()
	if m == nil {
		return nil
	}
	if err := m.Trust(); err != nil {
		return err
	}
	d.loss.Store(nil)
	d.gone.Store(nil)
	return nil
}

// lost notes, once, that what was written to m may be lost, and has it reported.
func (d *Device) lost(m *backstore.Medium) {
	err := m.Lost()
	if err == nil || d.medium.Load() != m {
		return
	}
	sense := scsi.Sense{Key: scsi.KeyMediumError, Code: scsi.ASCWriteError, Deferred: true}
	if backstore.Meaning(err) == backstore.ErrNoSpace {
		sense.Key, sense.Code = scsi.KeyDataProtect, scsi.ASCSpaceAllocationFailedWriteProtect
	}
	if d.loss.CompareAndSwap(nil, &loss{sense: sense, told: map[*scsi.Nexus]struct{}{}}) && d.report != nil {
		d.report(err)
	}
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
