package sbc_test

import (
	"bytes"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/backstore/memory"
	"github.com/isantarget/isantarget/scsi"
)

// patience is how long a test waits for what must happen. It decides nothing: who
// runs into it has failed.
const patience = time.Minute

// A slowStore is a store that every write has to wait for.
type slowStore struct {
	*memory.Store
	begun  chan struct{} // gets one for each write
	finish func()        // returns when the write may go on
}

func (s *slowStore) WriteAt(p []byte, off int64) (int, error) {
	select {
	case s.begun <- struct{}{}:
	default:
	}
	s.finish()
	return s.Store.WriteAt(p, off)
}

func (s *slowStore) TryWriteAt([]byte, int64) (int, error) { return 0, backstore.ErrWouldBlock }

func write10(block byte) []byte { return []byte{0x2a, 5: block, 8: 1, 9: 0} }

// abortedBy is PREEMPT AND ABORT of the second nexus by the first.
func (d *disk) abortedBy(kind scsi.ReservationType) *sent {
	return d.start(holder, []byte{0x5f, 0x05, byte(kind), 8: 24, 9: 0}, &sent{out: reserveOutList(1, 2)})
}

func (s *sent) ended() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

func (s *sent) wait(t *testing.T) *sent {
	t.Helper()
	select {
	case <-s.done:
	case <-time.After(patience):
		t.Fatalf("the command %X does not end", []byte(s.CDB))
	}
	return s
}

// TestPreemptAndAbortWaitsForTheStore: while a write is in the store the answer is
// not given, and everything that can be stopped has stopped.
func TestPreemptAndAbortWaitsForTheStore_SPC4_5_13_11_2_5(t *testing.T) {
	release := make(chan struct{})
	slow := &slowStore{begun: make(chan struct{}, 1), finish: func() { <-release }}
	d := newDiskUpon(t, func(s *memory.Store) backstore.Store { slow.Store = s; return slow })
	d.reserve(scsi.WriteExclusiveRegistrantsOnly)
	d.calm(registered)

	inStore := d.start(registered, write10(1), &sent{out: make([]byte, blockLength)})
	<-slow.begun
	waiting := d.start(registered, write10(2), &sent{aborted: make(chan struct{})}) // a host that has stopped
	compare := []byte{0x89, 9: 1, 13: 1, 15: 0}                                     // of the block that is being written: it has to wait
	dormant := d.start(registered, compare, &sent{out: make([]byte, 2*blockLength)})
	alone := d.start(neither, []byte{0x15, 0x10, 5: 0}, &sent{}) // waits for everybody, and for it everybody
	bystander := d.start(holder, write10(4), &sent{out: make([]byte, blockLength)})

	abort := d.abortedBy(scsi.WriteExclusiveRegistrantsOnly)
	waiting.wait(t)
	dormant.wait(t)
	if abort.ended() || inStore.ended() {
		t.Error("PREEMPT AND ABORT is answered while a write of the preempted nexus is in the store")
	}
	after := d.start(registered, write10(5), &sent{out: make([]byte, blockLength)})
	close(release)
	if abort.wait(t); abort.Status != scsi.Good {
		t.Errorf("PREEMPT AND ABORT: %v, sense %X", abort.Status, abort.Sense)
	}
	for i, s := range []*sent{inStore, waiting, dormant} {
		if s.wait(t).Status != scsi.TaskAborted {
			t.Errorf("aborted write %d: %v, want TASK ABORTED", i+1, s.Status)
		}
	}
	if after.wait(t).Status != scsi.ReservationConflict {
		t.Errorf("a write that came after: %v, want RESERVATION CONFLICT", after.Status)
	}
	if alone.wait(t).Status != scsi.ReservationConflict {
		t.Errorf("MODE SELECT of a third nexus: %v", alone.Status)
	}
	if bystander.wait(t).Status != scsi.Good {
		t.Errorf("a write of the preempting nexus: %v, want GOOD", bystander.Status)
	}
	medium := d.medium()
	for _, block := range []int{2, 5} {
		if at := block * blockLength; !bytes.Equal(medium[at:at+blockLength], d.pattern()[at:at+blockLength]) {
			t.Errorf("block %d was written", block)
		}
	}
	if s := d.lu.TakeAttention(d.who[registered]); s == nil || s.Code != scsi.ASCRegistrationsPreempted {
		t.Errorf("the preempted nexus hears %v, want REGISTRATIONS PREEMPTED", s)
	}
}

// TestPreemptAndAbortInSilence: with TAS=0 the aborted commands end without a status,
// and a unit attention tells of them (SAM-5 5.6).
func TestPreemptAndAbortInSilence(t *testing.T) {
	d := newDisk(t)
	list := []byte{4: 0x0a, 5: 0x0a, 7: 0x10, 15: 0} // the control mode page
	if s := d.do(holder, []byte{0x15, 0x10, 0, 0, byte(len(list)), 0}, list); s.Status != scsi.Good {
		t.Fatalf("MODE SELECT: %v, sense %X", s.Status, s.Sense)
	}
	d.calm(registered)
	d.reserve(scsi.WriteExclusiveRegistrantsOnly)
	waiting := d.start(registered, write10(2), &sent{aborted: make(chan struct{})})
	if abort := d.abortedBy(scsi.WriteExclusiveRegistrantsOnly).wait(t); abort.Status != scsi.Good {
		t.Errorf("PREEMPT AND ABORT: %v, sense %X", abort.Status, abort.Sense)
	}
	if !waiting.wait(t).Silent {
		t.Errorf("the aborted write ends with %v", waiting.Status)
	}
	for _, want := range []scsi.SenseCode{scsi.ASCRegistrationsPreempted, scsi.ASCCommandsClearedByAnotherInitiator} {
		if s := d.lu.TakeAttention(d.who[registered]); s == nil || s.Code != want {
			t.Errorf("the preempted nexus hears %v, want %v", s, want)
		}
	}
}

// TestPreemptAndAbortTellsOfAHangingStore: when the store does not come back the
// reservation is taken all the same, and GOOD is not said.
func TestPreemptAndAbortTellsOfAHangingStore(t *testing.T) {
	release := make(chan struct{})
	slow := &slowStore{begun: make(chan struct{}, 1), finish: func() { <-release }}
	d := newDiskUpon(t, func(s *memory.Store) backstore.Store { slow.Store = s; return slow })
	d.lu.HangBound = 20 * time.Millisecond
	reported := make(chan error, 10)
	d.lu.Report = func(err error) { reported <- err }
	d.reserve(scsi.WriteExclusiveRegistrantsOnly)
	d.calm(registered)
	write := d.start(registered, write10(1), &sent{out: make([]byte, blockLength)})
	<-slow.begun
	abort := d.abortedBy(scsi.WriteExclusiveRegistrantsOnly).wait(t)
	if want := scsi.HardwareError(scsi.ASCTimeoutOnLogicalUnit).Append(nil, false); !bytes.Equal(abort.Sense, want) {
		t.Errorf("PREEMPT AND ABORT: %v, sense %X; want %X", abort.Status, abort.Sense, want)
	}
	if r := d.lu.Reservations(); len(r.Registrations) != 1 || r.Holder() == nil || r.Holder().Key != 1 {
		t.Errorf("the preempted nexus is still registered: %+v", r)
	}
	if len(reported) == 0 {
		t.Error("nobody was told which command hangs")
	}
	close(release)
	write.wait(t)
}

// TestPreemptAndAbortOfEachOther: two nexuses fence each other at the same moment;
// one of them wins, and nobody waits for ever.
func TestPreemptAndAbortOfEachOther(t *testing.T) {
	for range 200 {
		d := newDisk(t)
		d.reserve(scsi.ExclusiveAccessRegistrantsOnly)
		d.calm(registered)
		var both sync.WaitGroup
		fences := [2]*sent{}
		for i := range fences {
			both.Go(func() {
				list := reserveOutList(uint64(i+1), uint64(2-i))
				fences[i] = d.start(i, []byte{0x5f, 0x05, 6, 8: 24, 9: 0}, &sent{out: list}).wait(t)
			})
		}
		both.Wait()
		r := d.lu.Reservations()
		if len(r.Registrations) != 1 || r.Holder() == nil {
			t.Fatalf("after both: %+v", r)
		}
		winner := int(r.Registrations[0].Key) - 1
		loser := fences[1-winner].Status
		if fences[winner].Status != scsi.Good || loser != scsi.ReservationConflict && loser != scsi.TaskAborted {
			t.Fatalf("the winner has %v, the loser %v", fences[winner].Status, loser)
		}
	}
}

// TestNothingLandsAfterPreemptAndAbort fences a host that writes as fast as it can
// upon a store that takes its time: what the medium holds when GOOD is said it holds
// from then on.
func TestNothingLandsAfterPreemptAndAbort(t *testing.T) {
	for range 20 {
		var late atomic.Bool
		slow := &slowStore{begun: make(chan struct{}, 1), finish: func() { time.Sleep(time.Duration(rand.IntN(2000)) * time.Microsecond) }}
		d := newDiskUpon(t, func(s *memory.Store) backstore.Store { slow.Store = s; return slow })
		d.reserve(scsi.WriteExclusiveRegistrantsOnly)
		d.calm(registered)
		var host sync.WaitGroup
		stop := make(chan struct{})
		for block := range byte(8) {
			host.Go(func() {
				for n := byte(0); ; n++ {
					select {
					case <-stop:
						return
					default:
					}
					fenced := late.Load()
					s := d.do(registered, write10(block), bytes.Repeat([]byte{n}, blockLength))
					if fenced && s.Status == scsi.Good {
						t.Error("a write of a fenced host says GOOD")
					}
				}
			})
		}
		for range 10 {
			<-slow.begun
		}
		if abort := d.abortedBy(scsi.WriteExclusiveRegistrantsOnly).wait(t); abort.Status != scsi.Good {
			t.Fatalf("PREEMPT AND ABORT: %v, sense %X", abort.Status, abort.Sense)
		}
		late.Store(true)
		before := d.medium()
		time.Sleep(5 * time.Millisecond)
		close(stop)
		host.Wait()
		if !bytes.Equal(before, d.medium()) {
			t.Fatal("a write has landed after PREEMPT AND ABORT was answered")
		}
	}
}

// medium is what the store holds.
func (d *disk) medium() []byte {
	p := make([]byte, 64<<10)
	if _, err := d.store.ReadAt(p, 0); err != nil {
		d.t.Fatal(err)
	}
	return p
}

// TestFencedBeforeItsDataCome: a write that waits for its data while its nexus is fenced
// off writes nothing when they come, and one that is not goes on.
func TestFencedBeforeItsDataCome_SPC4_5_13_1(t *testing.T) {
	const readable, registrants = scsi.WriteExclusive, scsi.WriteExclusiveRegistrantsOnly
	for _, x := range []struct {
		name   string
		before func(d *disk)
		who    int
		fence  func(d *disk) *sent
		want   scsi.Status
	}{
		{"PREEMPT", func(d *disk) { d.reserve(registrants) }, registered,
			func(d *disk) *sent { return d.reserveOut(holder, 4, registrants, 1, 2) }, scsi.ReservationConflict},
		{"RESERVE", func(d *disk) { d.reserveOut(holder, 0, 0, 0, 1) }, neither,
			func(d *disk) *sent { return d.reserveOut(holder, 1, readable, 1, 0) }, scsi.ReservationConflict},
		{"RESERVE of SPC-2", func(*disk) {}, neither,
			func(d *disk) *sent { return d.do(holder, []byte{0x16, 5: 0}, nil) }, scsi.ReservationConflict},
		{"RESERVE for registrants", func(d *disk) { d.reserveOut(holder, 0, 0, 0, 1); d.reserveOut(registered, 0, 0, 0, 2) }, registered,
			func(d *disk) *sent { return d.reserveOut(holder, 1, registrants, 1, 0) }, scsi.Good},
		{"CLEAR", func(d *disk) { d.reserve(registrants) }, registered,
			func(d *disk) *sent { return d.reserveOut(holder, 3, 0, 1, 0) }, scsi.Good},
	} {
		t.Run(x.name, func(t *testing.T) {
			d := newDisk(t)
			x.before(d)
			d.calm(x.who)
			block := bytes.Repeat([]byte{0xd0}, blockLength)
			late := d.start(x.who, write10(2), &sent{out: block, asked: make(chan struct{}), come: make(chan struct{})})
			<-late.asked
			if fence := x.fence(d); fence.Status != scsi.Good {
				t.Errorf("%v, sense %X", fence.Status, fence.Sense)
			}
			close(late.come)
			if late.wait(t).Status != x.want {
				t.Errorf("the write whose data came then: %v, want %v", late.Status, x.want)
			}
			if wrote := bytes.Equal(d.medium()[2*blockLength:3*blockLength], block); wrote != (x.want == scsi.Good) {
				t.Errorf("it wrote: %t", wrote)
			}
		})
	}
}
