package snapshot

import "sync"

// edgeLocks keep the writers of a block apart while one of them has to put bytes into
// it that are not its own: a write of a part of a block that the overlay does not hold
// yet brings the rest of the block with it. That one holds the regions of its range
// alone; all other writers share them. They are held over I/O, as nothing else here is:
// what is read of the snapshot must not be written over what somebody else wrote
// meanwhile. After the first write to a block nobody needs them alone any more.
type edgeLocks [edgeStripes]sync.RWMutex

const (
	edgeStripes = 64
	edgeShift   = 22 // a region is 4 MiB: the longest write of a command touches two
)

// each calls f with the locks of a range, always in one order; it ends early when f
// is false, and tells how many it was true for.
func (l *edgeLocks) each(off, length int64, f func(*sync.RWMutex) bool) (done int, all bool) {
	first, last := off>>edgeShift, (off+max(length, 1)-1)>>edgeShift
	if first == last {
		if !f(&l[first%edgeStripes]) {
			return 0, false
		}
		return 1, true
	}
	for i := range int64(edgeStripes) {
		if (i-first)&(edgeStripes-1) > last-first {
			continue
		}
		if !f(&l[i]) {
			return done, false
		}
		done++
	}
	return done, true
}

func lockAlone(m *sync.RWMutex) bool   { m.Lock(); return true }
func unlockAlone(m *sync.RWMutex) bool { m.Unlock(); return true }
func lockShared(m *sync.RWMutex) bool  { m.RLock(); return true }
func unlockShare(m *sync.RWMutex) bool { m.RUnlock(); return true }
func tryShared(m *sync.RWMutex) bool   { return m.TryRLock() }

// try shares the locks of a range if that needs no waiting.
func (l *edgeLocks) try(off, length int64) bool {
	done, all := l.each(off, length, tryShared)
	if all {
		return true
	}
	l.each(off, length, func(m *sync.RWMutex) bool {
		if done == 0 {
			return false
		}
		done--
		m.RUnlock()
		return true
	})
	return false
}
