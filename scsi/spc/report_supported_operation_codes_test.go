package spc

import (
	"encoding/binary"
	"testing"

	"github.com/isantarget/isantarget/scsi"
)

func TestReportSupportedOperationCodes_SPC4_6_35(t *testing.T) {
	r := newRig(t, nil)
	rsoc := func(options, opcode byte, action uint16) *scsi.Command {
		cdb := []byte{0xa3, 0x0c, options, opcode, byte(action >> 8), byte(action), 0, 0, 0x10, 0, 0, 0}
		return r.send(r.lu, r.a, nil, cdb)
	}
	const inquiry = "12 01 ff ff ff 00"
	const rstmf = "a3 0d 80 00 00 00 ff ff ff ff 00 00"
	wantData(t, rsoc(1, 0x12, 0), "00 03 0006"+inquiry)
	wantData(t, rsoc(0x81, 0x12, 0), "00 83 0006"+inquiry+"000a 00 00 00000001 0000001e")
	wantData(t, rsoc(2, 0xa3, 0x0d), "00 03 000c"+rstmf)
	wantData(t, rsoc(3, 0xa3, 0x0d), "00 03 000c"+rstmf)
	wantData(t, rsoc(3, 0x12, 0), "00 03 0006"+inquiry)
	for _, absent := range []struct {
		options, opcode byte
		action          uint16
	}{{1, 0x4c, 0}, {2, 0x5e, 4}, {2, 0xa3, 0x0b}, {3, 0xa3, 0x0b}, {3, 0x12, 1}, {0x83, 0xc0, 0}} {
		wantData(t, rsoc(absent.options, absent.opcode, absent.action), "00 01 0000")
	}
	wantError(t, rsoc(1, 0xa3, 0x0c), scsi.InvalidFieldInCDB(2, 2))
	wantError(t, rsoc(2, 0x12, 0), scsi.InvalidFieldInCDB(2, 2))
	wantError(t, rsoc(4, 0x12, 0), scsi.InvalidFieldInCDB(2, 2))
	wantError(t, rsoc(7, 0xc0, 0), scsi.InvalidFieldInCDB(2, 2))
}

// TestReportAllIsTheTable: what the list says is what each row does.
func TestReportAllIsTheTable_SPC4_6_35_2(t *testing.T) {
	r := newRig(t, nil)
	for _, timeouts := range []byte{0, 0x80} {
		c := r.send(r.lu, r.a, nil, []byte{0xa3, 0x0c, timeouts, 0, 0, 0, 0, 0, 0x10, 0, 0, 0})
		width := 8
		if timeouts != 0 {
			width = 20
		}
		data := c.DataIn
		if n := int(binary.BigEndian.Uint32(data)); n != len(data)-4 || n%width != 0 || n/width != len(Operations()) {
			t.Fatalf("%d bytes of descriptors for %d rows", n, len(Operations()))
		}
		previous := -1
		for d := data[4:]; len(d) > 0; d = d[width:] {
			key := int(d[0])<<16 | int(binary.BigEndian.Uint16(d[2:]))
			if key <= previous {
				t.Errorf("%06X after %06X", key, previous)
			}
			previous = key
			options := byte(1)
			if d[5]&0x01 != 0 {
				options = 2
			}
			one := r.send(r.lu, r.a, nil, []byte{0xa3, 0x0c, options, d[0], d[2], d[3], 0, 0, 0x10, 0, 0, 0})
			if one.DataIn[1] != 0x03 || one.DataIn[2] != d[6] || one.DataIn[3] != d[7] || one.DataIn[4] != d[0] {
				t.Errorf("%X is in the list, but alone it is %X", d[:width], one.DataIn)
			}
			if (d[5]&0x02 != 0) != (timeouts != 0) || timeouts != 0 && binary.BigEndian.Uint16(d[8:]) != 10 {
				t.Errorf("timeouts descriptor: %X", d[:width])
			}
		}
	}
	wantData(t, r.do(t, "a3 0c 00 00 0000 00000003 00 00"), "000001")
}

func TestReportSupportedTaskManagementFunctions_SPC4_6_36(t *testing.T) {
	r := newRig(t, nil)
	wantData(t, r.do(t, "a3 0d 00 00 0000 00000010 00 00"), "dc 07 00 00")
	wantData(t, r.do(t, "a3 0d 80 00 0000 00000010 00 00"), "dc 07 00 0c 01 00 d8 01 00000064 00000001")
	wantData(t, r.do(t, "a3 0d 80 00 0000 00000004 00 00"), "dc 07 00 0c")
	wantError(t, r.do(t, "a3 0d 00 00 0000 00000003 00 00"), scsi.InvalidFieldInCDB(6, scsi.WholeByte))
}
