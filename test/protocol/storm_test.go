package protocol_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/iscsi"
	"github.com/isantarget/isantarget/test/daemon"
)

// openFiles counts the descriptors of the daemon: a connection that is not let go shows.
func openFiles(t *testing.T, d *daemon.Daemon) int {
	t.Helper()
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", d.PID()))
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// Sessions that end in every way there is leave nothing behind.
func TestNothingStays(t *testing.T) {
	d := serve(t, standard)
	ready(t, d, normal(nil)).Close()
	before := openFiles(t, d)
	for i := range 60 {
		p := ready(t, d, offer("MaxConnections=2", "ImmediateData=No"))
		second := p.join(d, 1, initiator.Login{})
		p.hold()
		switch i % 6 {
		case 0:
			p.Close()
		case 1:
			second.Close()
		case 2:
			p.Reset()
		case 3:
			if _, err := second.Logout(iscsi.CloseSession, 0); err != nil {
				t.Fatal(err)
			}
		case 4:
			p.SendBytes(append(make([]byte, 5), bytes.Repeat([]byte{0xff}, 43)...)) // a NOP-Out of 16 MiB
		case 5:
			dial(t, d).SendBytes([]byte("GET / HTTP/1.1\r\nHost: disk\r\n\r\n, with some more to fill a header"))
			p.Close()
		}
		p.WaitClosed()
		second.WaitClosed()
	}
	for end := time.Now().Add(within); openFiles(t, d) > before; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d files are open, %d were before 60 sessions", openFiles(t, d), before)
		}
	}
}

// One initiator port logs in from many places at once, again and again: each login
// ends the one before, none hangs, and the last one works (6.3.5).
func TestReinstatementStorm_RFC7143_6_3_5(t *testing.T) {
	d := serve(t, standard)
	bystander(t, d)
	isid := initiator.RandomISID()
	var all sync.WaitGroup
	for range 6 {
		all.Go(func() {
			for range 15 {
				c, err := initiator.Dial(d.Address(), initiator.Options{})
				if err != nil {
					t.Error(err)
					return
				}
				err = c.Login(normal(func(l *initiator.Login) { l.ISID = isid }))
				var r *initiator.Refusal
				if err != nil && !initiator.IsClosed(err) && !errors.As(err, &r) {
					t.Errorf("login: %v", err)
				}
				if err == nil {
					_, _ = c.Execute(initiator.Command{CDB: read10(0, 1), Read: blockSize}) // another login may end it
				}
				c.Close()
			}
		})
	}
	all.Wait()
	ready(t, d, normal(func(l *initiator.Login) { l.ISID = isid })).alive()
}

// LUN resets under the writes of others: what was answered with GOOD stands, what was
// not is there or not, whole, and nobody hangs (SAM-5 7.7, 11.5.1).
func TestResetStorm_RFC7143_11_5_1(t *testing.T) {
	d := serve(t, standard)
	resetter := ready(t, d, normal(func(l *initiator.Login) { l.InitiatorName = bob }))
	done := make(chan struct{})
	var all sync.WaitGroup
	for n := range uint32(4) {
		p := ready(t, d, offer("InitialR2T="+iscsi.FormatBoolean(n&1 == 0), "ImmediateData="+iscsi.FormatBoolean(n&2 == 0), "MaxBurstLength=4096", "FirstBurstLength=2048"))
		all.Go(func() { writeUnderResets(t, p, n*1000, done) })
	}
	for i := range 60 {
		f := []iscsi.TaskManagementFunction{iscsi.LogicalUnitReset, iscsi.ClearTaskSet, iscsi.TargetWarmReset, iscsi.AbortTaskSet}[i%4]
		if status, err := resetter.Manage(iscsi.TaskManagementRequest{Immediate: true, Function: f}); err != nil || status != iscsi.FunctionComplete {
			t.Errorf("%v: %v, %v", f, status, err)
			break
		}
	}
	close(done)
	all.Wait()
	resetter.alive()
}

// writeUnderResets writes 16 blocks again and again with eight commands in flight,
// and reads them back once nobody resets any more.
func writeUnderResets(t *testing.T, p *peer, base uint32, done <-chan struct{}) {
	const slots, blocks = 8, 16
	var want [slots][]byte // the fills a slot may have
	for slot := range want {
		want[slot] = []byte{0}
	}
	for round := byte(1); ; round++ {
		var tasks [slots]*initiator.Task
		for slot := range tasks {
			var err error
			if tasks[slot], err = p.Start(write(base+uint32(slot*blocks), fill(round, blocks))); err != nil {
				t.Error(err)
				return
			}
		}
		for slot, task := range tasks {
			r, err := task.Wait()
			switch {
			case err != nil:
				t.Errorf("round %d, slot %d: %v", round, slot, err)
				return
			case r.Status == statusGood:
				want[slot] = []byte{round}
			case r.Status == statusTaskAborted, r.Status == statusCheckCondition:
				want[slot] = append(want[slot], round)
			default:
				t.Errorf("status %02x", r.Status)
			}
		}
		select {
		case <-done:
		default:
			continue
		}
		break
	}
	for range 4 {
		_, _ = p.Execute(initiator.Command{CDB: testUnitReady()}) // unit attentions
	}
	for slot := range want {
		r, err := p.Execute(initiator.Command{CDB: read10(base+uint32(slot*blocks), blocks), Read: blocks * blockSize})
		if err != nil || r.Status != statusGood {
			t.Errorf("reading back: %+v, %v", r, err)
			return
		}
		if !bytes.Equal(r.Data, fill(r.Data[0], blocks)) || !bytes.Contains(want[slot], r.Data[:1]) {
			t.Errorf("slot %d begins with %d, may have %d, or is torn", slot, r.Data[0], want[slot])
		}
	}
}

// Requests without end from a peer that reads no answer: his connection stops, the
// daemon's memory does not grow with it, and others work (11.18, 11.17).
func TestFloodWithoutReading(t *testing.T) {
	d := serve(t, "[limits]\nmemory = \"32MiB\"\n"+standard)
	other := ready(t, d, normal(func(l *initiator.Login) { l.InitiatorName = bob }))
	ping := func(h *iscsi.BHS, n uint32) []byte {
		(&iscsi.NopOut{Immediate: true, InitiatorTaskTag: n, TargetTransferTag: iscsi.ReservedTag}).Marshal(h)
		return make([]byte, 64<<10)
	}
	for name, request := range map[string]func(h *iscsi.BHS, n uint32) []byte{
		"pings": ping,
		"unknown opcodes": func(h *iscsi.BHS, n uint32) []byte {
			h.SetOpcode(0x1d)
			h.SetInitiatorTaskTag(n)
			return nil
		},
		"SNACKs": func(h *iscsi.BHS, n uint32) []byte {
			(&iscsi.SNACK{Type: iscsi.SNACKStatus, InitiatorTaskTag: iscsi.ReservedTag, BegRun: n, RunLength: 1}).Marshal(h)
			return nil
		},
		"task management": func(h *iscsi.BHS, n uint32) []byte {
			(&iscsi.TaskManagementRequest{Immediate: true, Function: iscsi.AbortTask, InitiatorTaskTag: n, ReferencedTaskTag: n + 1}).Marshal(h)
			return nil
		},
		"text": func(h *iscsi.BHS, n uint32) []byte {
			(&iscsi.TextRequest{Immediate: true, Final: true, InitiatorTaskTag: n, TargetTransferTag: iscsi.ReservedTag}).Marshal(h)
			return []byte("SendTargets=\x00")
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := initiator.Dial(d.Address(), initiator.Options{ReadBuffer: 4096})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if err := c.Login(normal(nil)); err != nil {
				t.Fatal(err)
			}
			c.Timeout = time.Second
			var sent int
			for n := uint32(0); n < 200000 && sent < 128<<20; n++ {
				var p initiator.PDU
				p.Data = request(&p.BHS, n)
				wire := p.Encode(c.Digests, 0)
				if err = c.SendBytes(wire); err != nil {
					break // the target reads no more, or has ended the connection
				}
				sent += len(wire)
			}
			(&peer{other.Connection, t}).alive()
			if rss := residentBytes(t, d); rss > 256<<20 {
				t.Errorf("after %d MiB of requests the daemon takes %d MiB", sent>>20, rss>>20)
			}
		})
	}
}
