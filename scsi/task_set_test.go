package scsi

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// extentRow is a row with an extent: byte 1 is its first block, byte 2 their number.
func extentRow(opcode byte, order Order, traits Traits, execute func(*Command) error) Operation {
	op := row(opcode, traits, execute)
	op.Order = order
	op.Usage[1] = 0xff
	op.Extent = func(c CDB) Extent { return Extent{uint64(c.Byte(1)), uint64(c.Byte(2))} }
	return op
}

// The reference model of a task set: pairwise, slow, and in the words of SAM-5 8.6
// and of the ordering classes. A command is enabled once nothing blocks it.

// modelBlocks tells whether x blocks c, which is dormant; older says that x entered before c.
// What yields is nothing to other nexuses; what has passed c is as if it were older.
func modelBlocks(c, x *Command, older bool) bool {
	if other := x.Nexus != c.Nexus; other && x.yields {
		return false
	} else if other && x.state == enabled {
		older = true
	}
	switch c.Attribute {
	case HeadOfQueue:
		return (x.state == enabled || x.Attribute == HeadOfQueue && older) && modelConflict(c, x)
	case Ordered:
		return x.Attribute == HeadOfQueue || older
	}
	return x.Attribute == HeadOfQueue || older && (x.Attribute == Ordered || modelConflict(c, x))
}

func modelConflict(a, b *Command) bool {
	if a.bystander || b.bystander {
		return false
	}
	if a.order == Alone || b.order == Alone {
		return true
	}
	if a.order != ExclusiveExtent && b.order != ExclusiveExtent {
		return false
	}
	for block := 0; block < 512; block++ {
		in := func(c *Command) bool {
			lba, n := int(c.CDB[1]), int(c.CDB[2])
			return block >= lba && block < lba+n
		}
		if in(a) && in(b) {
			return true
		}
	}
	return false
}

// modelSettle enables in set, which is by age, what is not blocked.
func modelSettle(set []*Command, states []taskState, held bool) {
	if held {
		return
	}
	for again := true; again; {
		again = false
		for i, c := range set {
			if states[i] != dormant {
				continue
			}
			blocked := false
			for j, x := range set {
				y := likeness(x, states[j])
				y.yields = x.owes || states[j] == dormant && x.returned == nil && slices.ContainsFunc(set[:j], func(z *Command) bool { return z.owes && z.Nexus == x.Nexus })
				blocked = blocked || i != j && modelBlocks(c, y, j < i)
			}
			if !blocked {
				states[i], again = enabled, true
			}
		}
	}
}

// likeness is x in the model's state.
func likeness(x *Command, s taskState) *Command {
	y := &Command{Attribute: x.Attribute, CDB: x.CDB, Nexus: x.Nexus}
	y.order, y.bystander, y.state = x.order, x.bystander, s
	return y
}

func TestTaskSetAgainstModel_SAM5_8(t *testing.T) {
	rows := []Operation{
		extentRow(0, Free, 0, good), extentRow(1, ExclusiveExtent, 0, good), row(2, 0, good), row(3, KeepsAttentions, good),
	}
	rows[2].Order = Alone
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 2))
		// From many kinds of commands to nearly only plain ones.
		rare := 1 + r.IntN(10)
		s := &taskSet{limit: 1000}
		var set []*Command
		var states []taskState
		held := 0
		nexuses := []*Nexus{newNexus("a"), newNexus("b"), newNexus("c")}
		check := func(step int, what string, started []*Command, before []taskState) {
			t.Helper()
			var want []*Command
			for i, c := range set {
				if c.state != states[i] {
					t.Fatalf("seed %d, step %d, %s: command %d of %d (%v, order %d) is in state %d, want %d", seed, step, what, i, len(set), c.Attribute, c.order, c.state, states[i])
				}
				if before[i] == dormant && states[i] == enabled {
					want = append(want, c)
				}
			}
			if !slices.Equal(started, want) {
				t.Fatalf("seed %d, step %d, %s: %d commands are to be started, want %d", seed, step, what, len(started), len(want))
			}
		}
		for step := range 150 {
			switch k := r.IntN(26); {
			case k >= 20 && seed%2 == 0:
				continue // half of the runs: all data come with their commands
			case k >= 20:
				i := slices.IndexFunc(set, func(c *Command) bool { return c.owes })
				if n := r.IntN(len(set) + 1); n < len(set) && states[n] == enabled {
					i = n
				}
				if i < 0 {
					continue
				}
				c := set[i]
				before := slices.Clone(states)
				var start *Command
				s.mu.Lock()
				if c.owes {
					// What it does next is to wait until it is enabled again.
					quick := s.barriers == 0 && held == 0
					if !quick {
						before[i], states[i] = dormant, dormant
					}
					c.owes, c.returned = false, make(chan struct{})
					modelSettle(set, states, held > 0)
					c.owes, c.returned = true, nil
					start, _ = s.stepForward(c)
					s.mu.Unlock()
					check(step, "step forward", chainOf(start), before)
					continue
				}
				c.owes = true
				modelSettle(set, states, held > 0)
				c.owes = false
				start = s.stepBack(c)
				s.mu.Unlock()
				check(step, "step back", chainOf(start), before)
			case k < 11 && len(set) < 30:
				c := &Command{CDB: CDB{0, byte(r.IntN(12)), byte(r.IntN(4)), 0, 0, 0}}
				if r.IntN(rare) == 0 {
					c.CDB[0] = byte(r.IntN(4))
					c.Attribute = TaskAttribute(r.IntN(3))
				}
				c.Nexus = nexuses[r.IntN(len(nexuses))]
				c.operation = &rows[c.CDB[0]]
				c.order = c.operation.Order
				c.bystander = c.CDB[0] == 3
				set, states = append(set, c), append(states, dormant)
				before := slices.Clone(states)
				modelSettle(set, states, held > 0)
				started, full := s.enter(c)
				if full {
					t.Fatal("full")
				}
				var chain []*Command
				if started {
					chain = []*Command{c}
				}
				check(step, "enter", chain, before)
			case k < 18:
				i := slices.IndexFunc(states, func(s taskState) bool { return s == enabled })
				if i < 0 {
					continue
				}
				// Any enabled command may end; now and then a dormant one is aborted.
				for range r.IntN(5) {
					if j := r.IntN(len(set)); states[j] == enabled || r.IntN(4) == 0 {
						i = j
					}
				}
				c := set[i]
				set, states = slices.Delete(set, i, i+1), slices.Delete(states, i, i+1)
				before := slices.Clone(states)
				modelSettle(set, states, held > 0)
				left := s.leave(c)
				if !left.complete || c.state != outside {
					t.Fatal("a command that nobody pins is not complete")
				}
				check(step, "leave", chainOf(left.start), before)
			case k == 18 && held < 2:
				held++
				s.hold()
			case held > 0:
				held--
				before := slices.Clone(states)
				modelSettle(set, states, held > 0)
				s.mu.Lock()
				s.holds--
				start := s.sweep()
				s.mu.Unlock()
				check(step, "release", chainOf(start), before)
			}
		}
		for len(set) > 0 {
			s.leave(set[0])
			set = set[1:]
		}
		if s.head != nil || s.tail != nil || s.count+s.dormant+s.heads+s.dormantHeads+s.barriers+s.owing != 0 {
			t.Fatalf("seed %d: an empty set still counts: %+v", seed, s)
		}
	}
}

func chainOf(start *Command) (chain []*Command) {
	for start != nil {
		next := start.start
		chain, start.start, start = append(chain, start), nil, next
	}
	return chain
}

// awaitData waits for Data-Out as a Delivery does, in one of so many commands.
func awaitData(c *Command, oneOf int) error {
	if rand.IntN(oneOf) > 0 || c.Delivery.(*fakeDelivery).asked {
		return nil
	}
	if !c.MayBlock {
		return ErrWouldBlock
	}
	c.Delivery.(*fakeDelivery).asked = true
	c.StepBack()
	select {
	case <-c.Delivery.(*fakeDelivery).aborted:
		return ErrAborted
	case <-time.After(time.Duration(rand.IntN(300)) * time.Microsecond):
	}
	return c.StepForward()
}

// TestTaskSetUnderLoad runs commands of every kind from several nexuses at once
// and checks, from inside the operations, that nothing runs together that must not.
func TestTaskSetUnderLoad(t *testing.T) {
	var (
		blocks  [16]atomic.Int32 // running commands that touch the block
		writers [16]atomic.Int32 // exclusive ones
		running atomic.Int32
		alone   atomic.Int32
		fault   atomic.Pointer[string]
	)
	complain := func(format string, a ...any) {
		s := fmt.Sprintf(format, a...)
		fault.CompareAndSwap(nil, &s)
	}
	work := func(c *Command) error {
		if err := awaitData(c, 30); err != nil {
			return err
		}
		if running.Add(1) > 1 && c.operation.Order == Alone || alone.Load() > 0 {
			complain("%s runs beside a command that must be alone", c.operation.Name)
		}
		defer running.Add(-1)
		e := c.Extent()
		for b := e.LBA; b < e.LBA+e.Blocks; b++ {
			n := blocks[b].Add(1)
			defer blocks[b].Add(-1)
			if c.operation.Order == ExclusiveExtent {
				writers[b].Add(1)
				defer writers[b].Add(-1)
				if n > 1 {
					complain("an exclusive extent is shared")
				}
			} else if writers[b].Load() > 0 {
				complain("block %d is touched beside an exclusive extent", b)
			}
		}
		if c.operation.Order == Alone {
			alone.Add(1)
			defer alone.Add(-1)
		}
		for range rand.IntN(200) {
			_ = rand.IntN(3)
		}
		return nil
	}
	d := &fakeDevice{rows: []Operation{
		extentRow(0, Free, Inline, work), extentRow(1, Free, 0, work), extentRow(2, ExclusiveExtent, 0, work), row(3, Inline, work),
	}}
	d.rows[3].Order = Alone
	nexuses := []*Nexus{newNexus("a"), newNexus("b"), newNexus("c")}
	lu := newUnit(t, d, nil, nexuses...)
	var wg sync.WaitGroup
	for _, n := range nexuses {
		wg.Go(func() {
			var issuedHere []issued
			for i := range 1000 {
				attribute := Simple
				if rand.IntN(20) == 0 {
					attribute = TaskAttribute(rand.IntN(3))
				}
				opcode := byte(rand.IntN(3))
				if rand.IntN(50) == 0 {
					opcode = 3
				}
				cdb := []byte{opcode, byte(rand.IntN(8)), byte(rand.IntN(8)), 0, 0, 0}
				issuedHere = append(issuedHere, issue(lu, n, Tag(i), attribute, cdb...))
			}
			for _, c := range issuedHere {
				select {
				case <-c.delivery.done:
				case <-time.After(patience):
					t.Errorf("a command has not ended")
					return
				}
				if c.Status != Good {
					t.Errorf("%X: %v", []byte(c.CDB), c.Status)
				}
			}
		})
	}
	wg.Wait()
	if f := fault.Load(); f != nil {
		t.Error(*f)
	}
	if lu.tasks.count != 0 {
		t.Errorf("%d commands are left in the set", lu.tasks.count)
	}
}

// TestOrderedIsABarrier_SAM5_8_6_3 runs a sequence and checks who overtook whom.
func TestOrderedIsABarrier_SAM5_8_6_3(t *testing.T) {
	n := newNexus("a")
	g := newGate()
	lu := newUnit(t, &fakeDevice{rows: []Operation{row(0, 0, g.execute)}}, nil, n)
	cdb := make([]byte, 6)
	first := issue(lu, n, 1, Simple, cdb...)
	barrier := issue(lu, n, 2, Ordered, cdb...)
	after := issue(lu, n, 3, Simple, cdb...)
	head := issue(lu, n, 4, HeadOfQueue, cdb...)
	tags := map[Tag]bool{g.wait(t).Tag: true, g.wait(t).Tag: true}
	if !tags[1] || !tags[4] {
		t.Fatalf("%v run, want the first SIMPLE and the HEAD OF QUEUE command", tags)
	}
	for range 2 {
		lu.tasks.mu.Lock()
		if barrier.state != dormant || after.state != dormant {
			t.Error("something is enabled beside what is older than the ORDERED command, and the HEAD OF QUEUE one")
		}
		lu.tasks.mu.Unlock()
		g.leave <- nil
	}
	if c := g.wait(t); c.Tag != 2 {
		t.Fatalf("command %d runs, want the ORDERED one", c.Tag)
	}
	first.wait(t) // they have left the task set, though their answers may be on their way still
	head.wait(t)
	if after.delivery.ended() {
		t.Error("a SIMPLE command has overtaken the ORDERED one")
	}
	g.leave <- nil
	if c := g.wait(t); c.Tag != 3 {
		t.Fatalf("command %d runs, want the last", c.Tag)
	}
	g.leave <- nil
	barrier.wait(t)
	after.wait(t)
}

func TestQuiesce(t *testing.T) {
	n := newNexus("a")
	g := newGate()
	lu := newUnit(t, &fakeDevice{rows: []Operation{row(0, 0, g.execute), row(1, Inline, good)}}, nil, n)
	older := issue(lu, n, 1, Simple, make([]byte, 6)...)
	g.wait(t)

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := lu.Quiesce(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("Quiesce beside a running command: %v", err)
	}
	do(t, lu, n, 1, 0, 0, 0, 0, 0).wantStatus(t, Good) // nothing stayed behind

	quiet := make(chan func())
	go func() {
		resume, err := lu.Quiesce(context.Background())
		if err != nil {
			t.Error(err)
		}
		quiet <- resume
	}()
	// It is in the set when a SIMPLE command no longer runs at once.
	var younger issued
	for deadline := time.Now().Add(patience); ; {
		younger = issue(lu, n, 2, Simple, 1, 0, 0, 0, 0, 0)
		if !younger.delivery.ended() {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("Quiesce never entered")
		}
	}
	g.leave <- nil
	older.wait(t)
	resume := <-quiet
	heads := issue(lu, n, 3, HeadOfQueue, 1, 0, 0, 0, 0, 0)
	if younger.delivery.ended() || heads.delivery.ended() {
		t.Error("a command ran while the unit was quiet")
	}
	if lu.Manage(AbortTask, n, 3) != FunctionComplete || !heads.delivery.ended() || !heads.Silent {
		t.Error("a command that waits for a quiet unit cannot be aborted")
	}
	resume()
	resume()
	younger.wait(t)
	younger.wantStatus(t, Good)
}
