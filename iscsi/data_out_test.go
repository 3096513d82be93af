package iscsi

import "testing"

const dataOutWire = "05800000 00000000 01020304 05060708 11121314 21222324 00000000 41424344 00000000 61626364 71727374 00000000"

func TestDataOut_RFC7143_11_7(t *testing.T) {
	testPDU(t, DataOut{Final: true, LUN: 0x0102030405060708, InitiatorTaskTag: 0x11121314, TargetTransferTag: 0x21222324, ExpStatSN: 0x41424344,
		DataSN: 0x61626364, BufferOffset: 0x71727374},
		dataOutWire,
		"3f800000 00000000 ffffffff ffffffff ffffffff ffffffff 00000000 ffffffff 00000000 ffffffff ffffffff 00000000")
}

func TestDataOutIllegal_RFC7143_11_7(t *testing.T) {
	for _, c := range []struct{ name, field, wire string }{
		{"reserved tag", "Initiator Task Tag", "05800000 00000000 00000000 00000000 ffffffff ffffffff 00000000 00000001 00000000 00000000 00000000 00000000"},
	} {
		t.Run(c.name, func(t *testing.T) { illegal[DataOut](t, c.field, c.wire) })
	}
}

func FuzzDataOut(f *testing.F) { fuzzPDU[DataOut](f, dataOutWire) }
