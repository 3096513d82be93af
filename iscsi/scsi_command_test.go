package iscsi

import "testing"

const scsiCommandWire = "41c10000 00000000 00010000 00000000 11121314 21222324 31323334 41424344 28010203 04050607 08090a0b 0c0d0e0f"

func TestSCSICommand_RFC7143_11_3(t *testing.T) {
	testPDU(t, SCSICommand{Immediate: true, Final: true, Read: true, Attribute: AttributeSimple, LUN: 0x0001000000000000, InitiatorTaskTag: 0x11121314,
		Length: 0x21222324, CmdSN: 0x31323334, ExpStatSN: 0x41424344, CDB: [16]byte{0x28, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}},
		scsiCommandWire,
		"7fe70000 00000000 ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff")
}

func TestSCSICommandIllegal_RFC7143_11_3(t *testing.T) {
	for _, c := range []struct{ name, field, wire string }{
		{"F and W both 0", "F", "01410000 00000000 00000000 00000000 00000001 00000200 00000001 00000001 28000000 00000000 01000000 00000000"},
		{"data in no direction", "Expected Data Transfer Length", "01810000 00000000 00000000 00000000 00000001 00000200 00000001 00000001 28000000 00000000 01000000 00000000"},
		{"attribute 5", "ATTR", "01850000 00000000 00000000 00000000 00000001 00000000 00000001 00000001 00000000 00000000 00000000 00000000"},
		{"reserved tag", "Initiator Task Tag", "01810000 00000000 00000000 00000000 ffffffff 00000000 00000001 00000001 00000000 00000000 00000000 00000000"},
	} {
		t.Run(c.name, func(t *testing.T) { illegal[SCSICommand](t, c.field, c.wire) })
	}
}

func FuzzSCSICommand(f *testing.F) { fuzzPDU[SCSICommand](f, scsiCommandWire) }
