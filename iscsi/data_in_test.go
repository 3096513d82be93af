package iscsi

import "testing"

const dataInWire = "25c30018 00000000 01020304 05060708 11121314 21222324 31323334 41424344 51525354 61626364 71727374 01020304"

func TestDataIn_RFC7143_11_7(t *testing.T) {
	testPDU(t, DataIn{Final: true, Acknowledge: true, Underflow: true, HasStatus: true, Status: 0x18, LUN: 0x0102030405060708, InitiatorTaskTag: 0x11121314,
		TargetTransferTag: 0x21222324, StatSN: 0x31323334, ExpCmdSN: 0x41424344, MaxCmdSN: 0x51525354, DataSN: 0x61626364,
		BufferOffset: 0x71727374, Residual: 0x01020304},
		dataInWire,
		"3fc700ff 00000000 ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff")
}

func TestDataInIllegal_RFC7143_11_7(t *testing.T) {
	for _, c := range []struct{ name, field, wire string }{
		{"status before the end", "S", "25010000 00000000 00000000 00000000 00000001 ffffffff 00000001 00000001 00000001 00000000 00000000 00000000"},
		{"overflow and underflow", "Flags", "25870000 00000000 00000000 00000000 00000001 ffffffff 00000001 00000001 00000001 00000000 00000000 00000000"},
		{"residual without status", "Flags", "25820000 00000000 00000000 00000000 00000001 ffffffff 00000001 00000001 00000001 00000000 00000000 00000001"},
		{"reserved tag", "Initiator Task Tag", "25800000 00000000 00000000 00000000 ffffffff ffffffff 00000001 00000001 00000001 00000000 00000000 00000000"},
	} {
		t.Run(c.name, func(t *testing.T) { illegal[DataIn](t, c.field, c.wire) })
	}
}

func FuzzDataIn(f *testing.F) { fuzzPDU[DataIn](f, dataInWire) }
