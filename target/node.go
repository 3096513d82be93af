package target

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/isantarget/isantarget/iscsi"
	"github.com/isantarget/isantarget/scsi"
)

// A Rule says who may log in to a node, how he proves it, and what he sees.
type Rule struct {
	Label      string         // for the log
	Initiators []iscsi.Name   // empty: any
	Networks   []netip.Prefix // empty: any address
	CHAP       *Credential    // what the initiator must prove; nil: nothing
	Mutual     *Credential    // what we prove when the initiator asks; nil: it may not ask
	Units      *scsi.UnitMap
}

func (r *Rule) admits(initiator iscsi.Name, from netip.Addr) bool {
	if len(r.Initiators) > 0 && !slices.Contains(r.Initiators, initiator) {
		return false
	}
	return len(r.Networks) == 0 || slices.ContainsFunc(r.Networks, func(p netip.Prefix) bool { return p.Contains(from) })
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
	alias  string
	groups []*PortalGroup
	ports  map[*PortalGroup]*scsi.TargetPort
	rules  atomic.Pointer[[]Rule]

	mu       sync.Mutex
	sessions map[nexusKey]*Session
	nexuses  map[nexusKey]*scsi.Nexus
}

// A nexusKey is what makes two logins the same I_T nexus (RFC 7143 4.4.3).
type nexusKey struct {
	initiator iscsi.Name
	isid      iscsi.ISID
	group     *PortalGroup
}

// NewNode makes a node of e. Initiators find it once SetNodes has it.
func (e *Entity) NewNode(c NodeConfig) (*Node, error) {
	if c.Name == "" || len(c.Groups) == 0 {
		return nil, fmt.Errorf("target: node %q needs a name and a portal group", c.Name)
	}
	n := &Node{
		entity: e, name: c.Name, alias: c.Alias, groups: slices.Clone(c.Groups),
		ports:    map[*PortalGroup]*scsi.TargetPort{},
		sessions: map[nexusKey]*Session{}, nexuses: map[nexusKey]*scsi.Nexus{},
	}
	if c.RelativeIDs != nil && len(c.RelativeIDs) != len(c.Groups) {
		return nil, fmt.Errorf("target: node %q has %d portal groups and %d relative target port identifiers", c.Name, len(c.Groups), len(c.RelativeIDs))
	}
	for i, g := range n.groups {
		n.ports[g] = &scsi.TargetPort{Device: string(c.Name), Group: g.tag, RelativeID: g.tag}
		if c.RelativeIDs != nil {
			n.ports[g].RelativeID = c.RelativeIDs[i]
		}
	}
	n.SetRules(c.Rules)
	return n, nil
}

// Name is the iSCSI name of the node.
func (n *Node) Name() iscsi.Name { return n.name }

// TargetPort is the SCSI target port that g is; nil if g does not lead to the node.
func (n *Node) TargetPort(g *PortalGroup) *scsi.TargetPort { return n.ports[g] }

// SetRules replaces the access rules for the logins to come.
func (n *Node) SetRules(rules []Rule) {
	rules = slices.Clone(rules)
	n.rules.Store(&rules)
}

// admitting are the rules that decide over a login: the first that matches if
// it asks for no proof, otherwise all those up to it, one of whose credentials
// must be proven. Empty: nobody lets it in.
func (n *Node) admitting(initiator iscsi.Name, from netip.Addr) []Rule {
	var candidates []Rule
	for _, r := range *n.rules.Load() {
		if !r.admits(initiator, from) {
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

// serves tells whether g leads to the node.
func (n *Node) serves(g *PortalGroup) bool { return slices.Contains(n.groups, g) }

// nexus is the one I_T nexus of key, made at its first login. n.mu is held.
func (n *Node) nexus(key nexusKey) *scsi.Nexus {
	if x := n.nexuses[key]; x != nil {
		return x
	}
	if len(n.nexuses) >= maxNexuses {
		n.forgetNexus()
	}
	x := &scsi.Nexus{
		Initiator:  scsi.TransportID{Name: string(key.initiator), ISID: key.isid},
		TargetPort: n.ports[key.group],
	}
	n.nexuses[key] = x
	return x
}

// forgetNexus makes room: it drops one nexus without a session that no logical
// unit has a reason to remember. n.mu is held.
func (n *Node) forgetNexus() {
	for key, x := range n.nexuses {
		if n.sessions[key] != nil {
			continue
		}
		held := false
		for _, r := range *n.rules.Load() {
			r.Units.Units(func(_ scsi.LUN, lu *scsi.LogicalUnit) { held = held || !lu.Forget(x) })
		}
		if !held {
			delete(n.nexuses, key)
			return
		}
	}
}

// enter makes s the session of its nexus. A session that the same initiator
// port left behind is ended first (session reinstatement, RFC 7143 6.3.5).
func (n *Node) enter(s *Session) error {
	key := nexusKey{s.initiator, s.isid, s.group}
	for {
		n.mu.Lock()
		old := n.sessions[key]
		if old == nil {
			s.nexus = n.nexus(key)
			n.sessions[key] = s
			n.mu.Unlock()
			break
		}
		n.mu.Unlock()
		old.terminate(errReinstated)
		if !old.await(n.entity.limits.HangBound) {
			return refuse(iscsi.LoginServiceUnavailable, "commands of the previous session of this initiator port still hang in a store")
		}
	}
	s.units.Load().Units(func(_ scsi.LUN, lu *scsi.LogicalUnit) { lu.Attach(s.nexus) })
	return nil
}

// leave takes an ended session out.
func (n *Node) leave(s *Session) {
	key := nexusKey{s.initiator, s.isid, s.group}
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
