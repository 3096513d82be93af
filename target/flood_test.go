package target

import (
	"runtime"
	"testing"
	"time"

	ram "github.com/isantarget/isantarget/backstore/memory"
	"github.com/isantarget/isantarget/iscsi"
)

// A peer that sends task management functions, or logouts, without end while a store
// hangs makes no more goroutines than its window and its immediate requests allow.
func TestFloodWhileAStoreHangs_RFC7143_4_2_2_1(t *testing.T) {
	store, err := ram.New(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	hang := newHangingStore(store)
	r := newRigOn(t, hang)
	defer close(hang.release)
	var h iscsi.BHS
	r.command(t, &h, 0x2a, 0, 8, make([]byte, 4096))
	<-hang.hanging
	before := runtime.NumGoroutine()
	window := DefaultLimits().CommandWindow
	flood := func(h *iscsi.BHS) {
		h.SetDataSegmentLength(0)
		if _, err := r.conn.Write(h[:]); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 10 * window {
		p := iscsi.TaskManagementRequest{Function: iscsi.AbortTaskSet, InitiatorTaskTag: 0x60000000 + uint32(i), ReferencedTaskTag: iscsi.ReservedTag, CmdSN: r.cmdSN + uint32(i)}
		p.Marshal(&h)
		flood(&h)
	}
	for i := range 40 * maxImmediate { // an unknown connection, so that the session goes on
		p := iscsi.LogoutRequest{Immediate: true, Reason: iscsi.CloseConnection, CID: 99, InitiatorTaskTag: 0x50000000 + uint32(i), CmdSN: r.cmdSN}
		p.Marshal(&h)
		flood(&h)
	}
	r.conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	p := iscsi.NopOut{Immediate: true, InitiatorTaskTag: 0x70000000, TargetTransferTag: iscsi.ReservedTag, CmdSN: r.cmdSN}
	p.Marshal(&h)
	flood(&h)
	for r.receive(t).Opcode() != iscsi.OpNopIn {
	} // all before it has been read
	// Each function has a goroutine, and waits; the command before them took a place.
	if n := runtime.NumGoroutine() - before; n > window+2*maxImmediate {
		t.Errorf("%d goroutines more after a flood of functions", n)
	}
}

// Requests whose turn has not come keep their data, and a peer has them keep no more
// than some: what it sends beyond ends the connection. What has had its turn is not
// counted any more.
func TestFloodBeforeItsTurn_RFC7143_4_2_2_1(t *testing.T) {
	store, err := ram.New(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	r := newRigOn(t, store)
	r.conn.SetDeadline(time.Now().Add(patience))
	const segment = 256 << 10
	ping := func(ahead uint32) error {
		return r.trySend(&iscsi.NopOut{InitiatorTaskTag: 0x60000000 + ahead, TargetTransferTag: iscsi.ReservedTag, CmdSN: r.cmdSN + ahead}, segment)
	}
	for range 3 * maxEarlyBytes / segment {
		for _, ahead := range []uint32{1, 0} {
			if err := ping(ahead); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 {
			if h := r.receive(t); h.Opcode() != iscsi.OpNopIn || h.DataSegmentLength() != segment {
				t.Fatalf("%v with %d bytes in answer to a NOP-Out with %d", h.Opcode(), h.DataSegmentLength(), segment)
			}
		}
		r.cmdSN += 2
	}
	for ahead := range uint32(DefaultLimits().CommandWindow - 1) {
		if ping(1+ahead) != nil {
			return // the connection has ended
		}
	}
	if h, ok := r.tryReceive(); ok {
		t.Errorf("%v, where requests before their turn keep %d bytes", h.Opcode(), (DefaultLimits().CommandWindow-1)*segment)
	}
}
