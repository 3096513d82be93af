package target

import (
	"testing"
	"time"

	ram "github.com/isantarget/isantarget/backstore/memory"
	"github.com/isantarget/isantarget/iscsi"
	"github.com/isantarget/isantarget/scsi"
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

// Commands that hang in a store hold up a logout for as long as one of them may, however
// many they are: initiators wait 15 s.
func TestLogoutWhileManyHang_RFC7143_11_14(t *testing.T) {
	const commands = 100
	many := func(t *testing.T) (first, second *rig) {
		store, err := ram.New(1 << 20)
		if err != nil {
			t.Fatal(err)
		}
		hang := newHangingStore(store)
		r := newRigOn(t, hang)
		t.Cleanup(func() { close(hang.release) })
		keys := []iscsi.KeyValue{{Key: "InitiatorName", Value: "iqn.2026-11.test:initiator"}, {Key: "TargetName", Value: rigName}}
		first, tsih := r.join(t, 0, 0, append(keys, iscsi.KeyValue{Key: "MaxConnections", Value: "2"}))
		first.read10(t, 0, 8) // takes the unit attention
		r.entity.session(tsih).units.Load().Units(func(_ scsi.LUN, lu *scsi.LogicalUnit) { lu.HangBound = time.Second })
		for range commands {
			var h iscsi.BHS
			first.command(t, &h, 0x2a, 0, 8, make([]byte, 4096))
			<-hang.hanging
		}
		second, _ = r.join(t, tsih, 1, keys)
		second.cmdSN = first.cmdSN
		return first, second
	}
	logout := func(t *testing.T, r *rig, reason iscsi.LogoutReason) {
		r.send(t, &iscsi.LogoutRequest{Immediate: true, Reason: reason, InitiatorTaskTag: 0x50000000, CmdSN: r.cmdSN}, 0)
		r.conn.SetReadDeadline(time.Now().Add(commands / 2 * time.Second))
		if h := r.receive(t); h.Opcode() != iscsi.OpLogoutResponse {
			t.Errorf("%v, where a Logout Response was due", h.Opcode())
		}
	}
	t.Run("session", func(t *testing.T) {
		first, _ := many(t)
		logout(t, first, iscsi.CloseSession)
	})
	t.Run("connection", func(t *testing.T) {
		_, second := many(t)
		logout(t, second, iscsi.CloseConnection) // the first one, of CID 0
	})
}
