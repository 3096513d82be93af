package scsi

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"
)

// claimUnit has READ (08h), WRITE (0Ah) and a command that is alone (1Eh), each of
// which does what its hook says.
func claimUnit(t *testing.T, hook func(*Command) error) *LogicalUnit {
	t.Helper()
	extent := func(c CDB) Extent { return Extent{LBA: uint64(c.Byte(3)), Blocks: uint64(c.Byte(4))} }
	row := func(name string, opcode byte, conflict Conflict, order Order, traits Traits) Operation {
		op := Operation{Name: name, Opcode: opcode, Usage: []byte{opcode, 0, 0, 0xff, 0xff, 0}, Conflict: conflict, Order: order, Traits: traits, Execute: hook}
		if order != Alone {
			op.Extent = extent
		}
		return op
	}
	lu, err := NewLogicalUnit(Identity{Serial: "claims"}, &fakeDevice{rows: []Operation{
		row("READ", 0x08, ConflictOnWrite, Free, 0),
		row("WRITE", 0x0a, ConflictAlways, Free, Writes),
		row("ALONE", 0x1e, ConflictAlways, Alone, 0),
	}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return lu
}

func nothing(*Command) error { return nil }

func attached(lu *LogicalUnit, name string) *Nexus {
	n := newNexus(name)
	lu.Attach(n)
	lu.TakeAttention(n)
	return n
}

func mustClaim(t *testing.T, lu *LogicalUnit, n *Nexus, cdb CDB, exclusive bool) *Claim {
	t.Helper()
	cl, err := lu.Claim(n, 0, 1, cdb, exclusive, nil)
	if err != nil {
		t.Fatal(err)
	}
	return cl
}

// await waits for a claim or a command that must come.
func await[T any](t *testing.T, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		t.Fatal("nothing happens")
	}
	return v
}

// A claimed extent is nobody else's, and what does not touch it goes on.
func TestClaimKeepsOthersOut(t *testing.T) {
	lu := claimUnit(t, nothing)
	n := attached(lu, "a")
	cl := mustClaim(t, lu, n, CDB{0x0a, 0, 0, 10, 4, 0}, true)
	inside := issue(lu, n, 2, Simple, 0x08, 0, 0, 12, 1, 0)
	outside := issue(lu, n, 3, Simple, 0x08, 0, 0, 14, 1, 0)
	await(t, outside.delivery.done)
	if inside.delivery.ended() {
		t.Error("a read of claimed blocks ended before the claim was released")
	}
	cl.Release()
	await(t, inside.delivery.done)
	if inside.Status != Good {
		t.Errorf("the read: %v", inside.Status)
	}
}

// A claim waits for what is enabled and conflicts, but passes what is dormant: that
// may wait for the command which claims.
func TestClaimPassesWhatIsDormant(t *testing.T) {
	release := make(chan struct{})
	lu := claimUnit(t, func(c *Command) error {
		if c.Tag == 1 {
			<-release
		}
		return nil
	})
	n := attached(lu, "a")
	parent := issue(lu, n, 1, Simple, 0x08, 0, 0, 0, 1, 0)
	alone := issue(lu, n, 2, Simple, 0x1e, 0, 0, 0, 0, 0)
	ordered := issue(lu, n, 3, Ordered, 0x0a, 0, 0, 5, 1, 0)
	cl := mustClaim(t, lu, n, CDB{0x0a, 0, 0, 5, 1, 0}, true) // would wait for ever behind those
	close(release)
	await(t, parent.delivery.done)
	if alone.delivery.ended() {
		t.Error("a command that is alone ran beside a claim")
	}
	cl.Release()
	await(t, alone.delivery.done)
	await(t, ordered.delivery.done)
}

// An enabled claim is in the way of older commands, too.
func TestClaimIsInTheWayOfOlderCommands(t *testing.T) {
	release := make(chan struct{})
	lu := claimUnit(t, func(c *Command) error {
		if c.Tag == 1 {
			<-release
		}
		return nil
	})
	n := attached(lu, "a")
	first := issue(lu, n, 1, Simple, 0x0a, 0, 0, 0, 1, 0)
	// Waits for the first; the claim, which is younger, overtakes it.
	alone := issue(lu, n, 2, Simple, 0x1e, 0, 0, 0, 0, 0)
	cl := mustClaim(t, lu, n, CDB{0x08, 0, 0, 7, 1, 0}, false)
	close(release)
	await(t, first.delivery.done)
	if lu.tasks.any(func(c *Command) bool { return c.Tag == 2 && c.state == enabled }) {
		t.Error("a command that is alone was enabled beside a claim")
	}
	cl.Release()
	await(t, alone.delivery.done)
}

// What refuses a command of the nexus refuses its claims; unit attentions stay.
func TestClaimIsAdmittedAsACommand(t *testing.T) {
	lu := claimUnit(t, nothing)
	a, b := attached(lu, "a"), attached(lu, "b")
	lu.Attention(ASCModeParametersChanged, a, nil)
	mustClaim(t, lu, a, CDB{0x0a, 0, 0, 0, 1, 0}, true).Release()
	if s := lu.TakeAttention(a); s == nil || s.Code != ASCModeParametersChanged {
		t.Errorf("the unit attention: %v", s)
	}
	if err := lu.Reserve(b, false); err != nil {
		t.Fatal(err)
	}
	if _, err := lu.Claim(a, 0, 1, CDB{0x0a, 0, 0, 0, 1, 0}, true, nil); !errors.Is(err, ReservationConflict) {
		t.Errorf("a claim beside RESERVE of another: %v", err)
	}
	lu.Release(b)
	lu.Device.(*fakeDevice).setReady(NotReady(ASCMediumNotPresent))
	var s *Sense
	if _, err := lu.Claim(a, 0, 1, CDB{0x08, 0, 0, 0, 1, 0}, false, nil); !errors.As(err, &s) || s.Code != ASCMediumNotPresent {
		t.Errorf("a claim without a medium: %v", err)
	}
	lu.Device.(*fakeDevice).setReady(nil)
	lu.Device.(*fakeDevice).header = deviceWriteProtected
	if _, err := lu.Claim(a, 0, 1, CDB{0x0a, 0, 0, 0, 1, 0}, true, nil); !errors.As(err, &s) || s.Code != ASCWriteProtected {
		t.Errorf("a claim to write on a protected medium: %v", err)
	}
	if n := lu.tasks.count; n != 0 {
		t.Errorf("%d claims are left in the task set", n)
	}
}

// A task manager waits for the claims of the nexus, which hear of it.
func TestTaskManagementWaitsForClaims(t *testing.T) {
	lu := claimUnit(t, nothing)
	n := attached(lu, "a")
	cl := mustClaim(t, lu, n, CDB{0x0a, 0, 0, 0, 4, 0}, true)
	answer := make(chan Response, 1)
	go func() { answer <- lu.Manage(LogicalUnitReset, attached(lu, "b"), 0) }()
	for deadline := time.Now().Add(patience); !cl.Aborted(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the claim does not hear of the reset")
		}
	}
	select {
	case r := <-answer:
		t.Fatalf("the reset is answered %v while a claim is held", r)
	default:
	}
	cl.Release()
	if r := await(t, answer); r != FunctionComplete {
		t.Errorf("reset: %v", r)
	}
}

// A claim that waits ends when its command is aborted, and when a task manager of
// its unit takes it.
func TestClaimThatWaitsEnds(t *testing.T) {
	lu := claimUnit(t, nothing)
	n, other := attached(lu, "a"), attached(lu, "b")
	held := mustClaim(t, lu, other, CDB{0x0a, 0, 0, 0, 4, 0}, true)
	for _, end := range []func(done chan struct{}){
		func(done chan struct{}) { close(done) },
		func(chan struct{}) {
			if r := lu.Manage(AbortTaskSet, n, 0); r != FunctionComplete {
				t.Errorf("ABORT TASK SET: %v", r)
			}
		},
	} {
		done, result := make(chan struct{}), make(chan error, 1)
		go func() {
			_, err := lu.Claim(n, 0, 9, CDB{0x0a, 0, 0, 2, 1, 0}, true, done)
			result <- err
		}()
		for deadline := time.Now().Add(patience); !lu.tasks.any(func(c *Command) bool { return c.Tag == 9 }); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("the claim does not enter")
			}
		}
		end(done)
		if err := await(t, result); err != ErrAborted {
			t.Errorf("a claim that was ended: %v", err)
		}
	}
	held.Release()
	if lu.tasks.count != 0 || lu.tasks.barriers != 0 || len(lu.tasks.claims) != 0 {
		t.Errorf("left: %d commands, %d barriers, %d claims", lu.tasks.count, lu.tasks.barriers, len(lu.tasks.claims))
	}
}

// A command that stands aside keeps nobody waiting.
func TestStandAside(t *testing.T) {
	started, release := make(chan struct{}), make(chan struct{})
	lu := claimUnit(t, func(c *Command) error {
		if c.CDB.Opcode() == 0x1e {
			c.StandAside()
			close(started)
			<-release
		}
		return nil
	})
	n := attached(lu, "a")
	alone := issue(lu, n, 1, Simple, 0x1e, 0, 0, 0, 0, 0)
	await(t, started)
	beside := issue(lu, n, 2, Simple, 0x0a, 0, 0, 0, 1, 0)
	await(t, beside.delivery.done)
	close(release)
	await(t, alone.delivery.done)
	if lu.tasks.barriers != 0 {
		t.Errorf("%d barriers are left", lu.tasks.barriers)
	}
}

// Done is closed by an abort, whether it was asked for before or after.
func TestDone(t *testing.T) {
	asked := make(chan (<-chan struct{}), 1)
	lu := claimUnit(t, func(c *Command) error {
		asked <- c.Done()
		<-c.Done()
		return ErrAborted
	})
	n := attached(lu, "a")
	x := issue(lu, n, 1, Simple, 0x0a, 0, 0, 0, 1, 0)
	done := await(t, asked)
	if r := lu.Manage(AbortTask, n, 1); r != FunctionComplete {
		t.Errorf("ABORT TASK: %v", r)
	}
	await(t, done)
	await(t, x.delivery.done)
	await(t, x.Command.Done())
}

// A copyingDevice copies in the background, and begins with another piece just before it
// hears that its nexus is lost.
type copyingDevice struct {
	*fakeDevice
	lose func(*Nexus)
}

func (d copyingDevice) NexusLost(n *Nexus) { d.lose(n) }

// When the loss of a nexus is over nothing acts for it any more, not even a claim of work
// in the background that came in the middle of it.
func TestClaimAmidNexusLoss_SAM5_6_3_4(t *testing.T) {
	for name, end := range map[string]func(*LogicalUnit, *Nexus){
		"lost":     (*LogicalUnit).NexusLost,
		"unmapped": func(lu *LogicalUnit, n *Nexus) { lu.Unmap(n) },
	} {
		t.Run(name, func(t *testing.T) {
			var lu *LogicalUnit
			var released atomic.Bool
			row := Operation{Name: "WRITE", Opcode: 0x0a, Usage: []byte{0x0a, 0, 0, 0xff, 0xff, 0}, Execute: nothing, Extent: func(CDB) Extent { return Extent{0, 1} }}
			d := copyingDevice{&fakeDevice{rows: []Operation{row}}, func(n *Nexus) {
				claim := mustClaim(t, lu, n, CDB{0x0a, 0, 0, 0, 1, 0}, true)
				go func() {
					for deadline := time.Now().Add(patience); !claim.Aborted() && time.Now().Before(deadline); {
						time.Sleep(time.Millisecond)
					}
					released.Store(claim.Aborted())
					claim.Release()
				}()
			}}
			var err error
			if lu, err = NewLogicalUnit(Identity{Serial: "claims"}, d, nil); err != nil {
				t.Fatal(err)
			}
			end(lu, attached(lu, "a"))
			if !released.Load() {
				t.Error("the claim still stands when the loss is over")
			}
		})
	}
}
