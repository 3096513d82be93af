package target

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isantarget/isantarget/iscsi"
	"github.com/isantarget/isantarget/meter"
	"github.com/isantarget/isantarget/scsi"
)

// A Rule says who may log in to a node, how he proves it, and what he sees.
type Rule struct {
	Label      string         // for the log
	Initiators []iscsi.Name   // empty: any
	Networks   []netip.Prefix // where they come from: one of these,
	Hosts      []Host         // or an address of one of these; both empty: any address
	CHAP       *Credential    // what the initiator must prove; nil: nothing
	Mutual     *Credential    // what we prove when the initiator asks; nil: it may not ask
	Units      *scsi.UnitMap
}

// A Host is a name whose addresses may change: package dns keeps them. Nothing waits in
// its methods, and no lock is taken.
type Host interface {
	// Contains tells whether an address is the host's, for somebody who is there since then.
	Contains(a netip.Addr, since time.Time) bool
	// Asked is closed when the host has been looked up for the first time, in vain or not.
	Asked() <-chan struct{}
	// Doubt says why the host may not be known; empty: it is.
	Doubt() string
}

// admits tells whether r lets an initiator in that comes from there, and is there since then.
func (r *Rule) admits(initiator iscsi.Name, from netip.Addr, since time.Time) bool {
	if !r.names(initiator) {
		return false
	}
	return r.anywhere() || r.near(from) || slices.ContainsFunc(r.Hosts, func(h Host) bool { return h.Contains(from, since) })
}

func (r *Rule) names(initiator iscsi.Name) bool {
	return len(r.Initiators) == 0 || slices.Contains(r.Initiators, initiator)
}

func (r *Rule) anywhere() bool { return len(r.Networks) == 0 && len(r.Hosts) == 0 }

func (r *Rule) near(from netip.Addr) bool {
	return slices.ContainsFunc(r.Networks, func(p netip.Prefix) bool { return p.Contains(from) })
}

// knows tells whether r, which admits s, has a say in who that is.
func (r *Rule) knows(s *Session) bool {
	return len(r.Initiators) > 0 || !r.anywhere() || s.proof != ""
}

// A NodeConfig is what NewNode makes a node of.
type NodeConfig struct {
	Name   iscsi.Name
	Alias  string
	Groups []*PortalGroup
	// RelativeIDs are the relative target port identifiers (SPC-4 7.8.6.7) of the target
	// ports that Groups are. Nil: their tags, which is right while no logical unit is
	// reached through another node too.
	RelativeIDs []uint16
	Rules       []Rule
}

// maxNexuses bounds the initiator ports that a node remembers beyond their sessions.
const maxNexuses = 4096

// A Node is an iSCSI target node (RFC 7143 4.2): a name, the portal groups that
// lead to it, and what each initiator sees.
type Node struct {
	entity *Entity
	name   iscsi.Name
	shape  atomic.Pointer[nodeShape]
	flow   meter.Flow
	lost   atomic.Uint64 // sessions that ended otherwise than by a logout

	configuring sync.Mutex // one Configure at a time; before mu

	mu       sync.Mutex
	removed  bool // it is no node of the entity any more, and has no more sessions
	sessions map[nexusKey]*Session
	nexuses  map[nexusKey]*knownNexus
}

// A nodeShape is what the configuration says of a node. It does not change.
type nodeShape struct {
	alias  string
	groups []*PortalGroup
	ports  map[*PortalGroup]*scsi.TargetPort
	rules  []Rule
}

// A nexusKey is what makes two logins the same I_T nexus (RFC 7143 4.4.3).
type nexusKey struct {
	initiator iscsi.Name
	isid      iscsi.ISID
	group     *PortalGroup
}

// A knownNexus is a nexus that has, or had, a session.
type knownNexus struct {
	*scsi.Nexus
	units *scsi.UnitMap // that it has seen last
}

// NewNode makes a node of e. Initiators find it once SetNodes has it.
func (e *Entity) NewNode(c NodeConfig) (*Node, error) {
	n := &Node{entity: e, name: c.Name, sessions: map[nexusKey]*Session{}, nexuses: map[nexusKey]*knownNexus{}}
	shape, err := n.newShape(c)
	if err != nil {
		return nil, err
	}
	n.shape.Store(shape)
	return n, nil
}

// newShape is what c says. Ports that are there already stay what they are, for
// nexuses lead through them.
func (n *Node) newShape(c NodeConfig) (*nodeShape, error) {
	if c.Name == "" || c.Name != n.name || len(c.Groups) == 0 {
		return nil, fmt.Errorf("target: node %q needs a name, which stays, and a portal group", c.Name)
	}
	if c.RelativeIDs != nil && len(c.RelativeIDs) != len(c.Groups) {
		return nil, fmt.Errorf("target: node %q has %d portal groups and %d relative target port identifiers", c.Name, len(c.Groups), len(c.RelativeIDs))
	}
	before := n.shape.Load()
	s := &nodeShape{alias: c.Alias, groups: slices.Clone(c.Groups), rules: slices.Clone(c.Rules), ports: map[*PortalGroup]*scsi.TargetPort{}}
	for i, g := range s.groups {
		port := scsi.TargetPort{Device: string(c.Name), Group: g.tag, RelativeID: g.tag}
		if c.RelativeIDs != nil {
			port.RelativeID = c.RelativeIDs[i]
		}
		s.ports[g] = &port
		if before != nil && before.ports[g] != nil && *before.ports[g] == port {
			s.ports[g] = before.ports[g]
		}
	}
	return s, nil
}

// Name is the iSCSI name of the node.
func (n *Node) Name() iscsi.Name { return n.name }

// TargetPort is the SCSI target port that g is; nil if g does not lead to the node.
func (n *Node) TargetPort(g *PortalGroup) *scsi.TargetPort { return n.shape.Load().ports[g] }

// Configure makes the node what c says, while it serves; its name stays. For each
// session it is decided again which rule admits it, as if it logged in now, but
// that a CHAP secret it has proven stays proven though the secret has changed: a
// session that no rule admits, or whose portal group does not lead here any more,
// ends. The others see the LUNs of their rule from now on. Where those are others
// than before, the initiator hears of it: by the unit attention REPORTED LUNS DATA
// HAS CHANGED on the LUNs that stay, and by an Async Message (RFC 7143 11.9.1, event
// 0). Commands to a LUN that a session loses end with TASK ABORTED.
//
// When it returns, no command that this took away can act any more, unless it hangs
// in a store for longer than Limits.HangBound. An error has changed nothing.
func (n *Node) Configure(c NodeConfig) error {
	n.configuring.Lock()
	defer n.configuring.Unlock()
	shape, err := n.newShape(c)
	if err != nil {
		return err
	}
	n.shape.Store(shape)
	n.redecide(shape)
	return nil
}

// Redecide decides again over all sessions, as Configure does, by the rules as they are:
// the addresses of a host have changed.
func (n *Node) Redecide() {
	n.configuring.Lock()
	defer n.configuring.Unlock()
	n.redecide(n.shape.Load())
}

// redecide has the sessions see what shape says. n.configuring is held.
func (n *Node) redecide(shape *nodeShape) {
	var all sync.WaitGroup
	n.mu.Lock()
	for _, s := range n.sessions {
		rule, err := shape.decide(s)
		all.Go(func() {
			if err != nil {
				s.evict(err)
				return
			}
			s.remap(rule)
		})
	}
	n.mu.Unlock()
	all.Wait()
}

// SetRules replaces the access rules: Configure with all else as it is.
func (n *Node) SetRules(rules []Rule) {
	n.configuring.Lock()
	shape := n.shape.Load()
	c := NodeConfig{Name: n.name, Alias: shape.alias, Groups: shape.groups, Rules: rules}
	for _, g := range shape.groups {
		c.RelativeIDs = append(c.RelativeIDs, shape.ports[g].RelativeID)
	}
	n.configuring.Unlock()
	if err := n.Configure(c); err != nil {
		panic(err) // all else is as it was
	}
}

// admitting are the rules that decide over a login: the first that matches if
// it asks for no proof, otherwise all those up to it, one of whose credentials
// must be proven. Empty: nobody lets it in.
func (n *Node) admitting(initiator iscsi.Name, from netip.Addr) []Rule {
	var candidates []Rule
	now := time.Now()
	for _, r := range n.shape.Load().rules {
		if !r.admits(initiator, from, now) {
			continue
		}
		if r.CHAP == nil {
			if len(candidates) == 0 {
				candidates = append(candidates, r)
			}
			break
		}
		candidates = append(candidates, r)
	}
	return candidates
}

var (
	errNoLongerAdmitted = errors.New("no access rule of the target admits the initiator any more")
	errGroupRemoved     = errors.New("its portal group does not lead to the target any more")
)

// decide finds the rule that admits s over all of its connections.
func (h *nodeShape) decide(s *Session) (*Rule, error) {
	if !slices.Contains(h.groups, s.group) {
		return nil, errGroupRemoved
	}
	from := s.peers()
	asked := false
	for i := range h.rules {
		r := &h.rules[i]
		switch {
		case slices.ContainsFunc(from, func(a netip.Addr) bool { return !r.admits(s.initiator, a, s.since) }):
		case r.CHAP == nil && asked:
			return nil, errNoLongerAdmitted // see admitting
		case r.CHAP == nil || s.proof == r.CHAP.User:
			return r, nil
		default:
			asked = true
		}
	}
	return nil, errNoLongerAdmitted
}

// Foresee says what Configure would decide over a session: the index of the rule that
// would admit it, or the error for which it would end. groups are tags. The session is
// left alone.
func (e *Entity) Foresee(tsih uint16, groups []uint16, rules []Rule) (int, error) {
	s := e.session(tsih)
	if s == nil {
		return 0, ErrNoSession
	}
	shape := nodeShape{rules: rules}
	if slices.Contains(groups, s.group.tag) {
		shape.groups = []*PortalGroup{s.group}
	}
	rule, err := shape.decide(s)
	if err != nil {
		return 0, err
	}
	return slices.IndexFunc(rules, func(r Rule) bool { return r.Label == rule.Label }), nil
}

// Load is what the node has done.
func (n *Node) Load() meter.FlowCount { return n.flow.Count() }

// SessionsLost is how many sessions have ended otherwise than by a logout.
func (n *Node) SessionsLost() uint64 { return n.lost.Load() }

// serves tells whether g leads to the node.
func (n *Node) serves(g *PortalGroup) bool { return slices.Contains(n.shape.Load().groups, g) }

// nexus is the one I_T nexus of key, made at its first login. n.mu is held.
func (n *Node) nexus(key nexusKey) *knownNexus {
	if x := n.nexuses[key]; x != nil {
		return x
	}
	if len(n.nexuses) >= maxNexuses {
		n.forgetNexus()
	}
	x := &knownNexus{Nexus: &scsi.Nexus{
		Initiator:  scsi.TransportID{Name: string(key.initiator), ISID: key.isid},
		TargetPort: n.TargetPort(key.group),
	}}
	n.nexuses[key] = x
	return x
}

// forgetNexus makes room: it drops one nexus without a session that no logical
// unit has a reason to remember. n.mu is held.
func (n *Node) forgetNexus() {
	for key, x := range n.nexuses {
		if n.sessions[key] == nil && n.forget(x) {
			delete(n.nexuses, key)
			return
		}
	}
}

// forget has the logical units of the node forget x; false: one holds on to it.
func (n *Node) forget(x *knownNexus) bool {
	forgotten := true
	forget := func(_ scsi.LUN, lu *scsi.LogicalUnit) { forgotten = lu.Forget(x.Nexus) && forgotten }
	for _, r := range n.shape.Load().rules {
		r.Units.Units(forget)
	}
	if x.units != nil {
		x.units.Units(forget)
	}
	return forgotten
}

// enter makes s the session of its nexus. A session that the same initiator
// port left behind is ended first (session reinstatement, RFC 7143 6.3.5).
func (n *Node) enter(s *Session) error {
	key := s.key()
	for {
		n.mu.Lock()
		old := n.sessions[key]
		if old == nil {
			err := n.begin(s, key)
			n.mu.Unlock()
			return err
		}
		n.mu.Unlock()
		old.terminate(errReinstated)
		if !old.await(n.entity.limits.HangBound) {
			return refuse(iscsi.LoginServiceUnavailable, "commands of the previous session of this initiator port still hang in a store")
		}
	}
}

// key is what s shares with a session of the same node that has to end for it.
func (s *Session) key() nexusKey { return nexusKey{s.initiator, s.isid, s.group} }

// replaces tells whether o, which is there, has to end for s (session reinstatement).
func (s *Session) replaces(o *Session) bool {
	return s.node != nil && o.node == s.node && o.key() == s.key()
}

// begin is enter once nobody is in the way. The rule is looked up again, for the
// node may have been configured anew during the login. n.mu is held.
func (n *Node) begin(s *Session, key nexusKey) error {
	if n.removed {
		return refuse(iscsi.LoginTargetRemoved, "target %q was removed during the login", n.name)
	}
	rule, err := n.shape.Load().decide(s)
	if err != nil {
		return refuse(iscsi.LoginAuthorizationFailure, "%v", err)
	}
	x := n.nexus(key)
	s.nexus = x.Nexus
	s.units.Store(rule.Units)
	s.mu.Lock()
	s.rule, s.known, s.begun = rule.Label, rule.knows(s), true
	s.mu.Unlock()
	n.sessions[key] = s
	rule.Units.Units(func(_ scsi.LUN, lu *scsi.LogicalUnit) { lu.Attach(s.nexus) })
	if x.units != nil && !x.units.Equal(rule.Units) {
		// Nobody looks for LUNs anew when a session comes back.
		tellInventory(s.nexus, x.units, rule.Units)
	}
	x.units = rule.Units
	return nil
}

// remember notes what the nexus of s sees, for the time when it comes back.
func (n *Node) remember(s *Session, units *scsi.UnitMap) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if x := n.nexuses[s.key()]; x != nil {
		x.units = units
	}
}

// close ends the sessions of a node that is removed, and has its logical units
// forget it, as far as they may. It waits for neither.
func (n *Node) close() {
	n.mu.Lock()
	n.removed = true
	n.mu.Unlock()
	sessions := n.all()
	for _, s := range sessions {
		s.terminate(errTargetRemoved)
	}
	n.entity.running.Go(func() {
		for _, s := range sessions {
			if !s.await(n.entity.limits.HangBound) {
				return
			}
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		for _, x := range n.nexuses {
			n.forget(x)
		}
	})
}

// leave takes an ended session out.
func (n *Node) leave(s *Session) {
	key := s.key()
	n.mu.Lock()
	if n.sessions[key] == s {
		delete(n.sessions, key)
	}
	n.mu.Unlock()
}

// all lists the sessions of the node.
func (n *Node) all() []*Session {
	n.mu.Lock()
	defer n.mu.Unlock()
	var s []*Session
	for _, one := range n.sessions {
		s = append(s, one)
	}
	return s
}
