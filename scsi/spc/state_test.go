package spc

import (
	"bytes"
	"testing"

	"github.com/isantarget/isantarget/scsi"
)

func TestLogSense_SPC4_6_8(t *testing.T) {
	r := newRig(t, nil)
	wantData(t, r.do(t, "4d 00 40 00 00 0000 00ff 00"), "00 00 0002 00 2f")
	wantData(t, r.do(t, "4d 00 40 ff 00 0000 00ff 00"), "40 ff 0006 0000 00ff 2f00")
	wantData(t, r.do(t, "4d 00 6f 00 00 0000 00ff 00"), "af 00 0008 0000 03 04 0000 ff ff")
	wantData(t, r.do(t, "4d 00 6f 00 00 0000 0004 00"), "af 00 0008")
	wantError(t, r.do(t, "4d 00 4d 00 00 0000 00ff 00"), scsi.InvalidFieldInCDB(2, 5))
	wantError(t, r.do(t, "4d 00 6f 01 00 0000 00ff 00"), scsi.InvalidFieldInCDB(3, scsi.WholeByte))
	wantError(t, r.do(t, "4d 00 6f 00 00 0001 00ff 00"), scsi.InvalidFieldInCDB(5, scsi.WholeByte))
	wantError(t, r.do(t, "4d 01 40 00 00 0000 00ff 00"), scsi.InvalidFieldInCDB(1, 0)) // SP: nothing can be saved
}

func TestReserveAndRelease_SPC2_7_16(t *testing.T) {
	for _, lengths := range [][2]string{{"16 00 00 00 00 00", "17 00 00 00 00 00"}, {"56 00 00 00 00 00 00 0000 00", "57 00 00 00 00 00 00 0000 00"}} {
		r := newRig(t, nil)
		reserve, release, ready := unhex(t, lengths[0]), unhex(t, lengths[1]), make([]byte, 6)
		wantError(t, r.send(r.lu, r.a, nil, reserve), nil)
		wantError(t, r.send(r.lu, r.a, nil, reserve), nil)
		wantError(t, r.send(r.lu, r.b, nil, reserve), scsi.ReservationConflict)
		wantError(t, r.send(r.lu, r.b, nil, ready), scsi.ReservationConflict)
		wantError(t, r.send(r.lu, r.b, nil, release), nil) // without effect
		wantError(t, r.send(r.lu, r.b, nil, ready), scsi.ReservationConflict)
		for _, allowed := range []string{"12 00 00 0060 00", "a0 00 00 000000 00000040 00 00", "03 00 00 00 12 00", "4d 00 40 00 00 0000 00ff 00"} {
			wantError(t, r.send(r.lu, r.b, nil, unhex(t, allowed)), nil)
		}
		wantError(t, r.send(r.lu, r.a, nil, ready), nil)
		wantError(t, r.send(r.lu, r.a, nil, release), nil)
		wantError(t, r.send(r.lu, r.b, nil, ready), nil)
	}
}

// TestReserveLeavesNoWriteBehind: GOOD for RESERVE means that no command of another
// nexus is still at work.
func TestReserveLeavesNoWriteBehind(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	r := newRig(t, nil, scsi.Operation{
		Name: "WRITE", Opcode: 0x0a, Usage: []byte{0x0a, 0, 0, 0, 0, 0}, Conflict: scsi.ConflictAlways,
		Execute: func(*scsi.Command) error { entered <- struct{}{}; <-leave; return nil },
	})
	write := make(chan *scsi.Command)
	go func() { write <- r.send(r.lu, r.b, nil, []byte{0x0a, 0, 0, 0, 0, 0}) }()
	<-entered
	d := &delivery{done: make(chan struct{})}
	r.lu.Execute(&scsi.Command{Nexus: r.a, CDB: []byte{0x16, 0, 0, 0, 0, 0}, Delivery: d})
	select {
	case <-d.done:
		t.Error("RESERVE is GOOD while a write of another nexus is at work")
	default:
	}
	close(leave)
	wantError(t, <-write, nil)
	<-d.done
	wantError(t, r.send(r.lu, r.b, nil, []byte{0x0a, 0, 0, 0, 0, 0}), scsi.ReservationConflict)
}

func TestReserveRefusesExtentsAndThirdParties_SPC2_7_21(t *testing.T) {
	r := newRig(t, nil)
	wantError(t, r.do(t, "16 01 00 00 00 00"), scsi.InvalidFieldInCDB(1, 0))
	wantError(t, r.do(t, "16 10 00 00 00 00"), scsi.InvalidFieldInCDB(1, 4))
	wantError(t, r.do(t, "56 10 00 05 00 00 00 0000 00"), scsi.InvalidFieldInCDB(1, 4))
	wantError(t, r.do(t, "56 02 00 00 00 00 00 0008 00"), scsi.InvalidFieldInCDB(1, 1))
	if r.lu.ReservedBy() != nil {
		t.Error("a refused RESERVE holds the unit")
	}
}

func TestSendDiagnostic_SPC4_6_42(t *testing.T) {
	r := newRig(t, nil)
	for _, cdb := range []string{"1d 04 00 0000 00", "1d 00 00 0000 00", "1d 07 00 0000 00", "1d 10 00 0000 00"} {
		wantError(t, r.do(t, cdb), nil)
	}
	wantError(t, r.do(t, "1d 24 00 0000 00"), scsi.InvalidFieldInCDB(1, 7))
	wantError(t, r.do(t, "1d 20 00 0000 00"), scsi.InvalidFieldInCDB(1, 7))
	wantError(t, r.do(t, "1d 80 00 0000 00"), scsi.InvalidFieldInCDB(1, 7))
	wantError(t, r.do(t, "1d a0 00 0000 00"), scsi.InvalidFieldInCDB(1, 7))
	wantError(t, r.do(t, "1d 04 00 0004 00"), scsi.InvalidFieldInCDB(3, scsi.WholeByte))
	wantError(t, r.do(t, "1d 00 00 0004 00"), scsi.InvalidFieldInCDB(1, 4))
	wantError(t, r.out(t, "1d 10 00 0004 00", "00 00 0000"), nil)
	wantError(t, r.out(t, "1d 10 00 0004 00", "40 00 0000"), scsi.InvalidFieldInParameterList(0, scsi.WholeByte))
	wantError(t, r.out(t, "1d 10 00 0005 00", "00 00 0001 00"), scsi.InvalidFieldInParameterList(2, scsi.WholeByte))
	wantError(t, r.out(t, "1d 10 00 0004 00", "00 00 0001"), scsi.InvalidFieldInCDB(3, scsi.WholeByte))
	wantError(t, r.out(t, "1d 10 00 0002 00", "00 00"), scsi.InvalidFieldInCDB(3, scsi.WholeByte))
	wantError(t, r.out(t, "1d 10 00 0004 00", "00 00"), scsi.IllegalRequest(scsi.ASCParameterListLengthError))
	r.notReady = scsi.NotReady(scsi.ASCMediumNotPresent)
	wantError(t, r.do(t, "1d 04 00 0000 00"), r.notReady)
}

func TestReceiveDiagnosticResults_SPC4_6_28(t *testing.T) {
	r := newRig(t, nil)
	wantData(t, r.do(t, "1c 01 00 00ff 00"), "00 00 0001 00")
	wantData(t, r.do(t, "1c 00 00 00ff 00"), "00 00 0001 00")
	wantError(t, r.do(t, "1c 01 40 00ff 00"), scsi.InvalidFieldInCDB(2, scsi.WholeByte))
}

func TestEchoBuffer_SPC4_6_18_6(t *testing.T) {
	r := newRig(t, nil)
	const read = "3c 0a 00 000000 000100 00"
	wantData(t, r.do(t, "3c 0b 00 000000 000004 00"), "01 00 1000")
	wantData(t, r.do(t, "3c 03 00 000000 000004 00"), "00 00 0000")
	wantError(t, r.do(t, read), scsi.IllegalRequest(scsi.ASCCommandSequenceError))
	wantError(t, r.out(t, "3b 0a 00 000000 000004 00", "01020304"), nil)
	wantError(t, r.send(r.lu, r.b, []byte{9}, unhex(t, "3b 0a 00 000000 000001 00")), nil)
	wantData(t, r.do(t, read), "01020304")
	wantData(t, r.do(t, "3c 0a 00 000000 000002 00"), "0102")
	wantData(t, r.send(r.lu, r.b, nil, unhex(t, read)), "09")
	wantError(t, r.do(t, "3b 0a 00 000000 001001 00"), scsi.InvalidFieldInCDB(6, scsi.WholeByte))
	wantError(t, r.out(t, "3b 0a 00 000000 000004 00", "0102"), scsi.IllegalRequest(scsi.ASCParameterListLengthError))
	wantError(t, r.do(t, "3b 02 00 000000 000004 00"), scsi.InvalidFieldInCDB(1, 4))
	wantError(t, r.do(t, "3c 02 00 000000 000004 00"), scsi.InvalidFieldInCDB(1, 4))
	wantData(t, r.do(t, read), "01020304") // refused writes left it

	full := bytes.Repeat([]byte{7}, echoCapacity)
	wantError(t, r.send(r.lu, r.a, full, unhex(t, "3b 0a 00 000000 001000 00")), nil)
	if got := r.do(t, "3c 0a 00 000000 ffffff 00"); !bytes.Equal(got.DataIn, full) {
		t.Errorf("%d bytes of %d came back", len(got.DataIn), len(full))
	}
	others := func(n int) {
		for range n {
			wantError(t, r.send(r.lu, &scsi.Nexus{}, []byte{1}, unhex(t, "3b 0a 00 000000 000001 00")), nil)
		}
	}
	others(echoNexuses - 1)
	wantError(t, r.do(t, read), nil)
	others(1)
	wantError(t, r.do(t, read), scsi.AbortedCommand(scsi.ASCEchoBufferOverwritten))
	others(echoKnown)
	wantError(t, r.do(t, read), scsi.IllegalRequest(scsi.ASCCommandSequenceError))
	wantError(t, r.out(t, "3b 0a ff ffffff 000000 00", ""), nil) // BUFFER ID and BUFFER OFFSET are ignored
	wantData(t, r.do(t, read), "")
}

// FuzzCommands: no CDB and no parameter list makes a command fail inside (Report
// would hear of it), return more than it was asked for, or change the identity.
func FuzzCommands(f *testing.F) {
	for _, row := range Operations() {
		f.Add(row.Usage, []byte{0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 2, 0, 0x0a, 0x0a})
	}
	f.Add([]byte{0x55, 0x10, 8: 0x20, 9: 0}, []byte{4: 1, 7: 16, 23: 0x4a, 24: 1, 25: 0xff, 26: 0xff})
	f.Fuzz(func(t *testing.T, cdb, out []byte) {
		r := newRig(t, keeper{})
		cdb = append([]byte(nil), cdb...)
		c := r.send(r.lu, r.a, out, cdb)
		if c.Status == scsi.Good && len(c.Sense) > 0 || c.Status == scsi.CheckCondition && len(c.Sense) < 8 {
			t.Errorf("%v with sense data %X", c.Status, c.Sense)
		}
		wantData(t, r.do(t, "12 01 80 00ff 00"), "00 80 0010 30313233343536373839616263646566")
	})
}
