package target

import (
	"testing"
	"time"

	ram "github.com/isantarget/isantarget/backstore/memory"
	"github.com/isantarget/isantarget/iscsi"
)

// manage sends an immediate task management request.
func (r *rig) manage(t *testing.T, f iscsi.TaskManagementFunction) {
	t.Helper()
	var h iscsi.BHS
	p := iscsi.TaskManagementRequest{Immediate: true, Function: f, InitiatorTaskTag: 0x60000000, ReferencedTaskTag: iscsi.ReservedTag, CmdSN: r.cmdSN}
	p.Marshal(&h)
	if _, err := r.conn.Write(h[:]); err != nil {
		t.Fatal(err)
	}
}

// managed is the answer to manage, which must be the next PDU.
func (r *rig) managed(t *testing.T) iscsi.TaskManagementStatus {
	t.Helper()
	var answer iscsi.TaskManagementResponse
	if err := answer.Unmarshal(r.receive(t)); err != nil {
		t.Fatal(err)
	}
	return answer.Response
}

// A command that comes while ABORT TASK SET is at work, and fails before its data has
// come, is none of those aborted: it is answered.
func TestResponseOfLaterCommand_RFC7143_11_5_1(t *testing.T) {
	store, err := ram.New(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	hang := newHangingStore(store)
	r := newRigOn(t, hang)
	var h iscsi.BHS
	r.command(t, &h, 0x2a, 0, 8, make([]byte, 4096))
	<-hang.hanging
	r.manage(t, iscsi.AbortTaskSet) // at work on a goroutine of its own

	later := iscsi.SCSICommand{Write: true, Attribute: iscsi.AttributeSimple, InitiatorTaskTag: r.cmdSN, Length: 512, CmdSN: r.cmdSN}
	later.CDB[0], later.CDB[2], later.CDB[8] = 0x2a, 0xff, 1 // far beyond the end
	later.Marshal(&h)
	h.SetDataSegmentLength(0)
	r.cmdSN++
	if _, err := r.conn.Write(h[:]); err != nil {
		t.Fatal(err)
	}
	r.ping(t) // it has been read
	close(hang.release)
	if s := r.managed(t); s != iscsi.FunctionComplete {
		t.Fatalf("ABORT TASK SET: %v", s)
	}
	data := iscsi.DataOut{Final: true, InitiatorTaskTag: later.InitiatorTaskTag, TargetTransferTag: iscsi.ReservedTag}
	data.Marshal(&h)
	h.SetDataSegmentLength(512)
	if _, err := r.conn.Write(append(h[:], make([]byte, 512)...)); err != nil {
		t.Fatal(err)
	}
	r.conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	if status := r.answer(t); status != 2 {
		t.Errorf("WRITE beyond the end ended with status %02Xh", status)
	}
}
