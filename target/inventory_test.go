package target

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/isantarget/isantarget/backstore"
	memstore "github.com/isantarget/isantarget/backstore/memory"
	"github.com/isantarget/isantarget/iscsi"
	"github.com/isantarget/isantarget/scsi"
	"github.com/isantarget/isantarget/scsi/sbc"
	"github.com/isantarget/isantarget/scsi/spc"
)

// memoryUnit is a logical unit in memory.
func memoryUnit(tb testing.TB, serial string) *scsi.LogicalUnit {
	tb.Helper()
	store, err := memstore.New(1 << 20)
	if err != nil {
		tb.Fatal(err)
	}
	device, err := sbc.New(sbc.Options{Medium: backstore.Bind(store), BlockSize: 512, WriteCache: true})
	if err != nil {
		tb.Fatal(err)
	}
	lu, err := scsi.NewLogicalUnit(scsi.Identity{Name: serial, Serial: serial, Revision: "1"}, device, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return lu
}

func (r *rig) node() *Node { return r.entity.node(rigName) }

// mapUnits puts the session of r before other LUNs.
func (r *rig) mapUnits(units map[scsi.LUN]*scsi.LogicalUnit) {
	r.node().SetRules([]Rule{{Label: "other", Units: scsi.NewUnitMap(spc.NewAbsent("1"), units)}})
}

// TestInventoryChange: the session goes on, hears of the change once by an Async
// Message and once by a unit attention on a LUN that stays, and finds the new LUN.
func TestInventoryChange_RFC7143_11_9_1(t *testing.T) {
	r := newRig(t, 1<<20)
	first := (*r.node().sessions[r.key(t)]).units.Load().Find(0)
	second := memoryUnit(t, "second")
	r.mapUnits(map[scsi.LUN]*scsi.LogicalUnit{0: first, scsi.NewLUN(1): second})

	h := r.receive(t)
	var p iscsi.AsyncMessage
	if err := p.Unmarshal(h); err != nil || p.Event != iscsi.AsyncSCSI || p.LUN != 0 {
		t.Fatalf("%v, %+v, want a SCSI asynchronous event", err, p)
	}
	sense := r.in[2 : 2+binary.BigEndian.Uint16(r.in)]
	if sense[2] != 6 || binary.BigEndian.Uint16(sense[12:]) != 0x3f0e {
		t.Errorf("sense % x, want UNIT ATTENTION 3F/0E", sense)
	}
	if status := r.read10(t, 0, 1); status != 2 || r.in[2+2] != 6 || binary.BigEndian.Uint16(r.in[2+12:]) != 0x3f0e {
		t.Errorf("the next command: status %d, % x", status, r.in[:20])
	}
	if status := r.read10(t, 0, 1); status != 0 {
		t.Errorf("the command after it: status %d", status)
	}
	if info := r.entity.Sessions(); len(info) != 1 || info[0].Rule != "other" {
		t.Errorf("sessions: %+v", info)
	}
	r.mapUnits(map[scsi.LUN]*scsi.LogicalUnit{0: first, scsi.NewLUN(1): second}) // the same again
	if status := r.read10(t, 0, 1); status != 0 {
		t.Errorf("a command after a change of nothing: status %d", status)
	}
}

// key is that of the only nexus of r.
func (r *rig) key(t *testing.T) nexusKey {
	t.Helper()
	n := r.node()
	n.mu.Lock()
	defer n.mu.Unlock()
	for k := range n.sessions {
		return k
	}
	t.Fatal("there is no session")
	return nexusKey{}
}

// TestDecide: which rule keeps a session.
func TestDecide(t *testing.T) {
	g, other := &PortalGroup{tag: 1}, &PortalGroup{tag: 2}
	alice, bob := &Credential{User: "alice"}, &Credential{User: "bob"}
	near := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	far := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	for _, c := range []struct {
		name   string
		groups []*PortalGroup
		proof  string
		rules  []Rule
		want   string // label; empty: none
	}{
		{"open", []*PortalGroup{g}, "", []Rule{{Label: "a"}}, "a"},
		{"no rule", []*PortalGroup{g}, "", nil, ""},
		{"other portal group", []*PortalGroup{other}, "", []Rule{{Label: "a"}}, ""},
		{"by address", []*PortalGroup{g}, "", []Rule{{Label: "a", Networks: far}, {Label: "b", Networks: near}}, "b"},
		{"one address of two", []*PortalGroup{g}, "", []Rule{{Label: "a", Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}}, ""},
		{"other initiator", []*PortalGroup{g}, "", []Rule{{Label: "a", Initiators: []iscsi.Name{"iqn.x"}}}, ""},
		{"proof is asked for now", []*PortalGroup{g}, "", []Rule{{Label: "a", CHAP: alice}}, ""},
		{"the open rule behind it is not reached", []*PortalGroup{g}, "", []Rule{{Label: "a", CHAP: alice}, {Label: "b"}}, ""},
		{"proven", []*PortalGroup{g}, "bob", []Rule{{Label: "a", CHAP: alice}, {Label: "b", CHAP: bob}}, "b"},
		{"proven as another", []*PortalGroup{g}, "carol", []Rule{{Label: "a", CHAP: alice}}, ""},
		{"no proof is asked for any more", []*PortalGroup{g}, "carol", []Rule{{Label: "a"}}, "a"},
	} {
		s := &Session{group: g, initiator: "iqn.me", proof: c.proof, connections: []*Connection{
			{remote: netip.MustParseAddrPort("127.0.0.1:1")}, {remote: netip.MustParseAddrPort("127.0.0.2:1")},
		}}
		got := ""
		rule, err := (&nodeShape{groups: c.groups, rules: c.rules}).decide(s)
		if err == nil {
			got = rule.Label
		}
		if got != c.want {
			t.Errorf("%s: rule %q (%v), want %q", c.name, got, err, c.want)
		}
	}
}

// TestEviction: a session that no rule admits any more ends before SetRules returns.
func TestEviction(t *testing.T) {
	r := newRig(t, 1<<20)
	r.node().SetRules(nil)
	if s := r.entity.Sessions(); len(s) != 0 {
		t.Errorf("sessions: %+v, want none", s)
	}
	r.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if n, err := r.conn.Read(r.in); err == nil {
		t.Errorf("%d bytes came, want the end of the connection", n)
	}
}

// TestChangeBetweenSessions: who comes back hears that the LUNs are others.
func TestChangeBetweenSessions(t *testing.T) {
	r := newRig(t, 1<<20)
	n := r.node()
	s := n.sessions[r.key(t)]
	first := s.units.Load().Find(0)
	s.terminate(errOperator)
	s.await(10 * time.Second)
	r.mapUnits(map[scsi.LUN]*scsi.LogicalUnit{0: first, scsi.NewLUN(1): memoryUnit(t, "second")})
	if _, depth := first.PendingAttention(s.nexus); depth != 1 {
		t.Errorf("%d unit attentions while it is away, want the loss alone", depth)
	}
	back := &Session{entity: r.entity, node: n, group: s.group, initiator: s.initiator, isid: s.isid, done: make(chan struct{}),
		connections: []*Connection{{remote: netip.MustParseAddrPort("127.0.0.1:1")}}}
	if err := n.enter(back); err != nil {
		t.Fatal(err)
	}
	if _, depth := first.PendingAttention(s.nexus); depth != 2 {
		t.Errorf("%d unit attentions when it is back, want the loss and the change", depth)
	}
	n.leave(back)
}
