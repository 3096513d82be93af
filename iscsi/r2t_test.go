package iscsi

import "testing"

const r2tWire = "31800000 00000000 01020304 05060708 11121314 21222324 31323334 41424344 51525354 61626364 71727374 01020304"

func TestR2T_RFC7143_11_8(t *testing.T) {
	testPDU(t, R2T{LUN: 0x0102030405060708, InitiatorTaskTag: 0x11121314, TargetTransferTag: 0x21222324, StatSN: 0x31323334, ExpCmdSN: 0x41424344,
		MaxCmdSN: 0x51525354, R2TSN: 0x61626364, BufferOffset: 0x71727374, Length: 0x01020304},
		r2tWire,
		"3f000000 00000000 ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff")
}

func TestR2TIllegal_RFC7143_11_8(t *testing.T) {
	for _, c := range []struct{ name, field, wire string }{
		{"no data", "Desired Data Transfer Length", "31800000 00000000 00000000 00000000 00000001 00000001 00000001 00000001 00000001 00000000 00000000 00000000"},
		{"reserved task tag", "Initiator Task Tag", "31800000 00000000 00000000 00000000 ffffffff 00000001 00000001 00000001 00000001 00000000 00000000 00000001"},
		{"reserved transfer tag", "Target Transfer Tag", "31800000 00000000 00000000 00000000 00000001 ffffffff 00000001 00000001 00000001 00000000 00000000 00000001"},
	} {
		t.Run(c.name, func(t *testing.T) { illegal[R2T](t, c.field, c.wire) })
	}
}

func FuzzR2T(f *testing.F) { fuzzPDU[R2T](f, r2tWire) }
