package target

import (
	"testing"

	"github.com/isantarget/isantarget/iscsi"
)

// When the Logout Response arrives the nexus is lost: what it held by RESERVE
// another initiator can have at once.
func TestLogoutFreesReservation_RFC7143_11_15(t *testing.T) {
	for _, reason := range []iscsi.LogoutReason{iscsi.CloseSession, iscsi.CloseConnection} {
		for range 20 {
			r := newRig(t, 1<<20)
			lu := r.node().sessions[r.key(t)].units.Load().Find(0)
			var h iscsi.BHS
			p := iscsi.SCSICommand{Final: true, Attribute: iscsi.AttributeSimple, InitiatorTaskTag: r.cmdSN, CmdSN: r.cmdSN, CDB: [16]byte{0x16}}
			p.Marshal(&h)
			r.cmdSN++
			if _, err := r.conn.Write(h[:]); err != nil {
				t.Fatal(err)
			}
			if status := r.answer(t); status != 0 || lu.ReservedBy() == nil {
				t.Fatalf("RESERVE (6) ended with status %02Xh, holder %v", status, lu.ReservedBy())
			}
			out := iscsi.LogoutRequest{Immediate: true, Reason: reason, InitiatorTaskTag: r.cmdSN, CmdSN: r.cmdSN}
			out.Marshal(&h)
			if _, err := r.conn.Write(h[:]); err != nil {
				t.Fatal(err)
			}
			if got := r.receive(t).Opcode(); got != iscsi.OpLogoutResponse {
				t.Fatalf("%v where the answer to a logout was due", got)
			}
			if holder := lu.ReservedBy(); holder != nil {
				t.Fatalf("%v: after the Logout Response %v still holds the unit", reason, holder)
			}
		}
	}
}
