package meter

import (
	"sync"
	"testing"
	"time"
)

// Each bucket takes what is no longer than its bound.
func TestBuckets(t *testing.T) {
	if i := bucketOf(-time.Second); i != 0 {
		t.Errorf("a time below zero is in bucket %d", i)
	}
	for i := range Buckets - 1 {
		if got := bucketOf(Bound(i)); got != i {
			t.Errorf("%v is in bucket %d, want %d", Bound(i), got, i)
		}
		if got := bucketOf(Bound(i) + 1); got != i+1 {
			t.Errorf("%v and 1 ns are in bucket %d, want %d", Bound(i), got, i+1)
		}
	}
	if i := bucketOf(time.Hour); i != Buckets-1 {
		t.Errorf("an hour is in bucket %d", i)
	}
}

// The phases are all of the time, whatever clock is read twice or late.
func TestStopwatch(t *testing.T) {
	var w Stopwatch
	w.Start(100)
	w.Lap(Queue, 90)
	w.Lap(Queue, 130)
	w.Lap(Store, 120)
	w.Lap(Store, 200)
	w.Lap(Network, 250)
	w.Lap(Queue, 260)
	if w.Spent(Queue) != 40 || w.Spent(Store) != 70 || w.Spent(Network) != 50 || w.total() != 160 || w.At() != 260 {
		t.Errorf("%+v", w)
	}
}

// What many writers tally at once, of accounts that change all the time, is counted
// exactly once everywhere, and what is read meanwhile never goes back.
func TestTally(t *testing.T) {
	const writers, rounds = 8, 2000
	u := NewUnit()
	rows := []*Row{u.Row("READ (10)", Read), u.Row("READ (16)", Read), u.Row("WRITE (10)", Write), u.Row("INQUIRY", Other)}
	var target, all Flow
	sessions := make([]Flow, writers)
	done := make(chan struct{})
	var reader, group sync.WaitGroup
	reader.Go(func() {
		for last := uint64(0); ; {
			n := all.Count().By[Read].Duration.Count()
			if n < last {
				t.Errorf("%d commands after %d", n, last)
			}
			last = n
			select {
			case <-done:
				return
			default:
			}
		}
	})
	for i := range writers {
		group.Go(func() {
			var tally Tally
			for j := range rounds {
				var w Stopwatch
				w.Start(0)
				w.Lap(Queue, Moment(j))
				w.Lap(Store, Moment(2*j))
				o := Good
				if j%100 == 0 {
					o = 3
				}
				tally.Add(Account{Row: rows[(i+j)%len(rows)], Session: &sessions[i], Target: &target, All: &all}, &w, 512, o)
				if j%7 == 0 {
					tally.Add(Account{Session: &sessions[i], Target: &target, All: &all}, &w, 0, 5) // no unit has seen it
				}
				if j%32 == 0 {
					tally.Publish()
				}
			}
			tally.Publish()
		})
	}
	group.Wait()
	close(done)
	reader.Wait()

	const unseen = writers * ((rounds + 6) / 7)
	var sum FlowCount
	for i := range sessions {
		one := sessions[i].Count()
		sum.Add(&one)
	}
	if sum != target.Count() {
		t.Errorf("sessions %+v\ntarget %+v", sum, target.Count())
	}
	bare := sum // the phases of all have a sum only
	for d := range bare.By {
		for p := range bare.By[d].Phases {
			bare.By[d].Phases[p].Buckets = [Buckets]uint64{}
		}
	}
	if bare != all.Count() {
		t.Errorf("sessions %+v\nall %+v", bare, all.Count())
	}
	c := u.Count()
	flow := c.Flow()
	const each = writers * rounds / 4
	for _, r := range c.Rows {
		if r.Duration.Count() != each || r.Bytes != each*512 {
			t.Errorf("%s: %d commands, %d bytes; want %d and %d", r.Name, r.Duration.Count(), r.Bytes, each, each*512)
		}
		if r.Errors != r.Failures.Count() {
			t.Errorf("%s: %d errors, %d failures", r.Name, r.Errors, r.Failures.Count())
		}
	}
	if flow.Failures[3] != writers*rounds/100 || sum.Failures[5] != unseen || flow.Failures[5] != 0 {
		t.Errorf("failures %v of the unit, %v of the sessions", flow.Failures, sum.Failures)
	}
	if n := sum.By[Other].Duration.Count(); n != each+unseen {
		t.Errorf("%d others, want %d", n, each+unseen)
	}
	for d := range flow.By {
		for p := range flow.By[d].Phases {
			if n := flow.By[d].Phases[p].Count(); n != flow.By[d].Duration.Count() {
				t.Errorf("%v: %d times in phase %v of %d commands", Direction(d), n, Phase(p), flow.By[d].Duration.Count())
			}
			if n := sum.By[d].Phases[p].Count(); n != sum.By[d].Duration.Count() {
				t.Errorf("%v: sessions have %d times in phase %v of %d commands", Direction(d), n, Phase(p), sum.By[d].Duration.Count())
			}
		}
	}
	if of := flow.By[Read]; of.Spent(Queue)+of.Spent(Store) != of.Duration.Sum || of.Spent(Network) != 0 || of.Duration.Sum == 0 {
		t.Errorf("%+v", of)
	}
}

// Each phase is counted in the bucket with the next bound that phases have, in the session,
// the target and the row alike.
func TestPhaseBuckets(t *testing.T) {
	for i := range Buckets {
		d := time.Hour
		if i < Buckets-1 {
			d = Bound(i)
		}
		want := min(i+i%2, Buckets-1) // the bounds of phases are Bound(0), Bound(2) ...
		var w Stopwatch
		w.Start(0)
		w.Lap(Store, Moment(d))
		u := NewUnit()
		var session, target, all Flow
		var tally Tally
		tally.Add(Account{Row: u.Row("WRITE (10)", Write), Session: &session, Target: &target, All: &all}, &w, 0, Good)
		tally.Publish()
		unit := u.Count()
		for name, c := range map[string]FlowCount{"row": unit.Flow(), "session": session.Count(), "target": target.Count()} {
			of := c.By[Write].Phases
			if of[Store].Buckets[want] != 1 || of[Store].Count() != 1 || of[Store].Sum != d {
				t.Errorf("%s: %v in the store is %+v; want bucket %d", name, d, of[Store], want)
			}
			if of[Queue].Buckets[0] != 1 || of[Network].Buckets[0] != 1 {
				t.Errorf("%s: no time in the queue is %+v, in the network %+v", name, of[Queue], of[Network])
			}
		}
	}
}

// A row that no command has used is not told, and takes no memory to count in.
func TestRowsThatAreNotUsed(t *testing.T) {
	u := NewUnit()
	idle := u.Row("FORMAT UNIT", Other)
	var session, target, all Flow
	var tally Tally
	var w Stopwatch
	tally.Add(Account{Row: u.Row("INQUIRY", Other), Session: &session, Target: &target, All: &all}, &w, 36, Good)
	tally.Publish()
	if c := u.Count(); len(c.Rows) != 1 || c.Rows[0].Name != "INQUIRY" {
		t.Errorf("%+v", c.Rows)
	}
	if idle.counts.Load() != nil {
		t.Error("a row that is not used has memory to count in")
	}
}

func TestTallyAllocatesNothing(t *testing.T) {
	u := NewUnit()
	var session, target, all Flow
	a := Account{Row: u.Row("READ (10)", Read), Session: &session, Target: &target, All: &all}
	var tally Tally
	n := testing.AllocsPerRun(100, func() {
		var w Stopwatch
		w.Start(Now())
		w.Lap(Store, Now())
		tally.Add(a, &w, 4096, Good)
		tally.Publish()
	})
	if n != 0 {
		t.Errorf("%v allocations for a command", n)
	}
}

func BenchmarkCommandAlone(b *testing.B) { benchmark(b, 1) }
func BenchmarkBatchOf32(b *testing.B)    { benchmark(b, 32) }

func benchmark(b *testing.B, batch int) {
	u := NewUnit()
	var session, target, all Flow
	a := Account{Row: u.Row("READ (10)", Read), Session: &session, Target: &target, All: &all}
	var tally Tally
	var w Stopwatch
	w.Start(0)
	w.Lap(Store, 10000)
	for b.Loop() {
		for range batch {
			tally.Add(a, &w, 4096, Good)
		}
		tally.Publish()
	}
}
