package target

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"time"

	"github.com/isantarget/isantarget/iscsi"
	"github.com/isantarget/isantarget/scsi"
)

// remap gives the session the LUN map of the rule that admits it now.
func (s *Session) remap(rule *Rule) {
	s.mapping.Lock()
	defer s.mapping.Unlock()
	s.mu.Lock()
	s.rule, s.known = rule.Label, rule.knows(s)
	s.mu.Unlock()
	old, next := s.units.Load(), rule.Units
	if s.lost || old.Equal(next) {
		return
	}
	had, has := unitsOf(old), unitsOf(next)
	for lu := range has {
		if !had[lu] {
			lu.Attach(s.nexus) // before commands can find it
		}
	}
	s.units.Store(next)
	s.node.remember(s, next)
	tellInventory(s.nexus, old, next)
	s.sendInventoryChanged(next)
	s.log.WithField("event", "change").WithField("rule", rule.Label).Infof("the LUNs have changed: %d, before %d", len(has), len(had))
	var all sync.WaitGroup
	for lu := range had {
		if !has[lu] {
			all.Go(func() { s.withdraw(lu) })
		}
	}
	all.Wait()
}

func unitsOf(m *scsi.UnitMap) map[*scsi.LogicalUnit]bool {
	set := map[*scsi.LogicalUnit]bool{}
	m.Units(func(_ scsi.LUN, lu *scsi.LogicalUnit) { set[lu] = true })
	return set
}

// tellInventory establishes REPORTED LUNS DATA HAS CHANGED (SPC-4 6.33) for n on
// the logical units that stay. Those that come have POWER ON of their own.
func tellInventory(n *scsi.Nexus, old, next *scsi.UnitMap) {
	had := unitsOf(old)
	next.Units(func(_ scsi.LUN, lu *scsi.LogicalUnit) {
		if had[lu] {
			lu.Attention(scsi.ASCReportedLUNsDataHasChanged, n, nil)
		}
	})
}

// sendInventoryChanged tells of it over a connection as well (RFC 7143 11.9.1,
// event 0): open-iscsi looks for LUNs anew then.
func (s *Session) sendInventoryChanged(units *scsi.UnitMap) {
	c := s.spokesman()
	if c == nil {
		return // it has not scanned yet
	}
	p := iscsi.AsyncMessage{Event: iscsi.AsyncSCSI}
	if luns := units.LUNs(); len(luns) > 0 {
		p.LUN = uint64(luns[0])
	}
	sense := &scsi.Sense{Key: scsi.KeyUnitAttention, Code: scsi.ASCReportedLUNsDataHasChanged}
	data := sense.Append(make([]byte, 2), false)
	binary.BigEndian.PutUint16(data, uint16(len(data)-2))
	c.sendAsync(p, data)
}

// withdraw takes lu from the session, which does not find it in its map any more.
func (s *Session) withdraw(lu *scsi.LogicalUnit) {
	const step = time.Millisecond
	for deadline := time.Now().Add(s.entity.limits.HangBound); ; time.Sleep(step) {
		idle := lu.Unmap(s.nexus)
		if idle && !s.uses(lu) {
			return
		}
		if !idle || time.Now().After(deadline) {
			s.log.WithField("lun", lu.Identity.Name).Warn("a LUN was taken from the session, and commands to it still hang in its store")
			return
		}
		// A command has been routed by the old map and was not there yet: once more.
	}
}

// uses tells whether a command of the session is on its way to lu, or there.
func (s *Session) uses(lu *scsi.LogicalUnit) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	uses := false
	s.tasks.each(func(t *task) {
		if uses || !t.given.Load() || t.Units.Find(t.LUN) != lu {
			return
		}
		t.out.mu.Lock()
		uses = !t.out.ended
		t.out.mu.Unlock()
	})
	return uses
}

// evict ends a session that may not go on.
func (s *Session) evict(err error) {
	s.log.WithField("rule", s.ruleLabel()).Warnf("the session is ended: %v", err)
	s.terminate(err)
	if !s.await(s.entity.limits.HangBound) {
		s.log.Warn("the session has not ended yet: commands hang in a store, or its connection does")
	}
}

func (s *Session) ruleLabel() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rule
}

// peers are the addresses from which the initiator has come.
func (s *Session) peers() []netip.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	var from []netip.Addr
	for _, c := range s.connections {
		from = append(from, c.remote.Addr())
	}
	return from
}
