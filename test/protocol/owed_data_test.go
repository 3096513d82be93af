package protocol_test

import (
	"bytes"
	"testing"

	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/iscsi"
)

// owes starts a command of p whose data is not sent, and waits until it is asked for.
func owes(p *peer, c initiator.Command) *initiator.Task {
	p.t.Helper()
	c.HoldData = true
	task := p.start(c)
	if err := task.WaitR2T(1); err != nil {
		p.t.Fatal(err)
	}
	return task
}

// pay sends what was held back, and returns how the command ends.
func pay(t *testing.T, task *initiator.Task) *initiator.Result {
	t.Helper()
	for _, r := range task.R2Ts {
		if err := task.Answer(r); err != nil {
			t.Fatal(err)
		}
	}
	r, err := task.Wait()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func compareAndWrite(lba byte, old, new []byte) initiator.Command {
	return initiator.Command{CDB: []byte{0x89, 0, 0, 0, 0, 0, 0, 0, 0, lba, 0, 0, 0, 1, 0, 0}, Write: append(bytes.Clone(old), new...)}
}

func named(name string, keys ...string) initiator.Login {
	l := offer(keys...)
	l.InitiatorName = name
	return l
}

// An initiator that owes the data of an ORDERED, an exclusive or any other command
// holds up itself, and nobody else, however its commands are ordered. When its data has
// come the order is what it would be had the command come then.
func TestOwedDataHoldsUpNobodyElse_SAM5_8_6(t *testing.T) {
	d := serve(t, standard)
	asked := []string{"InitialR2T=Yes", "ImmediateData=No"}
	a := ready(t, d, named(alice, asked...))
	c := ready(t, d, named("iqn.2026-11.org.isantarget.test:carol", asked...))
	b := ready(t, d, named(bob))
	b.good(write(0, fill('0', 128)))

	plain := owes(a, write(0, fill('p', 8)))
	ordered := write(8, fill('o', 8))
	ordered.Attribute = iscsi.AttributeOrdered
	behind := a.start(ordered) // waits for the one before it, and for nobody's data yet
	first := write(16, fill('f', 8))
	first.Attribute = iscsi.AttributeOrdered
	barrier := owes(c, first)
	exclusive := ready(t, d, named("iqn.2026-11.org.isantarget.test:dave", asked...))
	swap := owes(exclusive, compareAndWrite(100, fill('0', 1), fill('x', 1)))

	for _, attribute := range []uint8{iscsi.AttributeSimple, iscsi.AttributeOrdered, iscsi.AttributeHeadOfQueue} {
		for _, lba := range []uint32{0, 8, 16, 32} {
			w := write(lba, fill('b', 8))
			w.Attribute = attribute
			b.good(w)
		}
		w := compareAndWrite(100, b.block(100), fill(attribute, 1))
		w.Attribute = attribute
		b.good(w)
	}
	b.good(initiator.Command{CDB: []byte{0x16, 0, 0, 0, 0, 0}}) // RESERVE (6), which is alone in the task set
	b.good(initiator.Command{CDB: []byte{0x17, 0, 0, 0, 0, 0}})
	b.wantBlock(0, 'b')

	// The data comes: each command is carried out after those that passed it.
	if r := pay(t, swap); r.Status != statusCheckCondition {
		t.Errorf("COMPARE AND WRITE of what another initiator has changed before its data came: status %02x", r.Status)
	}
	if r := pay(t, barrier); r.Status != statusGood {
		t.Errorf("the ORDERED write: status %02x, sense %x", r.Status, r.Sense)
	}
	b.wantBlock(16, 'f')
	if r := pay(t, plain); r.Status != statusGood {
		t.Errorf("the SIMPLE write: status %02x, sense %x", r.Status, r.Sense)
	}
	a.wait(behind)
	b.wantBlock(0, 'p')
	b.wantBlock(8, 'o')
	b.wantBlock(100, iscsi.AttributeHeadOfQueue)
}

// What came before the data of a command, and changes what it is let in by, is heeded:
// the reservation of another initiator was made while the data was owed.
func TestOwedDataMeetsReservation_SAM5_8_6(t *testing.T) {
	d := serve(t, standard)
	a := ready(t, d, named(alice, "InitialR2T=Yes", "ImmediateData=No"))
	b := ready(t, d, named(bob))
	task := owes(a, write(0, fill('a', 8)))
	b.good(initiator.Command{CDB: []byte{0x16, 0, 0, 0, 0, 0}})
	b.good(write(0, fill('b', 8)))
	const reservationConflict = 0x18
	if r := pay(t, task); r.Status != reservationConflict {
		t.Errorf("the write ends with status %02x", r.Status)
	}
	b.wantBlock(0, 'b')
	b.good(initiator.Command{CDB: []byte{0x17, 0, 0, 0, 0, 0}})
	a.good(write(0, fill('a', 8)))
}
