package target

import (
	"testing"
	"time"

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

func newHangingStore(s *ram.Store) *hangingStore {
	return &hangingStore{s, make(chan struct{}, 100), make(chan struct{})}
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
	hang := newHangingStore(store)
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

// connection is the only one of r.
func (r *rig) connection(t *testing.T) *Connection {
	t.Helper()
	r.entity.mu.Lock()
	defer r.entity.mu.Unlock()
	for c := range r.entity.connections {
		return c
	}
	t.Fatal("there is no connection")
	return nil
}

// A write that came before its turn is run beside the post of the reader: the watch
// must not send a second reader to a connection whose first has gone on.
func TestEarlyWriteKeepsReader(t *testing.T) {
	store, err := ram.New(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	quick := newHangingStore(store)
	close(quick.release)
	r := newRigOn(t, quick)
	c, first := r.connection(t), r.cmdSN
	var h iscsi.BHS
	r.cmdSN = first + 1
	r.command(t, &h, 0x2a, 0, 8, make([]byte, 4096))
	r.cmdSN = first
	if status := r.read10(t, 64, 8); status != 0 {
		t.Fatalf("READ ended with status %02Xh", status)
	}
	if status := r.answer(t); status != 0 {
		t.Fatalf("the early WRITE ended with status %02Xh", status)
	}
	r.cmdSN = first + 2
	r.ping(t)
	for range 10 { // the watch needs two looks
		if lingers := uint32(c.post.at.Load()); lingers != 0 {
			t.Fatalf("the reader waits for its next PDU, and is said to be at command %d", lingers)
		}
		time.Sleep(reliefInterval)
	}
	if readers := c.post.at.Load() >> 32; readers != 0 {
		t.Fatalf("%d readers were relieved of a connection where nothing hung", readers)
	}
}
