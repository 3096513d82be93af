package protocol_test

import (
	"testing"
	"time"

	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/iscsi"
	"github.com/isantarget/isantarget/test/daemon"
)

// hold starts a write of x to LUN 0, block 0, that waits for its data.
func (p *peer) hold() *initiator.Task {
	p.t.Helper()
	w := write(0, fill('x', 1))
	w.ImmediateData, w.HoldData = new(0), true
	task := p.start(w)
	if err := task.WaitR2T(1); err != nil {
		p.t.Fatal(err)
	}
	return task
}

// gone demands that a task was not answered and is not, even when its data comes late.
func (p *peer) gone(tasks ...*initiator.Task) {
	p.t.Helper()
	for _, task := range tasks {
		for _, r := range task.R2Ts {
			if err := task.Answer(r); err != nil {
				p.t.Fatal(err)
			}
		}
	}
	if _, err := p.Ping(nil, true); err != nil {
		p.t.Fatal(err)
	}
	if err := p.Drain(20 * time.Millisecond); err != nil {
		p.t.Fatal(err)
	}
	for _, task := range tasks {
		if task.Done() {
			p.t.Errorf("an aborted command was answered with status %02x", task.Result.Status)
		}
		task.Forget()
	}
}

// wantAttention demands a unit attention with one of the codes as the next answer of LUN 0.
func (p *peer) wantAttention(codes ...uint16) {
	p.t.Helper()
	r := p.run(initiator.Command{CDB: testUnitReady()})
	key, code := r.SenseCode()
	for _, c := range codes {
		if r.Status == statusCheckCondition && key == senseUnitAttention && code == c {
			return
		}
	}
	p.t.Errorf("status %02x, sense %x %04x; want a unit attention of %04x", r.Status, key, code, codes)
}

// two sessions with a held write each, over a block of o.
func twoHolding(t *testing.T) (d *daemon.Daemon, one, two *peer, a, b *initiator.Task) {
	t.Helper()
	d = serve(t, standard)
	one = ready(t, d, normal(nil))
	two = ready(t, d, normal(func(l *initiator.Login) { l.InitiatorName = bob }))
	one.good(write(0, fill('o', 1)))
	return d, one, two, one.hold(), two.hold()
}

// ABORT TASK: complete, and the task does nothing afterwards (11.5.1, SAM-5 7.2).
func TestAbortTask_RFC7143_11_5_1(t *testing.T) {
	_, one, two, a, b := twoHolding(t)
	for range 3 {
		status, err := one.Abort(a)
		if err != nil || status != iscsi.FunctionComplete {
			t.Fatalf("ABORT TASK: %v, %v", status, err)
		}
		one.gone(a)
		one.wantBlock(0, 'o')
		a = one.hold()
	}
	if status, err := one.Abort(a); err != nil || status != iscsi.FunctionComplete {
		t.Fatalf("ABORT TASK: %v, %v", status, err)
	}
	one.gone(a)
	if err := b.Answer(b.R2Ts[0]); err != nil { // the other session's task lives
		t.Fatal(err)
	}
	two.wait(b)
	one.wantBlock(0, 'x')
}

// ABORT TASK of a task that is not there, is another LUN's, or another session's (11.6.1).
func TestAbortNoTask_RFC7143_11_6_1(t *testing.T) {
	_, one, two, a, b := twoHolding(t)
	past := one.Session.CmdSN - 100
	one.manage(iscsi.TaskDoesNotExist, iscsi.TaskManagementRequest{Function: iscsi.AbortTask, ReferencedTaskTag: 0x5555, RefCmdSN: past})
	one.manage(iscsi.TaskDoesNotExist, iscsi.TaskManagementRequest{Function: iscsi.AbortTask, LUN: initiator.LUN(1), ReferencedTaskTag: a.Tag, RefCmdSN: past})
	b2 := initiator.Command{CDB: read10(0, 1), Read: blockSize}
	two.good(b2)
	one.manage(iscsi.TaskDoesNotExist, iscsi.TaskManagementRequest{Function: iscsi.AbortTask, ReferencedTaskTag: b.Tag + 1000, RefCmdSN: past})
	for _, task := range []*initiator.Task{a, b} {
		if err := task.Answer(task.R2Ts[0]); err != nil {
			t.Fatal(err)
		}
	}
	one.wait(a)
	two.wait(b)
}

// ABORT TASK of a command that was never received closes the gap that its number
// leaves; when the command comes after all it is ignored (11.6.1 b, 4.2.2.1).
func TestAbortTaskNotReceived_RFC7143_11_6_1(t *testing.T) {
	d := serve(t, standard)
	p := ready(t, d, normal(nil))
	p.good(write(0, fill('o', 1)))
	lost := p.Session.CmdSN
	p.Session.CmdSN += 2
	waiting := p.start(initiator.Command{CDB: read10(0, 1), Read: blockSize, CmdSN: new(lost + 1)})
	p.manage(iscsi.FunctionComplete, iscsi.TaskManagementRequest{Function: iscsi.AbortTask, ReferencedTaskTag: 0x4444, RefCmdSN: lost})
	p.wait(waiting)
	w := write(0, fill('x', 1))
	w.CmdSN, w.Tag = &lost, new(uint32(0x4444))
	late := p.start(w)
	p.alive()
	if late.Done() {
		t.Error("an aborted number was answered")
	}
	late.Forget()
	p.wantBlock(0, 'o')
}

// ABORT TASK SET takes this session's tasks of the LUN, and nobody else's (SAM-5 7.3).
func TestAbortTaskSet_RFC7143_11_5_1(t *testing.T) {
	_, one, two, a, b := twoHolding(t)
	a2 := one.hold()
	w := initiator.Command{LUN: initiator.LUN(1), CDB: write10(0, 1), Write: fill('y', 1), ImmediateData: new(0), HoldData: true}
	elsewhere := one.start(w)
	if err := elsewhere.WaitR2T(1); err != nil {
		t.Fatal(err)
	}
	one.manage(iscsi.FunctionComplete, iscsi.TaskManagementRequest{Function: iscsi.AbortTaskSet})
	one.gone(a, a2)
	one.wantBlock(0, 'o')
	for p, task := range map[*peer]*initiator.Task{two: b, one: elsewhere} {
		if err := task.Answer(task.R2Ts[0]); err != nil {
			t.Fatal(err)
		}
		p.wait(task)
	}
	one.wantBlock(0, 'x')
}

// told demands that a task of another nexus was aborted as the TAS bit of the control
// mode page says: with TASK ABORTED once its data is over, or in silence and with a
// unit attention (SAM-5 5.3.1, 5.6.4; RFC 7143 4.2.3.3).
func (p *peer) told(task *initiator.Task, attention ...uint16) {
	p.t.Helper()
	page := p.modePage(0x0a)
	if tas := page[5]&0x40 != 0; !tas {
		p.gone(task)
		if len(attention) > 0 {
			p.wantAttention(attention...)
		}
		return
	}
	if err := task.Answer(task.R2Ts[0]); err != nil {
		p.t.Fatal(err)
	}
	if r, err := task.Wait(); err != nil || r.Status != statusTaskAborted {
		p.t.Errorf("%+v, %v, want TASK ABORTED", r, err)
	}
}

// modePage reads a mode page of LUN 1, whose unit attentions play no part here.
func (p *peer) modePage(code byte) []byte {
	p.t.Helper()
	for range 4 {
		r := p.run(initiator.Command{LUN: initiator.LUN(1), CDB: []byte{0x1a, 0x08, code, 0, 252, 0}, Read: 252})
		if r.Status == statusGood && len(r.Data) > 10 {
			return r.Data[4:]
		}
	}
	p.t.Fatalf("no mode page %02x", code)
	return nil
}

// CLEAR TASK SET takes everybody's; the others hear of it (SAM-5 7.5).
func TestClearTaskSet_RFC7143_11_5_1(t *testing.T) {
	_, one, two, a, b := twoHolding(t)
	one.manage(iscsi.FunctionComplete, iscsi.TaskManagementRequest{Function: iscsi.ClearTaskSet})
	one.gone(a)
	two.told(b, 0x2f00) // COMMANDS CLEARED BY ANOTHER INITIATOR
	one.wantBlock(0, 'o')
	two.wantBlock(0, 'o')
}

// LOGICAL UNIT RESET takes everybody's tasks; all hear of it (SAM-5 7.7).
func TestLogicalUnitReset_RFC7143_11_5_1(t *testing.T) {
	_, one, two, a, b := twoHolding(t)
	one.manage(iscsi.FunctionComplete, iscsi.TaskManagementRequest{Function: iscsi.LogicalUnitReset})
	one.gone(a)
	two.told(b)
	for _, p := range []*peer{one, two} {
		p.wantAttention(0x2903) // BUS DEVICE RESET FUNCTION OCCURRED
	}
	one.wantBlock(0, 'o')
	two.wantBlock(0, 'o')
}

// TARGET WARM RESET resets every LUN and keeps the sessions (11.5.1).
func TestTargetWarmReset_RFC7143_11_5_1(t *testing.T) {
	_, one, two, a, b := twoHolding(t)
	one.manage(iscsi.FunctionComplete, iscsi.TaskManagementRequest{Function: iscsi.TargetWarmReset})
	one.gone(a)
	two.told(b)
	one.settle()
	two.settle()
	one.wantBlock(0, 'o')
}

// TARGET COLD RESET ends every session too (11.5.1).
func TestTargetColdReset_RFC7143_11_5_1(t *testing.T) {
	d, one, two, _, _ := twoHolding(t)
	status, err := one.Manage(iscsi.TaskManagementRequest{Immediate: true, Function: iscsi.TargetColdReset})
	if err == nil && status != iscsi.FunctionComplete || err != nil && !initiator.IsClosed(err) {
		t.Fatalf("%v, %v", status, err)
	}
	one.closed()
	two.closed()
	ready(t, d, normal(nil)).wantBlock(0, 'o')
}

// What the target does not have it says so: no lie is COMPLETE (11.6.1).
func TestTaskManagementAnswers_RFC7143_11_6_1(t *testing.T) {
	_, one, two, a, b := twoHolding(t)
	for _, f := range []iscsi.TaskManagementFunction{iscsi.AbortTaskSet, iscsi.ClearTaskSet, iscsi.LogicalUnitReset} {
		one.manage(iscsi.LUNDoesNotExist, iscsi.TaskManagementRequest{Function: f, LUN: initiator.LUN(99)})
	}
	one.manage(iscsi.ReassignmentNotSupported, iscsi.TaskManagementRequest{Function: iscsi.TaskReassign, ReferencedTaskTag: a.Tag})
	one.manage(iscsi.FunctionNotSupported, iscsi.TaskManagementRequest{Function: 0})
	one.manage(iscsi.FunctionNotSupported, iscsi.TaskManagementRequest{Function: 13})
	one.manage(iscsi.FunctionNotSupported, iscsi.TaskManagementRequest{Function: 127})
	// QUERY TASK and QUERY TASK SET tell whether there is one (RFC 7144).
	one.manage(iscsi.FunctionSucceeded, iscsi.TaskManagementRequest{Function: iscsi.QueryTask, ReferencedTaskTag: a.Tag, RefCmdSN: a.CmdSN})
	one.manage(iscsi.FunctionComplete, iscsi.TaskManagementRequest{Function: iscsi.QueryTask, ReferencedTaskTag: 0x5555, RefCmdSN: a.CmdSN})
	one.manage(iscsi.FunctionSucceeded, iscsi.TaskManagementRequest{Function: iscsi.QueryTaskSet})
	one.manage(iscsi.FunctionComplete, iscsi.TaskManagementRequest{Function: iscsi.QueryTaskSet, LUN: initiator.LUN(1)})
	for p, task := range map[*peer]*initiator.Task{one: a, two: b} {
		if err := task.Answer(task.R2Ts[0]); err != nil {
			t.Fatal(err)
		}
		p.wait(task)
	}
	one.manage(iscsi.FunctionComplete, iscsi.TaskManagementRequest{Function: iscsi.QueryTaskSet})
}

// Over a second connection a task of the first is aborted too (11.5).
func TestAbortOverAnotherConnection_RFC7143_11_5(t *testing.T) {
	d := serve(t, standard)
	p := ready(t, d, offer("MaxConnections=2"))
	c := p.join(d, 1, initiator.Login{})
	p.good(write(0, fill('o', 1)))
	held := p.hold()
	status, err := c.Abort(held)
	if err != nil || status != iscsi.FunctionComplete {
		t.Fatalf("%v, %v", status, err)
	}
	p.gone(held)
	p.wantBlock(0, 'o')
	c.alive()
}

// Many at once, in every state: after COMPLETE nothing of them acts (11.5.1).
func TestAbortMany_RFC7143_11_5_1(t *testing.T) {
	d := serve(t, standard)
	p := ready(t, d, offer("InitialR2T=No", "ImmediateData=Yes", "FirstBurstLength=65536"))
	for range 10 {
		p.good(write(0, fill('o', 32)))
		var tasks []*initiator.Task
		for i := range uint32(32) {
			w := write(i, fill('x', 1))
			if i%2 == 0 {
				w.ImmediateData, w.UnsolicitedData, w.HoldData = new(0), new(0), true
			}
			if i%3 == 0 {
				w.Attribute = iscsi.AttributeOrdered
			}
			tasks = append(tasks, p.start(w))
		}
		p.manage(iscsi.FunctionComplete, iscsi.TaskManagementRequest{Function: iscsi.AbortTaskSet})
		before := p.good(initiator.Command{CDB: read10(0, 32), Read: 32 * blockSize}).Data
		for i, task := range tasks {
			if i%2 == 0 && task.Done() {
				t.Errorf("write %d had no data and ended with %02x", i, task.Result.Status)
			}
			for _, r := range task.R2Ts {
				if err := task.Answer(r); err != nil {
					t.Fatal(err)
				}
			}
		}
		p.alive()
		after := p.good(initiator.Command{CDB: read10(0, 32), Read: 32 * blockSize}).Data
		if string(before) != string(after) {
			t.Error("an aborted write landed after the answer")
		}
		for _, task := range tasks {
			task.Forget()
		}
	}
}

// A function that is not immediate takes its turn: what comes before it in CmdSN is
// affected, even when it arrives later, and what comes after is not (4.2.2.1, 11.5).
func TestTaskManagementInOrder_RFC7143_4_2_2_1(t *testing.T) {
	d := serve(t, standard)
	p := ready(t, d, normal(nil))
	p.good(write(0, fill('o', 2)))
	sn := p.Session.CmdSN
	p.Session.CmdSN = sn + 1
	function, err := p.StartManage(iscsi.TaskManagementRequest{Function: iscsi.AbortTaskSet}) // number sn+1
	if err != nil {
		t.Fatal(err)
	}
	after := write(1, fill('a', 1))
	after.CmdSN = new(sn + 2)
	p.Session.CmdSN = sn + 3
	later := p.start(after)
	if err := p.Drain(20 * time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if function.Done() || later.Done() {
		t.Error("a function or command ran before its turn")
	}
	before := write(0, fill('x', 1))
	before.CmdSN, before.ImmediateData, before.HoldData = &sn, new(0), true
	aborted := p.start(before)
	if status, err := function.WaitManage(); err != nil || status != iscsi.FunctionComplete {
		t.Fatalf("%v, %v", status, err)
	}
	p.wait(later)
	p.gone(aborted)
	p.wantBlock(0, 'o')
	p.wantBlock(1, 'a')
}

// A command that has arrived and waits for one before it is affected as well: after
// COMPLETE it does not act when its turn comes (11.5.1, 11.6.1, 4.2.2.1).
func TestAbortOfWaiting_RFC7143_11_6_1(t *testing.T) {
	d := serve(t, standard)
	for _, f := range []iscsi.TaskManagementFunction{iscsi.AbortTask, iscsi.AbortTaskSet, iscsi.ClearTaskSet, iscsi.LogicalUnitReset, iscsi.TargetWarmReset} {
		t.Run(f.String(), func(t *testing.T) {
			p := ready(t, d, normal(nil))
			p.good(write(0, fill('o', 1)))
			sn := p.Session.CmdSN
			early := write(0, fill('x', 1))
			early.CmdSN = new(sn + 1)
			p.Session.CmdSN = sn + 2
			waiting := p.start(early)
			if _, err := p.Ping(nil, true); err != nil {
				t.Fatal(err)
			}
			p.manage(iscsi.FunctionComplete, iscsi.TaskManagementRequest{Function: f, ReferencedTaskTag: waiting.Tag, RefCmdSN: sn + 1})
			missing := p.start(initiator.Command{CDB: testUnitReady(), CmdSN: &sn})
			if _, err := missing.Wait(); err != nil { // or a unit attention, after a reset
				t.Fatal(err)
			}
			p.alive()
			if waiting.Done() {
				t.Errorf("the aborted write was answered with status %02x", waiting.Result.Status)
			}
			waiting.Forget()
			p.wantBlock(0, 'o')
		})
	}
}

// What comes after a function in CmdSN is not affected by it, however close it follows:
// it is executed and answered (4.2.2.1, 11.5.1).
func TestCommandsBehindFunction_RFC7143_11_5_1(t *testing.T) {
	d := serve(t, standard)
	p := ready(t, d, normal(nil))
	for i := range 300 {
		f := []iscsi.TaskManagementFunction{iscsi.AbortTaskSet, iscsi.ClearTaskSet, iscsi.LogicalUnitReset, iscsi.AbortTask}[i%4]
		held := p.hold()
		function, err := p.StartManage(iscsi.TaskManagementRequest{Immediate: i%8 < 4, Function: f, ReferencedTaskTag: held.Tag, RefCmdSN: held.CmdSN})
		if err != nil {
			t.Fatal(err)
		}
		var behind []*initiator.Task
		for n := range uint32(4) {
			w := write(100+n, fill(byte(i), 1))
			if n == 3 {
				w.ImmediateData = new(0)
			}
			behind = append(behind, p.start(w))
		}
		if status, err := function.WaitManage(); err != nil || status != iscsi.FunctionComplete {
			t.Fatalf("%v: %v, %v", f, status, err)
		}
		held.Forget()
		for n, task := range behind {
			if r, err := task.Wait(); err != nil || r.Status != statusGood && (f != iscsi.LogicalUnitReset || r.Status != statusCheckCondition) {
				t.Fatalf("round %d: command %d behind %v: %+v, %v", i, n, f, r, err)
			}
		}
		p.settle()
	}
}
