package spc

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/isantarget/isantarget/scsi"
)

// out sends PERSISTENT RESERVE OUT of nexus n with a list, written in hexadecimal.
func (r *modelRig) out(n int, cdb, list string) *scsi.Command {
	r.t.Helper()
	return r.rig.send(r.lu, r.nexuses[n], unhex(r.t, list), unhex(r.t, cdb))
}

// in sends PERSISTENT RESERVE IN of nexus n.
func (r *modelRig) in(n int, action byte, allocation uint16) *scsi.Command {
	r.t.Helper()
	return r.rig.send(r.lu, r.nexuses[n], nil, []byte{0x5e, action, 0, 0, 0, 0, 0, byte(allocation >> 8), byte(allocation), 0})
}

// must sends q, which has to end with GOOD.
func (r *modelRig) must(q request) {
	r.t.Helper()
	wantError(r.t, r.send(q), nil)
}

const noKeys = "0000000000000000 0000000000000000"

func TestReadKeys_SPC4_6_15_2(t *testing.T) {
	r := newModelRig(t)
	wantData(t, r.in(5, 0, 100), "00000000 00000000")
	r.must(request{me: 0, action: 0, newKey: 0x1122334455667788})
	r.must(request{me: 2, action: 6, newKey: 5})
	const all = "00000002 00000010 1122334455667788 0000000000000005"
	wantData(t, r.in(5, 0, 100), all)
	wantData(t, r.in(5, 0, 10), all[:22]) // the lengths stay true
	wantData(t, r.in(5, 0, 0), "")
	wantError(t, r.rig.send(r.lu, r.nexuses[0], nil, []byte{0x5e, 4, 0, 0, 0, 0, 0, 0, 8, 0}), scsi.InvalidFieldInCDB(1, 4))
	wantError(t, r.rig.send(r.lu, r.nexuses[0], nil, []byte{0x5e, 0, 1, 0, 0, 0, 0, 0, 8, 0}), scsi.InvalidFieldInCDB(2, 0))
}

func TestReadReservation_SPC4_6_15_3(t *testing.T) {
	for kind, want := range map[scsi.ReservationType]string{
		3: "00000001 00000010 0000000000000007 00000000 00 03 0000",
		8: "00000001 00000010 0000000000000000 00000000 00 08 0000", // no key: all hold it
	} {
		r := newModelRig(t)
		r.must(request{me: 0, newKey: 7})
		wantData(t, r.in(1, 1, 100), "00000001 00000000")
		r.must(request{me: 0, action: 1, kind: kind, key: 7})
		wantData(t, r.in(1, 1, 100), want)
	}
}

func TestReportCapabilities_SPC4_6_15_4(t *testing.T) {
	r := newModelRig(t)
	wantData(t, r.in(0, 2, 100), "0008 1d b0 ea01 0000") // CRH SIP_C ATP_C PTPL_C; TMV, ALLOW COMMANDS 3h
	r.must(request{me: 0, newKey: 1, aptpl: true})
	wantData(t, r.in(0, 2, 100), "0008 1d b1 ea01 0000") // PTPL_A
	r.must(request{me: 0, key: 1, newKey: 1})
	wantData(t, r.in(0, 2, 100), "0008 1d b0 ea01 0000")
	without := newRig(t, nil)
	wantData(t, without.do(t, "5e 02 00 00 00 00 00 00 40 00"), "0008 1c b0 ea01 0000")
}

func TestReadFullStatus_SPC4_6_15_5(t *testing.T) {
	r := newModelRig(t)
	wantData(t, r.in(0, 3, 1000), "00000000 00000000")
	r.must(request{me: 3, newKey: 9})
	r.must(request{me: 0, newKey: 8})
	r.must(request{me: 3, action: 1, kind: 5, key: 9})
	name := func(host int) string {
		return fmt.Sprintf("%X", fmt.Sprintf("iqn.2026-11.test:host%d,i,0x80000000000%d", host, host)) + "00"
	}
	id := "0000002c 45 00 0028"
	wantData(t, r.in(0, 3, 1000), "00000002 00000088"+
		"0000000000000009 00000000 01 05 00000000 0002"+id+name(1)+
		"0000000000000008 00000000 00 00 00000000 0001"+id+name(0))
}

// TestParameterListLength: 24 bytes, unless there are TransportIDs.
func TestParameterListLength_SPC4_6_16_2(t *testing.T) {
	r := newModelRig(t)
	r.must(request{me: 0, newKey: 1})
	r.must(request{me: 0, action: 1, kind: 1, key: 1})
	wrong := scsi.IllegalRequest(scsi.ASCParameterListLengthError)
	const own = "0000000000000001"
	for action := range byte(8) {
		for _, n := range []uint32{0, 8, 23, 25, 32, 1 << 20, 1<<32 - 1} {
			list := make([]byte, min(n, 64))
			if n > 16 {
				copy(list, unhex(t, own))
			}
			cdb := append([]byte{0x5f, action, 1, 0, 0}, binary.BigEndian.AppendUint32(nil, n)...)
			c := r.rig.send(r.lu, r.nexuses[0], list, append(cdb, 0))
			if n == 1<<20 && c.Status == scsi.Good || n != 1<<20 {
				wantError(t, c, wrong)
			}
		}
		if action != 7 {
			// the initiator promises less than the CDB
			wantError(t, r.out(0, fmt.Sprintf("5f %02x 01 00 00 00000018 00", action), own), wrong)
		}
	}
	// REGISTER AND MOVE with a TRANSPORTID LENGTH that is not what follows
	wantError(t, r.out(0, "5f 07 01 00 00 0000001c 00", own+" 0000000000000002 00 00 0001 00000000 00000000"), wrong)
	// SPEC_I_PT without the length, and with a wrong one
	wantError(t, r.out(2, "5f 00 01 00 00 00000018 00", noKeys+"00000000 08 000000"), wrong)
	wantError(t, r.out(2, "5f 00 01 00 00 00000020 00", noKeys+"00000000 08 000000 00000008 00000000"), wrong)
}

func TestWrongFields_SPC4_6_16(t *testing.T) {
	r := newModelRig(t)
	r.must(request{me: 0, newKey: 1})
	const own = "0000000000000001 0000000000000000 00000000 00 00 0000"
	for _, x := range []struct {
		cdb  string
		want error
	}{
		{"5f 01 11 00 00 00000018 00", scsi.InvalidFieldInCDB(2, scsi.WholeByte)}, // SCOPE
		{"5f 01 00 00 00 00000018 00", scsi.InvalidFieldInCDB(2, 3)},              // TYPE
		{"5f 01 02 00 00 00000018 00", scsi.InvalidFieldInCDB(2, 3)},
		{"5f 01 04 00 00 00000018 00", scsi.InvalidFieldInCDB(2, 3)},
		{"5f 01 09 00 00 00000018 00", scsi.InvalidFieldInCDB(2, 3)},
		{"5f 08 01 00 00 00000018 00", scsi.InvalidFieldInCDB(1, 4)}, // service action
		{"5f 01 01 01 00 00000018 00", scsi.InvalidFieldInCDB(3, 0)},
		{"5f 04 01 00 00 00000018 00", scsi.InvalidFieldInParameterList(8, scsi.WholeByte)}, // PREEMPT of the key zero
		{"5f 02 01 00 00 00000018 00", nil},                                                 // RELEASE of what nobody holds
	} {
		wantError(t, r.out(0, x.cdb, own), x.want)
	}
	r.must(request{me: 0, action: 1, kind: 1, key: 1})
	invalid := scsi.IllegalRequest(scsi.ASCInvalidReleaseOfPersistentReservation)
	wantError(t, r.out(0, "5f 02 03 00 00 00000018 00", own), invalid)
	wantError(t, r.out(0, "5f 02 11 00 00 00000018 00", own), invalid) // SCOPE
	// PREEMPT that takes over checks SCOPE and TYPE, one that removes registrations ignores them.
	r.must(request{me: 2, newKey: 2})
	const two = "0000000000000002 0000000000000001 00000000 00 00 0000"
	wantError(t, r.out(2, "5f 04 11 00 00 00000018 00", two), scsi.InvalidFieldInCDB(2, scsi.WholeByte))
	wantError(t, r.out(2, "5f 05 02 00 00 00000018 00", two), scsi.InvalidFieldInCDB(2, 3))
	wantError(t, r.out(0, "5f 04 f2 00 00 00000018 00", "0000000000000001 0000000000000002 00000000 00 00 0000"), nil)
}

// TestSpecifiedInitiators: SPEC_I_PT with both formats of TransportID.
func TestSpecifiedInitiators_SPC4_6_16_3(t *testing.T) {
	key := "0000000000000000 0000000000000005 00000000 08 000000"
	send := func(r *modelRig, ids ...[]byte) *scsi.Command {
		var all []byte
		for _, id := range ids {
			all = append(all, id...)
		}
		list := binary.BigEndian.AppendUint32(unhex(t, key), uint32(len(all)))
		list = append(list, all...)
		cdb := binary.BigEndian.AppendUint32([]byte{0x5f, 0, 0, 0, 0}, uint32(len(list)))
		return r.rig.send(r.lu, r.nexuses[0], list, append(cdb, 0))
	}
	stranger := scsi.TransportID{Name: "iqn.2026-11.test:stranger", ISID: [6]byte{5: 1}}.Append(nil)
	device := func(name string) []byte {
		b := make([]byte, 4+40)
		b[0], b[3] = 5, 40
		copy(b[4:], name)
		return b
	}
	r := newModelRig(t)
	wantError(t, send(r, stranger, modelInitiator(1).Append(nil)), nil)
	if x := r.lu.Reservations().Registrations; len(x) != 3 || x[1].Initiator.Name != "iqn.2026-11.test:stranger" || x[2].Initiator != modelInitiator(1) || !x[2].Attached || x[1].Attached {
		t.Errorf("registered: %+v", x)
	}
	r = newModelRig(t)
	wantError(t, send(r, device("iqn.2026-11.test:host2")), nil) // every port of it that is known
	if x := r.lu.Reservations().Registrations; len(x) != 2 || x[1].Initiator != modelInitiator(2) || x[1].TargetPort != *r.nexuses[0].TargetPort {
		t.Errorf("registered: %+v", x)
	}
	r = newModelRig(t)
	invalid := scsi.IllegalRequest(scsi.ASCInvalidFieldInParameterList)
	wantError(t, send(r, stranger, device("iqn.2026-11.test:nobody")), invalid)
	wantError(t, send(r, stranger, device("")), scsi.InvalidFieldInParameterList(28+len(stranger)+4, scsi.WholeByte))
	wantError(t, send(r, stranger, stranger[:12]), scsi.IllegalRequest(scsi.ASCParameterListLengthError))
	other := append([]byte{}, stranger...)
	other[0] = 0x46 // SAS
	wantError(t, send(r, other), scsi.InvalidFieldInParameterList(28, 3))
	if x := r.lu.Reservations(); len(x.Registrations) != 0 || x.Generation != 0 {
		t.Errorf("a command that failed has registered %+v", x)
	}
	wantError(t, r.out(0, "5f 06 00 00 00 00000018 00", key), scsi.InvalidFieldInParameterList(20, 3)) // REGISTER AND IGNORE
}

func FuzzPersistentReserveOut(f *testing.F) {
	for action := range byte(8) {
		f.Add(action, byte(1), make([]byte, 24))
	}
	list := append(make([]byte, 24), modelInitiator(1).Append(nil)...)
	list[15], list[19], list[23] = 1, 1, byte(len(list)-24)
	f.Add(byte(7), byte(1), list)
	f.Fuzz(func(t *testing.T, action, kind byte, list []byte) {
		if len(list) > 0xffff {
			return
		}
		r := newModelRig(t)
		r.must(request{me: 0, newKey: 0x100})
		before := r.lu.Reservations()
		if len(list) >= 8 {
			binary.BigEndian.PutUint64(list, 0x100)
		}
		r.must(request{me: 0, action: 1, kind: 1, key: 0x100})
		c := r.rig.send(r.lu, r.nexuses[0], list, []byte{0x5f, action & 0x1f, kind, 0, 0, 0, 0, byte(len(list) >> 8), byte(len(list)), 0})
		after := r.lu.Reservations()
		if c.Status != scsi.Good && after.Generation != before.Generation {
			t.Fatalf("a command that ended with %v has changed %+v to %+v", c.Status, before, after)
		}
		if holder := after.Holder(); after.Type != 0 && !after.Type.AllRegistrants() && holder == nil {
			t.Fatalf("a reservation without a holder: %+v", after)
		}
	})
}
