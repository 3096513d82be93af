package iscsi

import "testing"

const nopOutWire = "40800000 00000000 01020304 05060708 ffffffff 21222324 31323334 41424344 00000000 00000000 00000000 00000000"

func TestNopOut_RFC7143_11_18(t *testing.T) {
	testPDU(t, NopOut{Immediate: true, LUN: 0x0102030405060708, InitiatorTaskTag: ReservedTag, TargetTransferTag: 0x21222324, CmdSN: 0x31323334, ExpStatSN: 0x41424344},
		nopOutWire,
		"7f000000 00000000 ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff 00000000 00000000 00000000 00000000")
}

func TestNopOutIllegal_RFC7143_11_18(t *testing.T) {
	for _, c := range []struct{ name, field, wire string }{
		{"wants no answer and is not immediate", "I", "00800000 00000000 00000000 00000000 ffffffff 00000001 00000001 00000001 00000000 00000000 00000000 00000000"},
	} {
		t.Run(c.name, func(t *testing.T) { illegal[NopOut](t, c.field, c.wire) })
	}
}

func FuzzNopOut(f *testing.F) { fuzzPDU[NopOut](f, nopOutWire) }

const nopInWire = "20800000 00000000 01020304 05060708 ffffffff 21222324 31323334 41424344 51525354 00000000 00000000 00000000"

func TestNopIn_RFC7143_11_19(t *testing.T) {
	testPDU(t, NopIn{LUN: 0x0102030405060708, InitiatorTaskTag: ReservedTag, TargetTransferTag: 0x21222324, StatSN: 0x31323334, ExpCmdSN: 0x41424344, MaxCmdSN: 0x51525354},
		nopInWire,
		"3f000000 00000000 ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff 00000000 00000000 00000000")
}

func TestNopInIllegal_RFC7143_11_19(t *testing.T) {
	for _, c := range []struct{ name, field, wire string }{
		{"an answer that asks", "Target Transfer Tag", "20800000 00000000 00000000 00000000 00000001 00000001 00000001 00000001 00000001 00000000 00000000 00000000"},
	} {
		t.Run(c.name, func(t *testing.T) { illegal[NopIn](t, c.field, c.wire) })
	}
}

func FuzzNopIn(f *testing.F) { fuzzPDU[NopIn](f, nopInWire) }
