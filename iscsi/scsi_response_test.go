package iscsi

import "testing"

const scsiResponseWire = "218c0002 00000000 00000000 00000000 11121314 21222324 31323334 41424344 51525354 61626364 71727374 01020304"

func TestSCSIResponse_RFC7143_11_4(t *testing.T) {
	testPDU(t, SCSIResponse{BidiUnderflow: true, Overflow: true, Status: 0x02, InitiatorTaskTag: 0x11121314, SNACKTag: 0x21222324, StatSN: 0x31323334,
		ExpCmdSN: 0x41424344, MaxCmdSN: 0x51525354, ExpDataSN: 0x61626364, BidiResidual: 0x71727374, Residual: 0x01020304},
		scsiResponseWire,
		"3f1effff 00000000 00000000 00000000 ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff")
}

func TestSCSIResponseIllegal_RFC7143_11_4(t *testing.T) {
	for _, c := range []struct{ name, field, wire string }{
		{"overflow and underflow", "Flags", "21860000 00000000 00000000 00000000 00000001 00000000 00000001 00000001 00000001 00000000 00000000 00000000"},
		{"bidirectional overflow and underflow", "Flags", "21980000 00000000 00000000 00000000 00000001 00000000 00000001 00000001 00000001 00000000 00000000 00000000"},
		{"residual of a target failure", "Flags", "21820100 00000000 00000000 00000000 00000001 00000000 00000001 00000001 00000001 00000000 00000000 00000001"},
	} {
		t.Run(c.name, func(t *testing.T) { illegal[SCSIResponse](t, c.field, c.wire) })
	}
}

func FuzzSCSIResponse(f *testing.F) { fuzzPDU[SCSIResponse](f, scsiResponseWire) }
