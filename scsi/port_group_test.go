package scsi

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"
)

// paths is a unit with two ports, a group each, a nexus through either and a second
// one through the first. Command 00h reaches the medium and waits in a gate; 01h
// changes access states, and is let through in standby and unavailable.
type paths struct {
	*LogicalUnit
	gate           *gate
	one, two, also *Nexus
	want           []GroupState // of command 01h
}

func newPaths(t *testing.T) *paths {
	t.Helper()
	p := &paths{gate: newGate()}
	ports := []*TargetPort{{Device: "iqn.x", Group: 1, RelativeID: 11}, {Device: "iqn.y", Group: 1, RelativeID: 12}}
	p.one, p.two, p.also = newNexus("one"), newNexus("two"), newNexus("also")
	p.one.TargetPort, p.two.TargetPort, p.also.TargetPort = ports[0], ports[1], ports[0]
	set := row(1, WithoutMedium, func(c *Command) error { return p.SetAccessStates(c, p.want) })
	set.Access = InStandby | InUnavailable
	p.LogicalUnit = newUnit(t, &fakeDevice{rows: []Operation{row(0, 0, p.gate.execute), set, row(2, 0, p.gate.hang)}}, nil, p.one, p.two, p.also)
	p.HangBound = 100 * time.Millisecond
	err := p.SetPortGroups([]PortGroup{{ID: 2, Ports: ports[1:], State: ActiveNonOptimized}, {ID: 1, Ports: ports[:1], Preferred: true}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// states are the states of both groups.
func (p *paths) wantStates(t *testing.T, one, two AccessState) {
	t.Helper()
	g := p.PortGroups()
	if g[0].ID != 1 || g[0].State != one || g[1].State != two {
		t.Errorf("states %v and %v, want %v and %v", g[0].State, g[1].State, one, two)
	}
}

// wantTold checks which unit attentions are pending, and takes them.
func (p *paths) wantTold(t *testing.T, n *Nexus, codes ...SenseCode) {
	t.Helper()
	for _, code := range codes {
		if s := p.TakeAttention(n); s == nil || s.Code != code {
			t.Errorf("nexus %s is told %v, want %v", n.Initiator.Name, s, code)
		}
	}
	if s := p.TakeAttention(n); s != nil {
		t.Errorf("nexus %s is told %v too", n.Initiator.Name, s)
	}
}

func (p *paths) set(t *testing.T, n *Nexus, want ...GroupState) issued {
	t.Helper()
	p.want = want
	return do(t, p.LogicalUnit, n, 1, 0, 0, 0, 0, 0)
}

// Who is told of a change: SPC-4 5.15.2.5.
func TestSetAccessStates_UnitAttentions_SPC4_5_15_2_5(t *testing.T) {
	p := newPaths(t)
	p.set(t, p.one, GroupState{1, Standby}, GroupState{2, ActiveOptimized}).wantStatus(t, Good)
	p.wantStates(t, Standby, ActiveOptimized)
	p.wantTold(t, p.one) // it asked for it
	p.wantTold(t, p.also, ASCAsymmetricAccessStateChanged)
	p.wantTold(t, p.two, ASCAsymmetricAccessStateChanged)
	if g := p.PortGroups(); g[0].Altered != ByInitiator || !g[0].Preferred || g[1].Preferred {
		t.Errorf("%+v", g)
	}
	do(t, p.LogicalUnit, p.also, 0, 0, 0, 0, 0, 0).wantSense(t, KeyNotReady, ASCLogicalUnitNotAccessibleTargetPortInStandbyState)

	if err := p.SetAccessState(1, Unavailable); err != nil {
		t.Fatal(err)
	}
	for _, n := range []*Nexus{p.one, p.also, p.two} {
		p.wantTold(t, n, ASCAsymmetricAccessStateChanged)
	}
	if g := p.PortGroups(); g[0].Altered != ByTarget {
		t.Errorf("%+v", g)
	}
	do(t, p.LogicalUnit, p.also, 0, 0, 0, 0, 0, 0).wantSense(t, KeyNotReady, ASCLogicalUnitNotAccessibleTargetPortInUnavailableState)
	if err := p.SetAccessState(1, Transitioning); err != nil {
		t.Fatal(err)
	}
	p.wantTold(t, p.one, ASCAsymmetricAccessStateChanged)
	do(t, p.LogicalUnit, p.one, 1, 0, 0, 0, 0, 0).wantSense(t, KeyNotReady, ASCLogicalUnitNotAccessibleAsymmetricAccessStateTransition)

	// What is so already is no change: nobody is told.
	p.wantTold(t, p.two, ASCAsymmetricAccessStateChanged)
	p.set(t, p.two, GroupState{2, ActiveOptimized}).wantStatus(t, Good)
	p.set(t, p.two).wantStatus(t, Good)
	p.wantTold(t, p.two)
}

// A group that leaves the active states is transitioning until what came through it
// has ended; the other port goes on meanwhile.
func TestSetAccessState_WaitsForCommands(t *testing.T) {
	p := newPaths(t)
	p.HangBound = patience
	through := issue(p.LogicalUnit, p.one, 1, Simple, 0, 0, 0, 0, 0, 0)
	p.gate.wait(t)
	beside := issue(p.LogicalUnit, p.two, 1, Simple, 0, 0, 0, 0, 0, 0)
	p.gate.wait(t)
	done := make(chan error, 1)
	go func() { done <- p.SetAccessState(1, Standby) }()
	for p.PortGroups()[0].State != Transitioning {
		time.Sleep(time.Millisecond)
	}
	do(t, p.LogicalUnit, p.also, 0, 0, 0, 0, 0, 0).wantSense(t, KeyNotReady, ASCLogicalUnitNotAccessibleAsymmetricAccessStateTransition)
	p.set(t, p.two, GroupState{2, Standby}).wantSense(t, KeyNotReady, ASCLogicalUnitNotAccessibleAsymmetricAccessStateTransition)
	if err := p.SetAccessState(2, Standby); err == nil {
		t.Error("a second change began")
	}
	if err := p.SetPortGroups(nil); err == nil {
		t.Error("the groups were replaced")
	}
	select {
	case err := <-done:
		t.Fatalf("the change ended before the command: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	p.gate.leave <- nil // one of both
	p.gate.leave <- nil
	through.wait(t)
	through.wantStatus(t, Good)
	beside.wait(t)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	p.wantStates(t, Standby, ActiveNonOptimized)
}

// What hangs in a store makes the change fail: the group is unavailable, and who must
// know is told (SPC-4 5.15.2.5).
func TestSetAccessState_Fails_SPC4_5_15_2_5(t *testing.T) {
	for _, explicit := range []bool{false, true} {
		p := newPaths(t)
		var mu sync.Mutex
		var told error
		p.Report = func(err error) { mu.Lock(); defer mu.Unlock(); told = err }
		hanging := issue(p.LogicalUnit, p.one, 0x77, Simple, 2, 0, 0, 0, 0, 0)
		p.gate.wait(t)
		if explicit {
			p.set(t, p.two, GroupState{1, Standby}, GroupState{2, ActiveOptimized}).wantSense(t, KeyHardwareError, ASCSetTargetPortGroupsCommandFailed)
			p.wantTold(t, p.two)
			p.wantTold(t, p.one, ASCAsymmetricAccessStateChanged)
			p.wantStates(t, Unavailable, ActiveOptimized)
			mu.Lock()
			if told == nil || !strings.Contains(told.Error(), "tag 0x77 of one") {
				t.Errorf("Report heard %v", told)
			}
			mu.Unlock()
		} else {
			if err := p.SetAccessState(1, Standby); err == nil || !strings.Contains(err.Error(), "tag 0x77 of one") {
				t.Errorf("the error is %v", err)
			}
			for _, n := range []*Nexus{p.one, p.also, p.two} {
				p.wantTold(t, n, ASCImplicitAsymmetricAccessStateTransitionFailed, ASCAsymmetricAccessStateChanged)
			}
			p.wantStates(t, Unavailable, ActiveNonOptimized)
		}
		p.gate.leave <- nil
		hanging.wait(t)
		if err := p.SetAccessState(1, ActiveOptimized); err != nil {
			t.Error(err)
		}
	}
}

// An aborted SET TARGET PORT GROUPS has changed nothing.
func TestSetAccessStates_Aborted(t *testing.T) {
	p := newPaths(t)
	p.HangBound = patience
	through := issue(p.LogicalUnit, p.one, 1, Simple, 0, 0, 0, 0, 0, 0)
	p.gate.wait(t)
	p.want = []GroupState{{1, Standby}}
	set := issue(p.LogicalUnit, p.two, 5, Simple, 1, 0, 0, 0, 0, 0)
	for p.PortGroups()[0].State != Transitioning {
		time.Sleep(time.Millisecond)
	}
	if got := p.Manage(AbortTask, p.two, 5); got != FunctionComplete {
		t.Errorf("ABORT TASK: %v", got)
	}
	set.wait(t)
	if !set.Silent {
		t.Errorf("the aborted command answered %v", set.Status)
	}
	p.wantStates(t, ActiveOptimized, ActiveNonOptimized)
	p.wantTold(t, p.one)
	p.gate.leave <- nil
	through.wait(t)
	through.wantStatus(t, Good)
}

func TestSetAccessState_Refusals(t *testing.T) {
	p := newPaths(t)
	if err := p.SetAccessState(3, Standby); !errors.Is(err, ErrNoPortGroup) {
		t.Errorf("group 3: %v", err)
	}
	for _, s := range []AccessState{4, 0xe, 0x10} {
		if err := p.SetAccessState(1, s); err == nil {
			t.Errorf("%v was set", s)
		}
	}
	p.wantStates(t, ActiveOptimized, ActiveNonOptimized)
	port := &TargetPort{RelativeID: 1}
	for _, wrong := range [][]PortGroup{
		{{ID: 1}, {ID: 1}}, {{ID: 1, State: 7}}, {{ID: 1, Ports: []*TargetPort{port}}, {ID: 2, Ports: []*TargetPort{port}}},
	} {
		if err := p.SetPortGroups(wrong); err == nil {
			t.Errorf("%+v was taken", wrong)
		}
	}
	p.wantTold(t, p.one)
}

// New groups are told of; the same ones again are not.
func TestSetPortGroups_UnitAttention(t *testing.T) {
	p := newPaths(t)
	groups := p.PortGroups()
	if err := p.SetPortGroups(groups); err != nil {
		t.Fatal(err)
	}
	p.wantTold(t, p.one)
	if err := p.SetPortGroups(groups[:1]); err != nil {
		t.Fatal(err)
	}
	p.wantTold(t, p.one, ASCAsymmetricAccessStateChanged)
	if g := p.PortGroup(p.two.TargetPort); g != nil || p.AccessState(p.two) != ActiveOptimized {
		t.Errorf("a port that is in no group: %+v", g)
	}
}

// Commands of two ports while their states change over and over: what is let through
// to the medium is never what a port that is not active let in.
func TestAccessStates_UnderLoad(t *testing.T) {
	p := newPaths(t)
	var mu sync.Mutex
	var working [2]int // at the medium, by port
	settled := [2]bool{}
	p.table.rows[0].Execute = nil
	execute := func(c *Command) error {
		i := c.Nexus.TargetPort.RelativeID - 11
		mu.Lock()
		working[i]++
		if settled[i] {
			t.Errorf("a command works through port %d, which is in standby", i)
		}
		mu.Unlock()
		time.Sleep(50 * time.Microsecond)
		mu.Lock()
		working[i]--
		mu.Unlock()
		return nil
	}
	p.table.rows[0].Execute = execute
	p.HangBound = patience
	stop := make(chan struct{})
	var all sync.WaitGroup
	for _, n := range []*Nexus{p.one, p.two, p.also} {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					c := issue(p.LogicalUnit, n, 1, Simple, 0, 0, 0, 0, 0, 0)
					<-c.delivery.done
				}
			}
		})
	}
	for i := range 200 {
		port := i % 2
		if err := p.SetAccessState(uint16(1+port), Standby); err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		if working[port] != 0 {
			t.Errorf("%d commands work through port %d after it went to standby", working[port], port)
		}
		settled[port] = true
		mu.Unlock()
		mu.Lock()
		settled[port] = false
		mu.Unlock()
		if err := p.SetAccessState(uint16(1+port), ActiveOptimized); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	all.Wait()
}

// The common case costs nothing but an atomic load.
func TestAccessState_AllocatesNothing(t *testing.T) {
	p := newPaths(t)
	if n := testing.AllocsPerRun(100, func() { _ = p.AccessState(p.two) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
