package scsi

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestEverythingAtOnce lets commands of every kind meet every task management
// function, nexus losses, attentions and quiet times, and checks what must hold in
// all of it: each command is completed once, a command that says GOOD has run to its
// end, none runs while the unit is quiet, and nothing is left behind.
func TestEverythingAtOnce(t *testing.T) {
	var quiet, running, disturbed atomic.Int32
	work := func(c *Command) error {
		if !c.MayBlock && rand.IntN(4) == 0 {
			return ErrWouldBlock
		}
		if err := awaitData(c, 40); err != nil {
			return err
		}
		running.Add(1)
		defer running.Add(-1)
		if quiet.Load() > 0 {
			disturbed.Add(1)
		}
		if c.MayBlock && rand.IntN(8) == 0 { // data that take their time
			select {
			case <-c.Delivery.(*fakeDelivery).aborted:
				return ErrAborted
			case <-time.After(time.Duration(rand.IntN(300)) * time.Microsecond):
			}
		}
		c.DataIn = []byte("done")
		return nil
	}
	d := &fakeDevice{rows: []Operation{
		extentRow(0, Free, Inline, work), extentRow(1, ExclusiveExtent, 0, work), row(2, 0, work), row(3, Inline|KeepsAttentions, good),
	}}
	d.rows[2].Order = Alone
	d.rows[3].Conflict = Allowed
	nexuses := []*Nexus{newNexus("a"), newNexus("b"), newNexus("c"), newNexus("d")}
	lu := newUnit(t, d, &fakeKeeper{}, nexuses...)
	lu.Report = func(err error) { t.Error(err) }

	var others sync.WaitGroup
	stop := make(chan struct{})
	forever := func(f func()) {
		others.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					f()
				}
			}
		})
	}
	forever(func() { // task management
		f := Function(1 + rand.IntN(int(QueryAsynchronousEvent)))
		if got := lu.Manage(f, nexuses[rand.IntN(3)], Tag(rand.IntN(16))); got == FunctionRejected {
			t.Errorf("function %d is rejected though nothing hangs", f)
		}
		time.Sleep(time.Millisecond)
	})
	forever(func() { // a session that comes and goes
		lu.NexusLost(nexuses[3])
		lu.Forget(nexuses[3])
		lu.Attach(nexuses[3])
		lu.Attention(ASCCapacityDataHasChanged, nil, nexuses[0])
	})
	forever(func() { // quiet times
		resume, err := lu.Quiesce(context.Background())
		if err != nil {
			t.Error(err)
			return
		}
		quiet.Add(1)
		if running.Load() != 0 {
			disturbed.Add(1)
		}
		time.Sleep(100 * time.Microsecond)
		quiet.Add(-1)
		resume()
		time.Sleep(time.Millisecond)
	})
	var commands sync.WaitGroup
	for _, n := range nexuses[:3] {
		commands.Go(func() {
			var pending []issued
			for i := range 3000 {
				attribute := Simple
				if rand.IntN(10) == 0 {
					attribute = TaskAttribute(rand.IntN(3))
				}
				kind := byte(0)
				if rand.IntN(10) == 0 {
					kind = byte(rand.IntN(4))
				}
				pending = append(pending, issue(lu, n, Tag(i%16), attribute, kind, byte(rand.IntN(9)), byte(rand.IntN(5)), 0, 0, 0))
				if len(pending) == 16 {
					for _, c := range pending {
						c.wait(t)
						switch {
						case c.Silent:
						case c.Status == Good && (kindOf(c) == 3 || string(c.DataIn) == "done"):
						case c.Status == CheckCondition && SenseKey(c.Sense[2]) == KeyUnitAttention:
						case c.Status == TaskAborted && c.DataIn == nil:
						default:
							t.Errorf("%X ended with %v, sense data %X, data %q", []byte(c.CDB), c.Status, c.Sense, c.DataIn)
						}
					}
					pending = pending[:0]
				}
			}
			for _, c := range pending {
				c.wait(t)
			}
		})
	}
	commands.Wait()
	close(stop)
	others.Wait()
	if n := disturbed.Load(); n != 0 {
		t.Errorf("%d times a command ran while the unit was quiet", n)
	}
	s := &lu.tasks
	if s.count+s.dormant+s.heads+s.dormantHeads+s.barriers+s.holds+len(s.hanging) != 0 || s.head != nil {
		t.Errorf("left behind: %+v", s)
	}
}

func kindOf(c issued) byte { return c.CDB[0] }
