package scsi

import (
	"errors"
	"slices"
	"testing"
)

// A gatherer is a device whose operation 0 leaves its step to the gathering, and 1 does not.
type gatherer struct {
	fakeDevice
	batches [][]Tag
	answer  func(*Command) error
}

func (d *gatherer) Together(commands []Gathered) {
	var tags []Tag
	for i := range commands {
		c := commands[i].Command
		tags = append(tags, c.Tag)
		commands[i].Err = d.answer(c)
		c.DataIn = commands[i].Data
	}
	d.batches = append(d.batches, tags)
}

// gather makes a unit of d, whose operation gathers n bytes.
func gather(t *testing.T, d *gatherer, n int, nexus *Nexus) *LogicalUnit {
	t.Helper()
	if d.answer == nil {
		d.answer = func(*Command) error { return nil }
	}
	d.rows = []Operation{row(0, Inline, func(c *Command) error {
		if err := c.Gather(d, make([]byte, n), 0); err != nil {
			return err
		}
		return nil // alone, or where it may block
	}), row(1, Inline, good)}
	return newUnit(t, &d.fakeDevice, nil, nexus)
}

// issueTo is issue with a gathering.
func issueTo(g *Gathering, lu *LogicalUnit, n *Nexus, tag Tag, opcode byte) issued {
	d := newFakeDelivery()
	c := &Command{Nexus: n, Tag: tag, CDB: []byte{opcode, 0, 0, 0, 0, 0}, Delivery: d, Gathering: g}
	lu.Execute(c)
	return issued{c, d}
}

// Commands are gathered until End, in the order they came; what is not for the
// gathering passes.
func TestGathering(t *testing.T) {
	n, d, g := newNexus("a"), &gatherer{}, &Gathering{}
	lu := gather(t, d, 16, n)
	var commands []issued
	for tag := range Tag(5) {
		commands = append(commands, issueTo(g, lu, n, tag, 0))
	}
	issueTo(g, lu, n, 9, 1).wantStatus(t, Good)
	for _, c := range commands {
		if c.delivery.ended() {
			t.Fatalf("command %d has ended before End", c.Tag)
		}
	}
	g.End()
	for _, c := range commands {
		c.wantStatus(t, Good)
		if len(c.DataIn) != 16 {
			t.Errorf("command %d has %d bytes", c.Tag, len(c.DataIn))
		}
	}
	g.End() // empty
	if len(d.batches) != 1 || !slices.Equal(d.batches[0], []Tag{0, 1, 2, 3, 4}) {
		t.Errorf("gathered were %v", d.batches)
	}
	if lu.tasks.count != 0 {
		t.Errorf("%d commands are left in the set", lu.tasks.count)
	}
	other := &gatherer{}
	second := gather(t, other, 16, n)
	a, b := issueTo(g, lu, n, 1, 0), issueTo(g, second, n, 2, 0) // of another device: a batch of its own
	if !a.delivery.ended() || b.delivery.ended() {
		t.Error("commands of two devices were gathered together")
	}
	g.End()
	b.wantStatus(t, Good)
}

// A gathering is bounded in commands and in bytes.
func TestGathering_Bounds(t *testing.T) {
	n := newNexus("a")
	for bytes, most := range map[int]int{1: maxGathered, maxGatheredBytes / 4: 4, 2 * maxGatheredBytes: 1} {
		d, g := &gatherer{}, &Gathering{}
		lu := gather(t, d, bytes, n)
		for tag := range Tag(3 * most) {
			issueTo(g, lu, n, tag, 0)
		}
		g.End()
		if len(d.batches) != 3 || len(d.batches[0]) != most {
			t.Errorf("of %d bytes each: %v", bytes, d.batches)
		}
	}
}

// Each command ends with its own error, and one that would block goes on where it may.
func TestGathering_Errors(t *testing.T) {
	n, g := newNexus("a"), &Gathering{}
	d := &gatherer{answer: func(c *Command) error {
		switch c.Tag {
		case 1:
			return MediumError(ASCUnrecoveredReadError, 7)
		case 2:
			return ErrWouldBlock
		}
		return nil
	}}
	lu := gather(t, d, 16, n)
	var commands []issued
	for tag := range Tag(4) {
		commands = append(commands, issueTo(g, lu, n, tag, 0))
	}
	g.End()
	for i, want := range []Status{Good, CheckCondition, Good, Good} {
		commands[i].wait(t)
		commands[i].wantStatus(t, want)
	}
	if !commands[2].MayBlock {
		t.Error("the command that would block did not go on where it may")
	}
}

// A panic ends the commands it was about, and nothing else.
func TestGathering_Panic(t *testing.T) {
	n, g := newNexus("a"), &Gathering{}
	d := &gatherer{answer: func(*Command) error { panic(errors.New("a bug")) }}
	lu := gather(t, d, 16, n)
	lu.Report = func(error) {}
	a, b := issueTo(g, lu, n, 1, 0), issueTo(g, lu, n, 2, 0)
	g.End()
	a.wantStatus(t, CheckCondition)
	b.wantStatus(t, CheckCondition)
	issueTo(g, lu, n, 3, 1).wantStatus(t, Good)
}

// Who aborts a gathered command waits for End, and hears the truth.
func TestGathering_Abort(t *testing.T) {
	n, g := newNexus("a"), &Gathering{}
	d := &gatherer{answer: func(c *Command) error {
		if c.Aborted() {
			return ErrAborted
		}
		return nil
	}}
	lu := gather(t, d, 16, n)
	c := issueTo(g, lu, n, 1, 0)
	answer := make(chan Response)
	go func() { answer <- lu.Manage(AbortTask, n, 1) }()
	for !c.Aborted() {
		select {
		case r := <-answer:
			t.Fatalf("ABORT TASK was answered %v while the command was enabled", r)
		default:
		}
	}
	g.End()
	if r := <-answer; r != FunctionComplete || !c.Silent {
		t.Errorf("ABORT TASK: %v, silent %v", r, c.Silent)
	}
}
