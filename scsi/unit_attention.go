package scsi

import (
	"cmp"
	"maps"
	"slices"
	"sync/atomic"
)

// maxAttentions bounds the unit attentions that wait for one nexus. There are
// fewer codes than that; a later one beyond it replaces the last.
const maxAttentions = 16

// attentions is what a logical unit keeps for a nexus (the I_T_L nexus of SAM-5
// 4.7.1): the unit attention conditions it has not been told of. The unit's mu
// guards it; any may be read without.
type attentions struct {
	attached bool
	any      atomic.Bool // pending is not empty
	// pending are the conditions in the order they will be told: the one that
	// says of a reset or a loss first, the others by age, each once.
	pending []SenseCode
}

// resetRank orders the conditions of which a nexus is told one only, for the
// greater event covers the lesser (SAM-5 6.2): power on, reset, nexus loss. It
// is zero for all others.
func resetRank(code SenseCode) int {
	switch code {
	case ASCPowerOnResetOrBusDeviceResetOccurred, ASCPowerOnOccurred:
		return 3
	case ASCBusDeviceResetFunctionOccurred:
		return 2
	case ASCITNexusLossOccurred:
		return 1
	}
	return 0
}

// establish adds a condition.
func (a *attentions) establish(code SenseCode) {
	rank := resetRank(code)
	if rank > 0 && len(a.pending) > 0 && resetRank(a.pending[0]) > 0 {
		if rank >= resetRank(a.pending[0]) {
			a.pending[0] = code
		}
		return
	}
	switch {
	case rank > 0:
		a.pending = slices.Insert(a.pending, 0, code)
	case slices.Contains(a.pending, code):
	case len(a.pending) >= maxAttentions:
		a.pending[len(a.pending)-1] = code
	default:
		a.pending = append(a.pending, code)
	}
}

// know finds what is kept for n, and begins to keep it. The map is replaced, not
// changed, so that commands find their nexus without the lock. lu.mu is held.
func (lu *LogicalUnit) know(n *Nexus) *attentions {
	known := *lu.nexuses.Load()
	if a := known[n]; a != nil {
		return a
	}
	more := maps.Clone(known)
	a := &attentions{}
	more[n] = a
	lu.nexuses.Store(&more)
	lu.meet(n)
	return a
}

// establish is attentions.establish, with the count of those who have any. lu.mu is held.
func (lu *LogicalUnit) establish(a *attentions, code SenseCode) {
	a.establish(code)
	if a.any.CompareAndSwap(false, true) {
		lu.attentive.Add(1)
	}
}

// Attach makes n known to the unit (at login): a nexus that was not known has the unit
// attention POWER ON, RESET, OR BUS DEVICE RESET OCCURRED (29/00: libiscsi's tools retry
// after that one, and fail after 29/01), one that was lost I_T NEXUS LOSS OCCURRED (29/07).
// Commands of n may come only while it is attached.
func (lu *LogicalUnit) Attach(n *Nexus) {
	if lu.absent {
		return
	}
	lu.mu.Lock()
	defer lu.mu.Unlock()
	_, known := (*lu.nexuses.Load())[n]
	a := lu.know(n)
	a.attached = true
	if !known {
		lu.establish(a, ASCPowerOnResetOrBusDeviceResetOccurred)
	}
}

// Attached are the nexuses that have a session, by the names of their initiators.
func (lu *LogicalUnit) Attached() []*Nexus {
	lu.mu.Lock()
	defer lu.mu.Unlock()
	var all []*Nexus
	for n, a := range *lu.nexuses.Load() {
		if a.attached {
			all = append(all, n)
		}
	}
	slices.SortFunc(all, func(a, b *Nexus) int { return cmp.Compare(a.Initiator.Name, b.Initiator.Name) })
	return all
}

// detach notes that n has no session. It is false if the unit does not know n.
func (lu *LogicalUnit) detach(n *Nexus) bool {
	lu.mu.Lock()
	defer lu.mu.Unlock()
	a := (*lu.nexuses.Load())[n]
	if a == nil {
		return false
	}
	a.attached = false
	return true
}

// Forget drops all that the unit keeps for n and could keep for ever: called when the
// port's table of nexuses is full. It refuses (false) while n holds something of worth:
// a session or a reservation.
func (lu *LogicalUnit) Forget(n *Nexus) bool {
	lu.mu.Lock()
	defer lu.mu.Unlock()
	a, known := (*lu.nexuses.Load())[n]
	switch {
	case !known:
		return true
	case a.attached || lu.ReservedBy() == n:
		return false
	}
	if _, registered := lu.reservations.Load().nexuses[n]; registered {
		return false
	}
	if len(a.pending) > 0 {
		lu.attentive.Add(-1)
	}
	fewer := maps.Clone(*lu.nexuses.Load())
	delete(fewer, n)
	lu.nexuses.Store(&fewer)
	return true
}

// Attention establishes a unit attention condition for n, or for every nexus the
// unit knows but except when n is nil (SAM-5 5.14).
func (lu *LogicalUnit) Attention(code SenseCode, n, except *Nexus) {
	if lu.absent {
		return
	}
	lu.mu.Lock()
	defer lu.mu.Unlock()
	if n != nil {
		lu.establish(lu.know(n), code)
		return
	}
	for x, a := range *lu.nexuses.Load() {
		if x != except {
			lu.establish(a, code)
		}
	}
}

// TakeAttention is the first unit attention condition pending for n, and clears
// it (UA_INTLCK_CTRL 00b); nil if there is none.
func (lu *LogicalUnit) TakeAttention(n *Nexus) *Sense {
	if lu.attentive.Load() == 0 {
		return nil
	}
	a := (*lu.nexuses.Load())[n]
	if a == nil || !a.any.Load() {
		return nil
	}
	lu.mu.Lock()
	defer lu.mu.Unlock()
	if len(a.pending) == 0 {
		return nil
	}
	code := a.pending[0]
	lu.drop(a, 0)
	return &Sense{Key: KeyUnitAttention, Code: code}
}

// TakeAttention is LogicalUnit.TakeAttention for the nexus of c. Who is told here
// that the inventory of logical units has changed need not hear it from the others
// (LUICLR, SPC-4 7.8.7).
func (c *Command) TakeAttention() *Sense {
	s := c.unit.TakeAttention(c.Nexus)
	if s != nil && s.Code == ASCReportedLUNsDataHasChanged {
		c.ClearInventoryAttention()
	}
	return s
}

// ClearInventoryAttention clears REPORTED LUNS DATA HAS CHANGED for the nexus of c
// on all of its logical units (SAM-5 5.14: what REPORT LUNS does).
func (c *Command) ClearInventoryAttention() {
	if c.Units == nil {
		return
	}
	c.Units.Units(func(_ LUN, lu *LogicalUnit) { lu.ClearAttention(ASCReportedLUNsDataHasChanged, c.Nexus) })
}

// ClearAttention clears the unit attention condition code for n if it is
// pending, untold.
func (lu *LogicalUnit) ClearAttention(code SenseCode, n *Nexus) {
	lu.mu.Lock()
	defer lu.mu.Unlock()
	if a := (*lu.nexuses.Load())[n]; a != nil {
		if i := slices.Index(a.pending, code); i >= 0 {
			lu.drop(a, i)
		}
	}
}

// PendingAttention is the unit attention condition that n would be told next,
// which stays pending, and how many there are (QUERY ASYNCHRONOUS EVENT, SAM-5 7.10).
func (lu *LogicalUnit) PendingAttention(n *Nexus) (code SenseCode, depth int) {
	lu.mu.Lock()
	defer lu.mu.Unlock()
	if a := (*lu.nexuses.Load())[n]; a != nil && len(a.pending) > 0 {
		return a.pending[0], len(a.pending)
	}
	return 0, 0
}

// drop removes condition i of a. lu.mu is held.
func (lu *LogicalUnit) drop(a *attentions, i int) {
	a.pending = slices.Delete(a.pending, i, i+1)
	if len(a.pending) == 0 {
		a.any.Store(false)
		lu.attentive.Add(-1)
	}
}
