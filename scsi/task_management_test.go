package scsi

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"
)

// abortRig is a unit on which two nexuses have commands in every state.
type abortRig struct {
	lu         *LogicalUnit
	d          *fakeDevice
	a, b       *Nexus
	gate       *gate
	running    issued // a, enabled
	sleeping   issued // a, dormant behind barrier
	other      issued // b, enabled
	otherSleep issued // b, dormant
}

func newAbortRig(t *testing.T) *abortRig {
	t.Helper()
	r := &abortRig{a: newNexus("a"), b: newNexus("b"), gate: newGate()}
	r.d = &fakeDevice{rows: []Operation{row(0, 0, r.gate.execute), row(1, Inline, good), row(2, Inline|KeepsAttentions, good)}}
	r.d.rows[1].Conflict = Allowed
	r.lu = newUnit(t, r.d, nil, r.a, r.b)
	cdb := make([]byte, 6)
	r.running = issue(r.lu, r.a, 1, Simple, cdb...)
	r.other = issue(r.lu, r.b, 1, Simple, cdb...)
	r.gate.wait(t)
	r.gate.wait(t)
	r.sleeping = issue(r.lu, r.a, 2, Ordered, 1, 0, 0, 0, 0, 0)
	r.otherSleep = issue(r.lu, r.b, 2, Simple, 1, 0, 0, 0, 0, 0)
	return r
}

// fate is what has become of a command.
func fate(i issued) string {
	switch {
	case !i.delivery.ended():
		return "lives"
	case i.Silent:
		return "silent"
	}
	return i.Status.Error()
}

func (r *abortRig) fates() []string {
	return []string{fate(r.running), fate(r.sleeping), fate(r.other), fate(r.otherSleep)}
}

func TestTaskManagement_SAM5_7(t *testing.T) {
	none := ASCNoAdditionalSenseInformation
	tests := []struct {
		name     string
		function Function
		tag      Tag
		tas      bool
		fates    []string // running, sleeping (a, who asks); other, otherSleep (b)
		a, b     SenseCode
	}{
		{"ABORT TASK, enabled", AbortTask, 1, true, []string{"silent", "lives", "lives", "lives"}, none, none},
		{"ABORT TASK, dormant", AbortTask, 2, true, []string{"lives", "silent", "lives", "GOOD"}, none, none},
		{"ABORT TASK, unknown", AbortTask, 9, true, []string{"lives", "lives", "lives", "lives"}, none, none},
		{"ABORT TASK SET", AbortTaskSet, 0, true, []string{"silent", "silent", "lives", "GOOD"}, none, none},
		{"CLEAR TASK SET, TAS", ClearTaskSet, 0, true, []string{"silent", "silent", "TASK ABORTED", "TASK ABORTED"}, none, none},
		{"CLEAR TASK SET", ClearTaskSet, 0, false, []string{"silent", "silent", "silent", "silent"}, none, ASCCommandsClearedByAnotherInitiator},
		{"LOGICAL UNIT RESET, TAS", LogicalUnitReset, 0, true, []string{"silent", "silent", "TASK ABORTED", "TASK ABORTED"}, ASCBusDeviceResetFunctionOccurred, ASCBusDeviceResetFunctionOccurred},
		{"LOGICAL UNIT RESET", LogicalUnitReset, 0, false, []string{"silent", "silent", "silent", "silent"}, ASCBusDeviceResetFunctionOccurred, ASCBusDeviceResetFunctionOccurred},
		{"I_T NEXUS RESET", ITNexusReset, 0, true, []string{"silent", "silent", "lives", "GOOD"}, ASCITNexusLossOccurred, none},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := newAbortRig(t)
			r.lu.modes.taskAborted.Store(test.tas)
			if got := r.lu.Manage(test.function, r.a, test.tag); got != FunctionComplete {
				t.Fatalf("the response is %v", got)
			}
			// What was enabled by the abort ends by itself.
			for i, c := range []issued{r.running, r.sleeping, r.other, r.otherSleep} {
				if test.fates[i] != "lives" {
					c.wait(t)
				}
			}
			if got := r.fates(); !slices.Equal(got, test.fates) {
				t.Errorf("the commands are %v, want %v", got, test.fates)
			}
			for _, n := range []struct {
				nexus *Nexus
				want  SenseCode
			}{{r.a, test.a}, {r.b, test.b}} {
				if code, depth := r.lu.PendingAttention(n.nexus); code != n.want || depth > 1 {
					t.Errorf("%d attentions, first %v, pending for %s; want %v", depth, code, n.nexus.Initiator.Name, n.want)
				}
			}
			r.lu.Manage(ClearTaskSet, r.a, 0)
		})
	}
}

func TestQueries_SAM5_7_8(t *testing.T) {
	r := newAbortRig(t)
	c := newNexus("c")
	want := []struct {
		function Function
		nexus    *Nexus
		tag      Tag
		response Response
	}{
		{QueryTask, r.a, 1, FunctionSucceeded},
		{QueryTask, r.a, 2, FunctionSucceeded},
		{QueryTask, r.a, 3, FunctionComplete},
		{QueryTaskSet, r.a, 0, FunctionSucceeded},
		{QueryTaskSet, c, 0, FunctionComplete},
		{QueryAsynchronousEvent, r.a, 0, FunctionComplete},
		{ClearACA, r.a, 0, FunctionNotSupported},
		{Function(99), r.a, 0, FunctionNotSupported},
	}
	for _, w := range want {
		if got := r.lu.Manage(w.function, w.nexus, w.tag); got != w.response {
			t.Errorf("function %d with tag %d: response %d, want %d", w.function, w.tag, got, w.response)
		}
	}
	r.lu.Attention(ASCModeParametersChanged, r.a, nil)
	if got := r.lu.Manage(QueryAsynchronousEvent, r.a, 0); got != FunctionSucceeded {
		t.Errorf("QUERY ASYNCHRONOUS EVENT with a pending attention: response %d", got)
	}
	if got := slices.Compact(r.fates()); !slices.Equal(got, []string{"lives"}) {
		t.Errorf("a query has ended commands: %v", r.fates())
	}
	r.lu.Manage(ClearTaskSet, r.a, 0)
}

func TestLogicalUnitResetRestores_SAM5_6_3_3(t *testing.T) {
	r := newAbortRig(t)
	if err := r.lu.Reserve(r.a, true); err != nil {
		t.Fatal(err)
	}
	page := r.lu.AppendModePages(nil, controlPage, 0, CurrentValues)
	page[4] |= swpBit
	if err := r.lu.SelectModePages(r.a, []ModeValues{{Page: page}}, false); err != nil || !r.lu.WriteProtected() {
		t.Fatal("no write protection: ", err)
	}
	if got := r.lu.Manage(LogicalUnitReset, r.b, 0); got != FunctionComplete {
		t.Fatal(got)
	}
	if r.lu.ReservedBy() != nil || r.lu.WriteProtected() || r.d.resets != 1 {
		t.Errorf("after a reset: reserved by %v, write protected %v, %d resets of the device", r.lu.ReservedBy(), r.lu.WriteProtected(), r.d.resets)
	}
}

func TestNexusLost_SAM5_6_3_4(t *testing.T) {
	r := newAbortRig(t)
	if err := r.lu.Reserve(r.a, true); err != nil {
		t.Fatal(err)
	}
	if r.lu.Forget(r.a) {
		t.Error("an attached nexus was forgotten")
	}
	r.lu.NexusLost(r.a)
	r.running.wait(t)
	r.sleeping.wait(t)
	if got := r.fates(); got[0] != "silent" || got[1] != "silent" || got[2] != "lives" {
		t.Errorf("after the loss of a the commands are %v", got)
	}
	if r.lu.ReservedBy() != nil || !slices.Equal(r.d.lost, []*Nexus{r.a}) {
		t.Error("the loss did not release, or the device has not heard")
	}
	r.lu.Attach(r.a)
	do(t, r.lu, r.a, 1, 0, 0, 0, 0, 0).wantSense(t, KeyUnitAttention, ASCITNexusLossOccurred)
	do(t, r.lu, r.a, 1, 0, 0, 0, 0, 0).wantStatus(t, Good)
	r.lu.NexusLost(r.a)
	for range 2 { // the second time it is not known
		if !r.lu.Forget(r.a) {
			t.Error("a nexus without a session and a reservation is kept")
		}
	}
	if got := r.lu.attentive.Load(); got != 0 {
		t.Errorf("%d nexuses have attentions though none is known with any", got)
	}
	r.lu.Attach(r.a)
	do(t, r.lu, r.a, 1, 0, 0, 0, 0, 0).wantSense(t, KeyUnitAttention, ASCPowerOnResetOrBusDeviceResetOccurred)
	r.lu.Manage(ClearTaskSet, r.b, 0)
}

// TestManageTellsTheTruthOfAStoreThatHangs: no FUNCTION COMPLETE while an affected
// command may still write.
func TestManageTellsTheTruthOfAStoreThatHangs(t *testing.T) {
	a, b := newNexus("a"), newNexus("b")
	g := newGate()
	d := &fakeDevice{rows: []Operation{row(0, 0, g.hang), row(1, Inline, good), row(2, Inline|WithoutMedium|KeepsAttentions, good)}}
	lu := newUnit(t, d, nil, a, b)
	lu.HangBound = time.Millisecond
	told := make(chan error, 10)
	lu.Report = func(err error) { told <- err }
	stuck := issue(lu, a, 0x77, Simple, make([]byte, 6)...)
	g.wait(t)

	for _, f := range []Function{AbortTask, AbortTaskSet, ClearTaskSet, LogicalUnitReset, ITNexusReset} {
		if got := lu.Manage(f, a, 0x77); got != FunctionRejected {
			t.Fatalf("function %d: response %d while a command hangs", f, got)
		}
		if err := <-told; !strings.Contains(err.Error(), "TEST (tag 0x77") {
			t.Errorf("Report heard %q, which does not name the command", err)
		}
	}
	if d.resets != 0 {
		t.Error("a rejected reset has reset the device")
	}
	if stuck.delivery.ended() {
		t.Error("the command has ended while the store has it")
	}
	do(t, lu, b, 1, 0, 0, 0, 0, 0).wantSense(t, KeyNotReady, ASCLogicalUnitNotReadyOperationInProgress)
	do(t, lu, b, 2, 0, 0, 0, 0, 0).wantStatus(t, Good)

	done := make(chan Response)
	lu.HangBound = patience
	go func() { done <- lu.Manage(AbortTask, a, 0x77) }()
	g.leave <- nil
	if err := <-told; !strings.Contains(err.Error(), "ready again") {
		t.Errorf("Report heard %q after the hang", err)
	}
	if got := <-done; got != FunctionComplete {
		t.Errorf("response %d after the hang", got)
	}
	stuck.wait(t)
	if !stuck.Silent {
		t.Error("the aborted command told its result")
	}
	do(t, lu, b, 1, 0, 0, 0, 0, 0).wantStatus(t, Good)
}

// TestAbortRacesWithTheEnd aborts commands that are ending: each is completed
// once, and the port may use it again at once.
func TestAbortRacesWithTheEnd(t *testing.T) {
	n, other := newNexus("a"), newNexus("b")
	work := func(c *Command) error {
		select {
		case <-c.Delivery.(*fakeDelivery).aborted:
			return ErrAborted
		default:
			return nil
		}
	}
	lu := newUnit(t, &fakeDevice{rows: []Operation{row(0, 0, work), row(1, Inline, good)}}, nil, n, other)
	stop := make(chan struct{})
	managed := make(chan struct{})
	for range 2 {
		go func() {
			defer func() { managed <- struct{}{} }()
			for tag := Tag(0); ; tag = (tag + 1) % 8 {
				select {
				case <-stop:
					return
				default:
				}
				if got := lu.Manage(AbortTask, n, tag); got != FunctionComplete {
					t.Errorf("response %d", got)
				}
				if got := lu.Manage(ClearTaskSet, other, 0); got != FunctionComplete {
					t.Errorf("response %d", got)
				}
			}
		}()
	}
	for i := range 2000 {
		c := issue(lu, n, Tag(i%8), TaskAttribute(i%3), byte(i%2), 0, 0, 0, 0, 0)
		c.wait(t) // SendCommandComplete panics when it is called twice
		if !c.Silent && c.Status != Good && c.Status != TaskAborted {
			t.Fatalf("a command ended with %v", c.Status)
		}
	}
	close(stop)
	<-managed
	<-managed
}

func TestManageOfAnAbsentUnit(t *testing.T) {
	lu, err := NewLogicalUnit(Identity{}, absentDevice{&fakeDevice{}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	n := newNexus("a")
	lu.Attach(n)
	if got := lu.Manage(LogicalUnitReset, n, 0); got != IncorrectLogicalUnitNumber {
		t.Errorf("response %d", got)
	}
	lu.NexusLost(n)
	lu.Attention(ASCCapacityDataHasChanged, nil, nil)
	if s := lu.TakeAttention(n); s != nil {
		t.Errorf("an absent unit has the attention %v", s)
	}
}

type absentDevice struct{ *fakeDevice }

func (absentDevice) InquiryData() InquiryData { return InquiryData{Qualifier: 3} }

// deafPort is the port of a peer that takes no responses: SendCommandComplete waits.
type deafPort struct {
	*fakeDelivery
	heard chan struct{}
}

func (p deafPort) SendCommandComplete() { <-p.heard; p.fakeDelivery.SendCommandComplete() }

func TestAResetDoesNotWaitForAPeerThatTakesNoResponses(t *testing.T) {
	a, b := newNexus("a"), newNexus("b")
	g := newGate()
	lu := newUnit(t, &fakeDevice{rows: []Operation{row(0, 0, g.execute)}}, nil, a, b)
	running := issue(lu, a, 1, Simple, make([]byte, 6)...)
	g.wait(t)
	port := deafPort{newFakeDelivery(), make(chan struct{})}
	lu.Execute(&Command{Nexus: b, Attribute: Ordered, CDB: make([]byte, 6), Delivery: port}) // dormant
	if got := lu.Manage(LogicalUnitReset, a, 0); got != FunctionComplete {
		t.Errorf("response %d", got)
	}
	running.wait(t)
	close(port.heard)
	<-port.done
}

// TestNobodyWaitsBehindACommandThatHangs: what is ordered behind it is told that
// the unit is not ready, and what must be alone is refused; only a quiet unit waits.
func TestNobodyWaitsBehindACommandThatHangs(t *testing.T) {
	a, b := newNexus("a"), newNexus("b")
	g := newGate()
	d := &fakeDevice{rows: []Operation{row(0, 0, g.hang), row(1, Inline, good), row(2, Inline|WithoutMedium, good), row(3, Inline|WithoutMedium, good)}}
	d.rows[2].Order = Alone
	lu := newUnit(t, d, nil, a, b)
	lu.HangBound = time.Millisecond
	stuck := issue(lu, a, 1, Ordered, make([]byte, 6)...)
	g.wait(t)
	behind := issue(lu, b, 1, Simple, 1, 0, 0, 0, 0, 0)
	if behind.delivery.ended() {
		t.Fatal("a command overtook an ORDERED one")
	}
	if got := lu.Manage(AbortTask, a, 1); got != FunctionRejected {
		t.Fatal(got)
	}
	behind.wait(t)
	behind.wantSense(t, KeyNotReady, ASCLogicalUnitNotReadyOperationInProgress)
	do(t, lu, b, 2, 0, 0, 0, 0, 0).wantSense(t, KeyNotReady, ASCLogicalUnitNotReadyOperationInProgress)
	do(t, lu, b, 3, 0, 0, 0, 0, 0).wantStatus(t, Good)

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := lu.Quiesce(ctx); err == nil {
		t.Error("the unit is quiet while a command is in the store")
	}
	if lu.Manage(QueryTask, a, 1) != FunctionSucceeded {
		t.Error("the command that hangs is not in the task set")
	}
	g.leave <- nil
	stuck.wait(t)
	resume, err := lu.Quiesce(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	resume()
	do(t, lu, b, 2, 0, 0, 0, 0, 0).wantStatus(t, Good)
	if lu.tasks.count != 0 || len(lu.tasks.hanging) != 0 {
		t.Errorf("%d commands are left, %d hang", lu.tasks.count, len(lu.tasks.hanging))
	}
}

// deafDelivery waits for its peer where it may.
type deafDelivery struct {
	*fakeDelivery
	c *Command
}

func (d deafDelivery) SendCommandComplete() {
	if d.c.MayBlock {
		<-d.aborted // never: it has left the set before it could be told
	}
	d.fakeDelivery.SendCommandComplete()
}

// While LOGICAL UNIT RESET keeps everybody waiting it does not wait for the peer that
// asked for it.
func TestResetDoesNotWaitForPeer_SAM5_6_3_3(t *testing.T) {
	g := newGate()
	device := &fakeDevice{rows: []Operation{row(0x01, 0, g.execute)}}
	n, other := newNexus("deaf"), newNexus("other")
	lu := newUnit(t, device, nil, n, other)
	ordered := issue(lu, n, 1, Ordered, 0x01, 0, 0, 0, 0, 0)
	g.wait(t)
	c := &Command{Nexus: n, Tag: 2, CDB: CDB{0x01, 0, 0, 0, 0, 0}} // dormant behind it
	d := deafDelivery{newFakeDelivery(), c}
	c.Delivery = d
	lu.Execute(c)
	done := make(chan Response, 1)
	go func() { done <- lu.Manage(LogicalUnitReset, n, 0) }()
	select {
	case r := <-done:
		if r != FunctionComplete {
			t.Errorf("LOGICAL UNIT RESET: %v", r)
		}
	case <-time.After(patience):
		t.Fatal("LOGICAL UNIT RESET waits for its own peer")
	}
	ordered.wait(t)
	if !d.ended() || !c.Silent {
		t.Error("the dormant command has not ended in silence")
	}
}

// ABORT TASK of a command that has ended leaves alone another one that has its tag now.
func TestAbortTaskOfReusedTag_SAM5_7_2(t *testing.T) {
	gate, a := newGate(), newNexus("a")
	lu := newUnit(t, &fakeDevice{rows: []Operation{row(0, 0, gate.execute), row(1, Inline, good)}}, nil, a)
	ended := do(t, lu, a, 1, 0, 0, 0, 0, 0)
	running := issue(lu, a, ended.Tag, Simple, make([]byte, 6)...)
	gate.wait(t)
	if got := lu.AbortTask(ended.Command); got != FunctionComplete || running.Aborted() {
		t.Errorf("the response is %v, the command that has the tag now %v", got, fate(running))
	}
	got := lu.AbortTask(running.Command)
	running.wait(t)
	if got != FunctionComplete || fate(running) != "silent" {
		t.Errorf("the response is %v, the command %v", got, fate(running))
	}
}
