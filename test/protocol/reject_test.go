package protocol_test

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/iscsi"
)

// An opcode that no initiator sends is rejected with its header; the connection goes
// on (11.17.1).
func TestRejectOpcode_RFC7143_11_17_1(t *testing.T) {
	d := serve(t, standard)
	bystander(t, d)
	p := ready(t, d, normal(nil))
	for _, opcode := range []iscsi.Opcode{0x07, 0x0f, 0x1c, 0x1d, 0x1e, 0x20, 0x21, 0x25, 0x31, 0x3f} {
		before := len(p.Rejects)
		pdu := initiator.PDU{Data: []byte("whatever")}
		pdu.BHS.SetOpcode(opcode)
		pdu.BHS.SetImmediate(true)
		pdu.BHS.SetInitiatorTaskTag(0x1234)
		task, err := p.Request(&pdu, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := task.Await(); !errors.Is(err, initiator.ErrRejected) {
			t.Fatalf("%v: %v", opcode, err)
		}
		r := p.Rejects[before]
		pdu.BHS.SetDataSegmentLength(8)
		if r.Reason != iscsi.RejectCommandNotSupported || r.Header != pdu.BHS {
			t.Errorf("%v: %v of %x, sent was %x", opcode, r.Reason, r.Header, pdu.BHS)
		}
		p.alive()
	}
}

// A rejected request was not received: its number is still due, and whoever bears it
// next is taken (7.3).
func TestRejectKeepsCmdSN_RFC7143_7_3(t *testing.T) {
	d := serve(t, standard)
	p := ready(t, d, normal(nil))
	var pdu initiator.PDU
	h := iscsi.NopOut{InitiatorTaskTag: p.Session.NextTag(), TargetTransferTag: iscsi.ReservedTag, CmdSN: p.Session.CmdSN}
	h.Marshal(&pdu.BHS)
	pdu.BHS.SetOpcode(0x1c)
	task, err := p.Request(&pdu, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := task.Await(); !errors.Is(err, initiator.ErrRejected) {
		t.Fatal(err)
	}
	p.alive()
}

// Nothing is sent a second time at ErrorRecoveryLevel 0: each SNACK is rejected, and a
// DataACK too (11.16).
func TestSNACK_RFC7143_11_16(t *testing.T) {
	d := serve(t, standard)
	p := ready(t, d, normal(nil))
	for _, kind := range []iscsi.SNACKType{iscsi.SNACKDataOrR2T, iscsi.SNACKStatus, iscsi.SNACKDataACK, iscsi.SNACKRData} {
		before := len(p.Rejects)
		if err := p.SNACK(iscsi.SNACK{Type: kind, InitiatorTaskTag: iscsi.ReservedTag, TargetTransferTag: iscsi.ReservedTag, BegRun: p.ExpStatSN - 1, RunLength: 1}); err != nil {
			t.Fatal(err)
		}
		for len(p.Rejects) == before {
			if err := p.Pump(); err != nil {
				t.Fatalf("%v: %v", kind, err)
			}
		}
		if got := p.Rejects[before].Reason; got != iscsi.RejectSNACK {
			t.Errorf("%v: %v", kind, got)
		}
		p.alive()
	}
}

// Requests whose fields contradict each other end in a Reject or the end of the
// session, and nothing comes of them (7.7, 11.3.1, 11.2.1.8, 11.10.2, 11.18.1).
func TestRejectFields_RFC7143_7_7(t *testing.T) {
	d := serve(t, standard)
	bystander(t, d)
	for name, edit := range map[string]func(p *peer, h *iscsi.BHS){
		"write without F":        func(_ *peer, h *iscsi.BHS) { h[1] = 0x41; h[23] = 0 },
		"length without R and W": func(_ *peer, h *iscsi.BHS) { h[1] = 0x81 },
		"attribute 7":            func(_ *peer, h *iscsi.BHS) { h[1] |= 7 },
		"reserved task tag":      func(_ *peer, h *iscsi.BHS) { h.SetInitiatorTaskTag(iscsi.ReservedTag) },
		"text with F and C": func(_ *peer, h *iscsi.BHS) {
			*h = iscsi.BHS{0: 0x44, 1: 0xc0, 19: 1, 20: 0xff, 21: 0xff, 22: 0xff, 23: 0xff}
		},
		"ping without I and tag":  func(_ *peer, h *iscsi.BHS) { *h = iscsi.BHS{1: 0x80, 16: 0xff, 17: 0xff, 18: 0xff, 19: 0xff} },
		"text for no exchange":    func(_ *peer, h *iscsi.BHS) { *h = iscsi.BHS{0: 0x44, 1: 0x80, 19: 1, 23: 9} },
		"logout with no tag":      func(_ *peer, h *iscsi.BHS) { *h = iscsi.BHS{0: 0x46, 1: 0x80, 16: 0xff, 17: 0xff, 18: 0xff, 19: 0xff} },
		"task management, no tag": func(_ *peer, h *iscsi.BHS) { *h = iscsi.BHS{0: 0x42, 1: 0x81, 16: 0xff, 17: 0xff, 18: 0xff, 19: 0xff} },
		"data-out with no tag":    func(_ *peer, h *iscsi.BHS) { *h = iscsi.BHS{0: 0x05, 1: 0x80, 16: 0xff, 17: 0xff, 18: 0xff, 19: 0xff} },
	} {
		t.Run(name, func(t *testing.T) {
			p := ready(t, d, normal(nil))
			h := iscsi.SCSICommand{Final: true, Read: true, Attribute: iscsi.AttributeSimple, InitiatorTaskTag: 0x4711, Length: blockSize, CmdSN: p.Session.CmdSN}
			copy(h.CDB[:], read10(0, 1))
			var pdu initiator.PDU
			h.Marshal(&pdu.BHS)
			edit(p, &pdu.BHS)
			if err := p.Send(&pdu, 0); err != nil {
				t.Fatal(err)
			}
			for len(p.Rejects) == 0 {
				if err := p.Pump(); initiator.IsClosed(err) {
					break
				} else if err != nil {
					t.Fatal(err)
				}
			}
			for _, r := range p.Rejects {
				if !slices.Contains([]iscsi.RejectReason{iscsi.RejectInvalidPDUField, iscsi.RejectProtocolError}, r.Reason) {
					t.Errorf("rejected with %v", r.Reason)
				}
			}
		})
	}
}

// Reserved bits are ignored (11).
func TestReservedBits_RFC7143_11(t *testing.T) {
	d := serve(t, standard)
	p := ready(t, d, normal(nil))
	p.good(write(0, fill('o', 1)))
	r := p.good(initiator.Command{CDB: read10(0, 1), Read: blockSize, Edit: func(pdu *initiator.PDU) initiator.Faults {
		pdu.BHS[0] |= 0x80
		pdu.BHS[1] |= 0x18
		pdu.BHS[2], pdu.BHS[3] = 0xff, 0xff
		return 0
	}})
	if r.Data[0] != 'o' {
		t.Errorf("read %x", r.Data[:4])
	}
	// So are additional headers where none is of use (11.2.2).
	ping := initiator.PDU{AHS: make([]byte, iscsi.MaxAHSLength), Data: []byte("ping")}
	(&iscsi.NopOut{Immediate: true, InitiatorTaskTag: p.Session.NextTag(), TargetTransferTag: iscsi.ReservedTag, CmdSN: p.Session.CmdSN}).Marshal(&ping.BHS)
	task, err := p.Request(&ping, 0)
	if err != nil {
		t.Fatal(err)
	}
	if answer, err := task.Await(); err != nil || string(answer.Data) != "ping" {
		t.Errorf("a ping with 1020 bytes of additional headers: %+v, %v", answer, err)
	}
}

// Garbage in the full feature phase: whatever comes, the daemon lives, others do not
// notice, and the medium is not touched.
func TestGarbage_RFC7143_11(t *testing.T) {
	d := serve(t, standard)
	bystander(t, d)
	ready(t, d, normal(nil)).good(write(0, fill('o', 8)))
	rng := rand.New(rand.NewPCG(7, 143))
	for range 150 {
		p := login(t, d, offer("InitialR2T=No", "ImmediateData=Yes"))
		for range 20 {
			var pdu initiator.PDU
			for i := range pdu.BHS {
				if rng.IntN(3) == 0 {
					pdu.BHS[i] = byte(rng.Uint32())
				}
			}
			pdu.BHS[4] = byte(rng.IntN(3)) // some AHS
			pdu.AHS = make([]byte, 4*int(pdu.BHS[4]))
			for i := range pdu.AHS {
				pdu.AHS[i] = byte(rng.Uint32())
			}
			pdu.Data = make([]byte, rng.IntN(2000))
			if pdu.BHS.Opcode() == iscsi.OpSCSICommand || pdu.BHS.Opcode() == iscsi.OpDataOut {
				copy(pdu.BHS[32:], testUnitReady()) // a random CDB might be a WRITE or FORMAT UNIT
			}
			if err := p.Send(&pdu, 0); err != nil {
				break
			}
		}
		p.Close()
	}
	ready(t, d, normal(nil)).wantBlock(0, 'o')
}

// Garbage in place of a login.
func TestGarbageLogin_RFC7143_6_3(t *testing.T) {
	d := serve(t, standard)
	bystander(t, d)
	rng := rand.New(rand.NewPCG(6, 3))
	for round := range 200 {
		p := dial(t, d)
		wire := make([]byte, 1+rng.IntN(400))
		for i := range wire {
			wire[i] = byte(rng.Uint32())
		}
		if round%2 == 0 && len(wire) > 8 { // so that more than the first byte is looked at
			copy(wire, []byte{0x43, 0x87, 0, 0, 0, 0, 0, byte(len(wire))})
		}
		_ = p.SendBytes(wire) // the target may have closed the connection
		p.Close()
	}
}
