package target

import (
	"testing"

	"github.com/isantarget/isantarget/backstore"
	ram "github.com/isantarget/isantarget/backstore/memory"
	"github.com/isantarget/isantarget/iscsi"
)

// A hangingStore says that its writes do not wait, and lets them wait.
type hangingStore struct {
	*ram.Store
	hanging chan struct{} // a write has begun
	release chan struct{}
}

func (s *hangingStore) Features() backstore.Features {
	return s.Store.Features()&^backstore.CanTryWrite | backstore.Buffered
}

func (s *hangingStore) WriteAt(p []byte, off int64) (int, error) {
	s.hanging <- struct{}{}
	<-s.release
	return s.Store.WriteAt(p, off)
}

// A write that hangs in the store, on the reader of its connection, holds up
// neither NOP-Out nor reads of that connection, however many hang.
func TestHangingWriteHoldsUpNothing(t *testing.T) {
	store, err := ram.New(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	hang := &hangingStore{store, make(chan struct{}, 100), make(chan struct{})}
	r := newRigOn(t, hang)
	data := make([]byte, 4096)
	const writes = 3
	for i := range writes {
		var h iscsi.BHS
		r.command(t, &h, 0x2a, uint32(8*i), 8, data)
		<-hang.hanging
		r.ping(t)
		if status := r.read10(t, 64, 8); status != 0 {
			t.Fatalf("READ beside a hanging WRITE ended with status %02Xh", status)
		}
	}
	close(hang.release)
	for range writes {
		if status := r.answer(t); status != 0 {
			t.Fatalf("the WRITE that hung ended with status %02Xh", status)
		}
	}
	r.ping(t)
}

// ping sends a NOP-Out and waits for its answer, which must be the next PDU.
func (r *rig) ping(tb testing.TB) {
	tb.Helper()
	var h iscsi.BHS
	p := iscsi.NopOut{Immediate: true, InitiatorTaskTag: 0x70000000, TargetTransferTag: iscsi.ReservedTag, CmdSN: r.cmdSN}
	p.Marshal(&h)
	if _, err := r.conn.Write(h[:]); err != nil {
		tb.Fatal(err)
	}
	if got := r.receive(tb).Opcode(); got != iscsi.OpNopIn {
		tb.Fatalf("%v where the answer to a NOP-Out was due", got)
	}
}
