package protocol_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/iscsi"
	"github.com/isantarget/isantarget/test/daemon"
)

// A wanderer is an initiator port that does what comes to its mind, and knows what
// each of its blocks may hold.
type wanderer struct {
	*peer
	d     *daemon.Daemon
	rng   *rand.Rand
	login initiator.Login
	base  uint32
	may   [16][]byte // the fills that a slot of 8 blocks may have
}

const slotBlocks = 8

// Initiators that write, abort, reset, break off, come back and log out at random,
// all on one disk: nobody hangs, what was answered with GOOD stands until something
// newer is there, and nothing is torn (SAM-5 7, RFC 7143 6.3.5, 11.5).
func TestWanderers_RFC7143_6_3_5(t *testing.T) {
	d := serve(t, standard)
	t.Run("all", func(t *testing.T) {
		for n := range uint64(6) {
			t.Run(fmt.Sprint(n), func(t *testing.T) {
				t.Parallel()
				w := &wanderer{d: d, rng: rand.New(rand.NewPCG(n, 99)), base: uint32(n) * 1000}
				w.login = offer("InitialR2T="+iscsi.FormatBoolean(n&1 == 0), "ImmediateData="+iscsi.FormatBoolean(n&2 == 0),
					"FirstBurstLength=1024", "MaxBurstLength=2048", "MaxOutstandingR2T=2", "MaxConnections=2")
				w.login.InitiatorName, w.login.ISID = fmt.Sprintf("%s-%d", alice, n), initiator.RandomISID()
				for i := range w.may {
					w.may[i] = []byte{0}
				}
				w.peer = login(t, d, w.login)
				for step := range 150 {
					w.step(byte(step + 1))
				}
				w.check()
			})
		}
	})
	ready(t, d, normal(nil)).alive()
}

// step does one thing.
func (w *wanderer) step(mark byte) {
	w.t.Helper()
	slot := w.rng.IntN(len(w.may))
	switch w.rng.IntN(10) {
	case 0: // breaks off in the middle of a write, and comes back
		w.held(slot, mark)
		w.Close()
		w.peer = login(w.t, w.d, w.login)
	case 1: // comes back without breaking off
		w.held(slot, mark)
		w.peer = login(w.t, w.d, w.login)
	case 2: // changes its mind about a write
		if task := w.held(slot, mark); task != nil {
			if status, err := w.Abort(task); err != nil || status != iscsi.FunctionComplete && status != iscsi.TaskDoesNotExist {
				w.t.Fatalf("ABORT TASK: %v, %v", status, err)
			}
			if !task.Done() {
				task.Forget()
			}
		}
	case 3: // resets the disk under everybody
		f := []iscsi.TaskManagementFunction{iscsi.LogicalUnitReset, iscsi.ClearTaskSet, iscsi.AbortTaskSet}[w.rng.IntN(3)]
		if status, err := w.Manage(iscsi.TaskManagementRequest{Immediate: true, Function: f}); err != nil || status != iscsi.FunctionComplete {
			w.t.Fatalf("%v: %v, %v", f, status, err)
		}
	case 4: // logs out and in
		if r, err := w.Logout(iscsi.CloseSession, 0); err != nil || r.Response != iscsi.LogoutClosed {
			w.t.Fatalf("%v, %v", r, err)
		}
		w.closed()
		w.peer = login(w.t, w.d, w.login)
	case 5: // goes on over a second connection alone
		second := w.join(w.d, (w.CID+1)%3, initiator.Login{})
		if r, err := second.Logout(iscsi.CloseConnection, w.CID); err != nil || r.Response != iscsi.LogoutClosed {
			w.t.Fatalf("%v, %v", r, err)
		}
		w.closed()
		w.peer = second
	default:
		w.write(slot, mark)
	}
}

// command is a write of a whole slot.
func (w *wanderer) command(slot int, mark byte) initiator.Command {
	return write(w.base+uint32(slot*slotBlocks), fill(mark, slotBlocks))
}

// held starts a write and gives it a part of its data at most; nil: it ended at once,
// with a unit attention.
func (w *wanderer) held(slot int, mark byte) *initiator.Task {
	w.t.Helper()
	c := w.command(slot, mark)
	c.ImmediateData, c.UnsolicitedData, c.HoldData = new(0), new(0), true
	w.may[slot] = append(w.may[slot], mark)
	task := w.start(c)
	if err := task.WaitR2T(1); err != nil {
		if !task.Done() {
			w.t.Fatal(err)
		}
		return nil
	}
	if w.rng.IntN(2) == 0 {
		if err := task.Answer(task.R2Ts[0]); err != nil {
			w.t.Fatal(err)
		}
	}
	return task
}

// write writes a slot to its end, whatever that is.
func (w *wanderer) write(slot int, mark byte) {
	w.t.Helper()
	switch r := w.run(w.command(slot, mark)); r.Status {
	case statusGood:
		w.may[slot] = []byte{mark}
	case statusCheckCondition, statusTaskAborted:
		w.may[slot] = append(w.may[slot], mark)
	default:
		w.t.Fatalf("status %02x", r.Status)
	}
}

// check reads all slots back.
func (w *wanderer) check() {
	w.t.Helper()
	for slot, may := range w.may {
		for range 50 { // others may still reset the disk
			r := w.run(initiator.Command{CDB: read10(w.base+uint32(slot*slotBlocks), slotBlocks), Read: slotBlocks * blockSize})
			if r.Status != statusGood {
				continue
			}
			if !bytes.Equal(r.Data, fill(r.Data[0], slotBlocks)) || !bytes.Contains(may, r.Data[:1]) {
				w.t.Errorf("slot %d begins with %d, may have %d, or is torn", slot, r.Data[0], may)
			}
			break
		}
	}
}
