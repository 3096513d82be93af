package sbc_test

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/isantarget/isantarget/scsi"
)

// TestReservationsAtOnce lets nexuses change reservations, read and write, lose their
// sessions and manage tasks, all at once, and the operator clear. Each command has to
// end, and whatever is left makes sense.
func TestReservationsAtOnce(t *testing.T) {
	d := newDisk(t)
	var all sync.WaitGroup
	stop := make(chan struct{})
	forever := func(f func()) {
		all.Go(func() {
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
	for who := range d.who {
		forever(func() {
			key, other := uint64(who+1), uint64((who+1+rand.IntN(2))%3+1)
			kind := types[rand.IntN(len(types))]
			switch action := []byte{6, 6, 1, 1, 2, 3, 4, 5}[rand.IntN(8)]; action {
			case 6:
				d.reserveOut(who, action, 0, 0, key*uint64(rand.IntN(2)))
			default:
				d.reserveOut(who, action, kind, key, other)
			}
		})
		forever(func() {
			d.do(who, write10(byte(who)), make([]byte, blockLength))
			d.do(who, []byte{0x28, 5: 1, 8: 1, 9: 0}, nil)
			d.do(who, []byte{0x5e, 3, 8: 255, 9: 0}, nil)
		})
		forever(func() {
			time.Sleep(time.Duration(rand.IntN(2000)) * time.Microsecond)
			d.do(who, []byte{0x16, 5: 0}, nil)
			d.do(who, []byte{0x17, 5: 0}, nil)
		})
	}
	forever(func() {
		time.Sleep(time.Duration(rand.IntN(5000)) * time.Microsecond)
		if err := d.lu.ClearReservations(); err != nil {
			t.Error(err)
		}
	})
	forever(func() {
		time.Sleep(time.Duration(rand.IntN(5000)) * time.Microsecond)
		n := d.who[rand.IntN(3)]
		switch rand.IntN(3) {
		case 0:
			d.lu.Manage(scsi.LogicalUnitReset, n, 0)
		case 1:
			d.lu.Manage(scsi.AbortTaskSet, n, 0)
		default:
			d.lu.NexusLost(n)
			d.lu.Attach(n)
		}
	})
	forever(func() {
		r := d.lu.Reservations()
		if holder := r.Holder(); r.Type != 0 && !r.Type.AllRegistrants() && holder == nil {
			t.Errorf("a reservation without a holder: %+v", r)
		}
		if r.Type != 0 && len(r.Registrations) == 0 || r.ReservedBy != nil && len(r.Registrations) > 0 {
			t.Errorf("this cannot be: %+v", r)
		}
	})
	time.Sleep(time.Second)
	close(stop)
	ended := make(chan struct{})
	go func() { all.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(patience):
		t.Fatal("a command does not end")
	}
}
