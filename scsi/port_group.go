package scsi

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A PortGroup is a target port group of a logical unit (SPC-4 5.15.2.1): target
// ports that are always in the same asymmetric access state.
type PortGroup struct {
	ID        uint16 // TARGET PORT GROUP: one of the unit's groups has it
	Ports     []*TargetPort
	State     AccessState
	Preferred bool // PREF: the initiator should prefer it
	Altered   AccessChange
}

// AccessChange is what altered the state of a group last: the STATUS CODE field
// (SPC-4 6.37).
type AccessChange uint8

// What altered the state.
const (
	NotAltered AccessChange = iota
	ByInitiator
	ByTarget
)

// holds tells whether p is a port of the group.
func (g *PortGroup) holds(p *TargetPort) bool {
	return p != nil && slices.ContainsFunc(g.Ports, func(x *TargetPort) bool { return x.RelativeID == p.RelativeID })
}

// SetPortGroups says through which target ports the unit is reached, in which
// groups, and in which states they are. Where groups were known before and are
// others now, initiators hear of it (ASYMMETRIC ACCESS STATE CHANGED). A group or
// a port that is there twice is an error, and changes nothing.
func (lu *LogicalUnit) SetPortGroups(groups []PortGroup) error {
	ids, ports := map[uint16]bool{}, map[uint16]bool{}
	next := make([]PortGroup, 0, len(groups))
	for _, g := range groups {
		if ids[g.ID] || !g.State.valid() {
			return fmt.Errorf("scsi: target port group %d is there twice, or its state (%v) is none", g.ID, g.State)
		}
		ids[g.ID] = true
		g.Ports = slices.Clone(g.Ports)
		for _, p := range g.Ports {
			if ports[p.RelativeID] {
				return fmt.Errorf("scsi: relative target port identifier %d of %v is there twice", p.RelativeID, p)
			}
			ports[p.RelativeID] = true
		}
		next = append(next, g)
	}
	slices.SortFunc(next, func(a, b PortGroup) int { return int(a.ID) - int(b.ID) })
	lu.mu.Lock()
	if lu.transition {
		lu.mu.Unlock()
		return errTransition
	}
	before := lu.PortGroups()
	lu.publish(next)
	lu.mu.Unlock()
	if len(before) > 0 && !slices.EqualFunc(before, next, sameGroup) {
		lu.Attention(ASCAsymmetricAccessStateChanged, nil, nil)
	}
	return nil
}

func sameGroup(a, b PortGroup) bool {
	return a.ID == b.ID && a.State == b.State && a.Preferred == b.Preferred &&
		slices.EqualFunc(a.Ports, b.Ports, func(x, y *TargetPort) bool { return x.RelativeID == y.RelativeID })
}

// PortGroups are the target port groups as they are now, ascending. The caller must
// not change them.
func (lu *LogicalUnit) PortGroups() []PortGroup {
	if g := lu.groups.Load(); g != nil {
		return *g
	}
	return nil
}

// PortGroup is the group of p; nil if the unit knows none.
func (lu *LogicalUnit) PortGroup(p *TargetPort) *PortGroup {
	groups := lu.PortGroups()
	for i := range groups {
		if groups[i].holds(p) {
			return &groups[i]
		}
	}
	return nil
}

// AccessState is the state of the port that n came through.
func (lu *LogicalUnit) AccessState(n *Nexus) AccessState {
	if !lu.restricted.Load() || n == nil {
		return ActiveOptimized
	}
	if g := lu.PortGroup(n.TargetPort); g != nil {
		return g.State
	}
	return ActiveOptimized
}

// Inaccessible is nil, or why the port of n lets through no command that needs the
// medium.
func (lu *LogicalUnit) Inaccessible(n *Nexus) *Sense {
	if s := lu.AccessState(n); !s.active() {
		return s.sense()
	}
	return nil
}

// publish replaces the groups whole. lu.mu is held.
func (lu *LogicalUnit) publish(groups []PortGroup) {
	lu.groups.Store(&groups)
	lu.restricted.Store(slices.ContainsFunc(groups, func(g PortGroup) bool { return g.State != ActiveOptimized }))
}

// A GroupState is a state that a target port group is to have.
type GroupState struct {
	Group uint16
	State AccessState
}

// ErrNoPortGroup: the unit has no such target port group.
var ErrNoPortGroup = errors.New("scsi: no such target port group")

// errTransition: another change is under way.
var errTransition = errors.New("scsi: another change of access states is under way; try again")

// SetAccessState brings a target port group into a state by the target's own will
// (implicit, SPC-4 5.15.2.2): every nexus hears ASYMMETRIC ACCESS STATE CHANGED.
//
// A group that leaves the active states is transitioning until no command that came
// through it can touch the medium any more. If that takes longer than HangBound the
// change has failed: the group is unavailable then, every nexus hears IMPLICIT
// ASYMMETRIC ACCESS STATE TRANSITION FAILED, and the error names what hangs.
func (lu *LogicalUnit) SetAccessState(group uint16, state AccessState) error {
	if !state.valid() {
		return fmt.Errorf("scsi: %v is none that a target port group could have", state)
	}
	failed, err := lu.change([]GroupState{{group, state}}, ByTarget, func() bool { return false }, nil)
	if err == nil && len(failed) > 0 {
		err = fmt.Errorf("scsi: target port group %d is unavailable instead of %v, for commands hang in the store: %s", group, state, strings.Join(failed, ", "))
	}
	return err
}

// SetAccessStates is what SET TARGET PORT GROUPS (SPC-4 6.45) does for its command
// c: all of the states are changed, or none if a group is not there (ErrNoPortGroup).
// Every nexus but its own hears of it. What SetAccessState says of groups that leave
// the active states holds here too; failing is HARDWARE ERROR, SET TARGET PORT
// GROUPS COMMAND FAILED.
func (lu *LogicalUnit) SetAccessStates(c *Command, states []GroupState) error {
	failed, err := lu.change(states, ByInitiator, c.Aborted, c.Nexus)
	switch {
	case err == errTransition:
		return NotReady(ASCLogicalUnitNotAccessibleAsymmetricAccessStateTransition)
	case err == nil && len(failed) > 0:
		lu.report(fmt.Errorf("target port groups are unavailable instead of what an initiator asked for: hanging in the store: %s", strings.Join(failed, ", ")))
		return HardwareError(ASCSetTargetPortGroupsCommandFailed)
	}
	return err
}

// change makes a transition (SPC-4 5.15.2.5). except hears nothing of it. failed are
// the commands that hang, if it is not what was asked for.
func (lu *LogicalUnit) change(want []GroupState, by AccessChange, aborted func() bool, except *Nexus) (failed []string, err error) {
	before, leaving, err := lu.beginTransition(want)
	if err != nil || before == nil {
		return nil, err
	}
	unquiet := map[uint16]bool{}
	if len(leaving) > 0 {
		if failed, unquiet, err = lu.awaitQuiet(leaving, aborted); err != nil {
			lu.mu.Lock()
			lu.transition = false
			lu.publish(before)
			lu.mu.Unlock()
			return nil, err
		}
	}
	next := slices.Clone(before)
	for _, w := range want {
		g := &next[slices.IndexFunc(next, func(g PortGroup) bool { return g.ID == w.Group })]
		if g.State == w.State {
			continue
		}
		g.State, g.Altered = w.State, by
		if unquiet[g.ID] {
			g.State = Unavailable
		}
	}
	lu.mu.Lock()
	lu.transition = false
	lu.publish(next)
	lu.mu.Unlock()
	if len(failed) > 0 && by == ByTarget {
		lu.Attention(ASCImplicitAsymmetricAccessStateTransitionFailed, nil, nil)
	}
	lu.Attention(ASCAsymmetricAccessStateChanged, nil, except)
	return failed, nil
}

// beginTransition checks what is wanted against the groups. before is nil when they
// have it already. leaving are those that leave the active states: they are
// transitioning from now on.
func (lu *LogicalUnit) beginTransition(want []GroupState) (before, leaving []PortGroup, err error) {
	lu.mu.Lock()
	defer lu.mu.Unlock()
	if lu.transition {
		return nil, nil, errTransition
	}
	groups, changes := lu.PortGroups(), false
	interim := slices.Clone(groups)
	for _, w := range want {
		i := slices.IndexFunc(groups, func(g PortGroup) bool { return g.ID == w.Group })
		if i < 0 {
			return nil, nil, fmt.Errorf("%w: %d", ErrNoPortGroup, w.Group)
		}
		changes = changes || groups[i].State != w.State
		if groups[i].State.active() && !w.State.active() {
			interim[i].State = Transitioning
			leaving = append(leaving, groups[i])
		}
	}
	if !changes {
		return nil, nil, nil
	}
	lu.transition = true
	lu.publish(interim)
	return groups, leaving, nil
}

// awaitQuiet waits until no command that reached the medium through one of the
// groups is at work, but at most for HangBound. unquiet are the groups of which one
// still is, and hanging its name.
func (lu *LogicalUnit) awaitQuiet(groups []PortGroup, aborted func() bool) (hanging []string, unquiet map[uint16]bool, err error) {
	last := lu.tasks.entered()
	group := func(c *Command) *PortGroup {
		// Who is dormant has not been admitted, and will be refused; who waits for its
		// initiator is admitted anew.
		if c.owes {
			c.anew = true
			return nil
		}
		if c.state != enabled && !c.returning() || c.entry >= last || c.operation == nil || c.operation.Access != 0 {
			return nil
		}
		i := slices.IndexFunc(groups, func(g PortGroup) bool { return g.holds(c.Nexus.TargetPort) })
		if i < 0 {
			return nil
		}
		return &groups[i]
	}
	picked := func(c *Command) bool { return group(c) != nil }
	const look = 50 * time.Millisecond
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	for deadline := time.Now().Add(lu.HangBound); ; {
		changed := lu.tasks.watch(picked)
		switch {
		case changed == nil:
			return nil, nil, nil
		case aborted():
			return nil, nil, ErrAborted
		case time.Now().After(deadline):
			unquiet = map[uint16]bool{}
			lu.tasks.each(func(c *Command) {
				if g := group(c); g != nil {
					unquiet[g.ID] = true
					hanging = append(hanging, fmt.Sprintf("%s (tag %#x of %v)", c.name(), uint32(c.Tag), c.Nexus.Initiator))
				}
			})
			return hanging, unquiet, nil
		}
		select {
		case <-changed:
		case <-ticker.C:
		}
	}
}

// entered is how many commands have entered the set.
func (s *taskSet) entered() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.entries
}

// each calls f for every command of initiators in the set.
func (s *taskSet) each(f func(*Command)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := s.head; c != nil; c = c.next {
		if c.quiet == nil {
			f(c)
		}
	}
}
