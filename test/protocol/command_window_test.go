package protocol_test

import (
	"errors"
	"testing"
	"time"

	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/iscsi"
)

// Commands run in the order of CmdSN, not of arrival: of two writes to one block the
// one with the higher number is seen after (4.2.2.1).
func TestCmdSNOrder_RFC7143_4_2_2_1(t *testing.T) {
	d := serve(t, standard)
	p := ready(t, d, offer("ImmediateData=Yes"))
	for round := range 20 {
		sn := p.Session.CmdSN
		var tasks []*initiator.Task
		for _, ahead := range []uint32{3, 1, 2, 0} {
			w := write(9, fill(byte(10*round)+byte(ahead), 1))
			w.CmdSN = new(sn + ahead)
			w.Attribute = iscsi.AttributeOrdered
			tasks = append(tasks, p.start(w))
		}
		p.Session.CmdSN = sn + 4
		for _, task := range tasks {
			p.wait(task)
		}
		p.wantBlock(9, byte(10*round)+3)
	}
}

// A command that came early waits for the missing one, while immediate ones pass (4.2.2.1).
func TestCmdSNHole_RFC7143_4_2_2_1(t *testing.T) {
	d := serve(t, standard)
	p := ready(t, d, normal(nil))
	sn := p.Session.CmdSN
	p.Session.CmdSN += 2
	early := p.start(initiator.Command{CDB: read10(0, 1), Read: blockSize, CmdSN: new(sn + 1)})
	p.Session.CmdSN = sn
	if got, err := p.Ping([]byte("now"), true); err != nil || string(got) != "now" {
		t.Fatalf("an immediate ping: %q, %v", got, err)
	}
	p.good(initiator.Command{CDB: testUnitReady(), Immediate: true})
	if err := p.Drain(30 * time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if early.Done() {
		t.Error("a command ran before the one that CmdSN puts ahead of it")
	}
	if p.Session.ExpCmdSN != sn {
		t.Errorf("ExpCmdSN is %d, %d is missing", p.Session.ExpCmdSN, sn)
	}
	missing := p.start(initiator.Command{CDB: testUnitReady(), CmdSN: new(sn)})
	p.Session.CmdSN = sn + 2
	p.wait(missing)
	p.wait(early)
	p.alive()
}

// A number that was used already is ignored, without an answer (4.2.2.1).
func TestCmdSNDuplicate_RFC7143_4_2_2_1(t *testing.T) {
	d := serve(t, standard)
	p := ready(t, d, normal(nil))
	p.good(write(0, fill('o', 1)))
	for _, back := range []uint32{1, 2, 1000, 1 << 30} {
		w := write(0, fill('x', 1))
		w.CmdSN = new(p.Session.CmdSN - back)
		task := p.start(w)
		p.alive()
		if err := p.Drain(10 * time.Millisecond); err != nil {
			t.Fatal(err)
		}
		if task.Done() {
			t.Errorf("CmdSN %d back was answered", back)
		}
		task.Forget()
	}
	p.wantBlock(0, 'o')
}

// What lies beyond MaxCmdSN is ignored (4.2.2.1), and the window opens again as
// commands end.
func TestCmdSNWindow_RFC7143_4_2_2_1(t *testing.T) {
	d := serve(t, "[limits]\ncommand-window = 16\n"+standard)
	p := ready(t, d, offer("ImmediateData=No"))
	if width := p.Session.MaxCmdSN - p.Session.ExpCmdSN + 1; width != 16 {
		t.Errorf("the idle window has %d numbers, 16 were configured", width)
	}
	p.good(write(0, fill('o', 1)))
	var held []*initiator.Task
	for range 16 {
		w := write(1, fill('h', 1))
		w.HoldData = true
		held = append(held, p.start(w))
	}
	for _, task := range held {
		if err := task.WaitR2T(1); err != nil {
			t.Fatal(err)
		}
	}
	if p.Session.MaxCmdSN+1 != p.Session.CmdSN {
		t.Errorf("16 commands are open, MaxCmdSN is %d, the next CmdSN %d", p.Session.MaxCmdSN, p.Session.CmdSN)
	}
	beyond := write(0, fill('x', 1))
	beyond.IgnoreWindow, beyond.CmdSN = true, new(p.Session.CmdSN)
	ignored := p.start(beyond)
	far := initiator.Command{CDB: testUnitReady(), IgnoreWindow: true, CmdSN: new(p.Session.CmdSN + 1000)}
	ignoredToo := p.start(far)
	if _, err := p.Ping(nil, true); err != nil {
		t.Fatal(err)
	}
	for _, task := range held {
		if err := task.Answer(task.R2Ts[0]); err != nil {
			t.Fatal(err)
		}
	}
	for _, task := range held {
		p.wait(task)
	}
	if ignored.Done() || ignoredToo.Done() {
		t.Error("a command beyond MaxCmdSN was answered")
	}
	ignored.Forget()
	ignoredToo.Forget()
	p.wantBlock(0, 'o')
	for range 40 {
		p.good(initiator.Command{CDB: testUnitReady()})
	}
}

// The numbers wrap (4.2.2.1, RFC 1982).
func TestCmdSNWraps_RFC7143_4_2_2_1(t *testing.T) {
	d := serve(t, standard)
	for _, first := range []uint32{0xffffffff, 0xfffffff0, 0x7ffffff8, 0} {
		p := ready(t, d, normal(func(l *initiator.Login) { l.CmdSN, l.ExpStatSN = first, 0xfffffffa }))
		for i := range byte(40) {
			p.good(write(3, fill(i, 1)))
			p.wantBlock(3, i)
		}
		if p.ExpStatSN > 0x10000 {
			t.Errorf("ExpStatSN %d has not wrapped", p.ExpStatSN)
		}
	}
}

// Immediate commands take no number; too many at once are rejected, not queued
// without bound (11.2.1.1, 11.17.1).
func TestImmediateCommands_RFC7143_11_2_1_1(t *testing.T) {
	d := serve(t, standard)
	p := ready(t, d, offer("ImmediateData=No"))
	sn := p.Session.CmdSN
	var held []*initiator.Task
	for range 100 {
		w := write(1, fill('h', 1))
		w.HoldData, w.Immediate = true, true
		held = append(held, p.start(w))
	}
	rejected := 0
	for _, task := range held {
		switch err := task.WaitR2T(1); {
		case err == nil:
			if err := task.Answer(task.R2Ts[0]); err != nil {
				t.Fatal(err)
			}
		case task.Reject != nil && task.Reject.Reason == iscsi.RejectTooManyImmediate:
			rejected++
		default:
			t.Fatal(err)
		}
	}
	for _, task := range held {
		if _, err := task.Wait(); err != nil && !errors.Is(err, initiator.ErrRejected) {
			t.Fatal(err)
		}
	}
	if rejected == 0 {
		t.Error("100 immediate commands at once, and none was rejected")
	}
	if p.Session.CmdSN != sn || p.Session.ExpCmdSN != sn {
		t.Errorf("immediate commands moved CmdSN to %d, ExpCmdSN to %d", p.Session.CmdSN, p.Session.ExpCmdSN)
	}
	p.alive()
}

// A task tag in use is not given to a second task (11.2.1.8).
func TestTaskTagInUse_RFC7143_11_2_1_8(t *testing.T) {
	d := serve(t, standard)
	bystander(t, d)
	p := ready(t, d, offer("ImmediateData=No"))
	p.good(write(0, fill('o', 1)))
	w := write(0, fill('x', 1))
	w.HoldData = true
	held := p.start(w)
	if err := held.WaitR2T(1); err != nil {
		t.Fatal(err)
	}
	again := initiator.Command{CDB: read10(0, 1), Read: blockSize, Tag: &held.Tag}
	_, err := p.Execute(again)
	if !errors.Is(err, initiator.ErrRejected) && !initiator.IsClosed(err) {
		t.Errorf("%v", err)
	}
	ready(t, d, normal(nil)).wantBlock(0, 'o')
}
