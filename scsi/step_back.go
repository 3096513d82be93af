package scsi

// A command that waits for Data-Out, or for memory that peers have who owe or take
// nothing, waits for what an initiator may never do. It
// keeps its place among the commands of its own nexus and gives it up before all others:
// they pass it, and those of its nexus that are dormant behind it. Nobody can tell the
// difference, for it has not touched the medium yet and its initiator has not been told
// that it ended: to the others it is a command that comes when its data do. When these
// are there it waits until nothing that passed it stands against it, and goes on.

// StepBack is called by a Delivery before it waits.
func (c *Command) StepBack() {
	s := &c.unit.tasks
	s.mu.Lock()
	start := s.stepBack(c)
	s.mu.Unlock()
	startAll(start)
}

// StepForward is called by a Delivery when the data, or the memory, are there, if it has
// called StepBack; it may wait. ErrAborted: task management was faster. ErrWouldBlock:
// what c was admitted under may have changed, and it is to be run again from the start,
// which has the data then. The Delivery passes the error on.
func (c *Command) StepForward() error {
	s := &c.unit.tasks
	s.mu.Lock()
	start, waits := s.stepForward(c)
	s.mu.Unlock()
	startAll(start)
	if waits {
		select {
		case <-c.returned:
		case <-c.Done():
		}
	}
	s.mu.Lock()
	switch {
	case c.returning(): // it is aborted
		s.noLongerDormant(c)
		c.state = enabled
	case waits && !c.hung: // who has enabled it is about to say so
		s.mu.Unlock()
		<-c.returned
		s.mu.Lock()
	}
	defer s.mu.Unlock()
	switch {
	case c.Aborted():
		return ErrAborted
	case c.anew || c.wholes != s.wholes || c.unit.reservations.Load().refuse(c.operation, c.Nexus, c.CDB) != nil:
		// What writes is checked for a conflict before it modifies the medium (SPC-4
		// 5.13.1): who was fenced off meanwhile writes nothing.
		c.anew = true
		return ErrWouldBlock
	}
	return nil
}

// returning tells whether c, which has been executed, waits until it may go on.
func (c *Command) returning() bool { return c.returned != nil && c.state == dormant }

// stepBack gives the chain of those that may start because c steps back. s.mu is held.
func (s *taskSet) stepBack(c *Command) (start *Command) {
	if c.state != enabled || c.hung || c.owes {
		return nil
	}
	c.owes, c.wholes = true, s.wholes
	s.owing++
	s.mixed = true
	return s.sweep()
}

// stepForward takes c back into the order. waits: it has to wait until c.returned is
// closed, which may be in start already. s.mu is held.
func (s *taskSet) stepForward(c *Command) (start *Command, waits bool) {
	if !c.owes {
		return nil, false
	}
	c.owes = false
	s.owing--
	if s.barriers == 0 && s.holds == 0 || c.hung {
		return nil, false
	}
	c.returned = make(chan struct{})
	c.state = dormant
	s.dormant++
	if c.passes() {
		s.dormantHeads++
	}
	return s.sweep(), true
}

// A standing is what a sweep has counted, of one nexus or of all, but for claims.
type standing struct {
	older, ordered   int // commands so far, by age
	heads            int // HEAD OF QUEUE commands
	running, barring int // enabled ones that owe nothing; those of them that are ORDERED
	owing            int
}

func (t *standing) run(c *Command) {
	if c.granted != nil {
		return
	}
	t.running++
	if c.Attribute == Ordered {
		t.barring++
	}
}

// A mixedSweep is a sweep of a set in which commands of some nexuses have passed those
// of others: what is enabled may be younger than what is dormant.
type mixedSweep struct {
	all      standing // of what holds up others than its own nexus
	of       map[*Nexus]*standing
	running  []*Command // enabled ones with an ordering class
	barriers *Command   // those with an ordering class so far, youngest first
}

// sweepMixed is sweep while the set is mixed.
func (s *taskSet) sweepMixed() (start *Command) {
	m := s.survey()
	last := &start
	for c := s.head; c != nil; c = c.next {
		t := m.of[c.Nexus]
		if c.state == dormant && s.mayStartMixed(c, m, t) {
			s.noLongerDormant(c)
			c.state = enabled
			if c.yields && c.Attribute == HeadOfQueue {
				m.all.heads++
			}
			c.yields = false
			*last, last = c, &c.start
			m.all.run(c)
			t.run(c)
			if c.order != Free {
				m.running = append(m.running, c)
			}
			if c.order == Alone {
				s.wholes++
				c.wholes++ // it is not passed by itself
			}
		}
		t.older++
		ordered := 0
		if c.Attribute == Ordered {
			ordered = 1
		}
		t.ordered += ordered
		if !c.yields {
			m.all.older++
			m.all.ordered += ordered
		}
		if c.order != Free {
			c.barrier, m.barriers = m.barriers, c
		}
		if s.dormant == 0 {
			break
		}
	}
	*last = nil
	return start
}

// survey counts what is in the set, and notes who yields to other nexuses: who owes
// data, and who is dormant behind such a one of its own nexus.
func (s *taskSet) survey() *mixedSweep {
	m := &mixedSweep{of: map[*Nexus]*standing{}}
	for c := s.head; c != nil; c = c.next {
		t := m.of[c.Nexus]
		if t == nil {
			t = &standing{}
			m.of[c.Nexus] = t
		}
		c.yields = c.owes || c.state == dormant && c.granted == nil && c.returned == nil && t.owing > 0
		if c.owes {
			t.owing++
		} else if c.state == enabled {
			m.all.run(c)
			t.run(c)
			if c.order != Free {
				m.running = append(m.running, c)
			}
		}
		if c.Attribute == HeadOfQueue {
			t.heads++
			if !c.yields {
				m.all.heads++
			}
		}
	}
	return m
}

// mayStartMixed is mayStart in a mixed set: what yields is no obstacle to other nexuses,
// and what has passed c is one.
func (s *taskSet) mayStartMixed(c *Command, m *mixedSweep, t *standing) bool {
	for _, x := range s.claims {
		if x != c && x.state == enabled && conflict(c, x) {
			return false
		}
	}
	if !c.passes() {
		if m.all.heads > 0 || t.heads > 0 {
			return false
		}
		if c.Attribute == Ordered {
			return m.all.older == 0 && t.older == 0 && m.all.running == t.running && (c.quiet == nil || len(s.hanging) == 0)
		}
		if m.all.ordered > 0 || t.ordered > 0 || m.all.barring > t.barring {
			return false
		}
	}
	if c.order == Free {
		for _, x := range m.running {
			if conflict(c, x) {
				return false
			}
		}
		if c.granted != nil {
			return !s.owedConflict(c)
		}
		for x := m.barriers; x != nil; x = x.barrier {
			if (c.Attribute != HeadOfQueue || x.Attribute == HeadOfQueue || x.state == enabled) && (x.Nexus == c.Nexus || !x.yields) && conflict(c, x) {
				return false
			}
		}
		return true
	}
	return !s.obstructed(c)
}

// owedConflict tells whether a claim meets a command of its own nexus that owes data.
func (s *taskSet) owedConflict(c *Command) bool {
	if s.owing == 0 {
		return false
	}
	for x := s.head; x != nil; x = x.next {
		if x.owes && x.Nexus == c.Nexus && conflict(c, x) {
			return true
		}
	}
	return false
}

// obstructed tells whether c, which has an ordering class, conflicts with what it may
// not pass.
func (s *taskSet) obstructed(c *Command) bool {
	older := true
	for x := s.head; x != nil; x = x.next {
		if x == c {
			older = false
			continue
		}
		waitsFor := x.state == enabled
		switch {
		case waitsFor || !older || c.granted != nil:
		case c.Attribute == HeadOfQueue:
			waitsFor = x.Attribute == HeadOfQueue
		default:
			waitsFor = true
		}
		if waitsFor && (x.Nexus == c.Nexus || !x.yields) && conflict(c, x) {
			return true
		}
	}
	return false
}
