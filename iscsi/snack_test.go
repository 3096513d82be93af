package iscsi

import "testing"

const snackWire = "10820000 00000000 01020304 05060708 11121314 21222324 00000000 41424344 00000000 00000000 71727374 01020304"

func TestSNACK_RFC7143_11_16(t *testing.T) {
	testPDU(t, SNACK{Type: SNACKDataACK, LUN: 0x0102030405060708, InitiatorTaskTag: 0x11121314, TargetTransferTag: 0x21222324, ExpStatSN: 0x41424344,
		BegRun: 0x71727374, RunLength: 0x01020304},
		snackWire,
		"3f0f0000 00000000 ffffffff ffffffff ffffffff ffffffff 00000000 ffffffff 00000000 00000000 ffffffff ffffffff")
}

func TestSNACKIllegal_RFC7143_11_16(t *testing.T) {
	for _, c := range []struct{ name, field, wire string }{
		{"type 4", "Type", "10840000 00000000 00000000 00000000 00000001 ffffffff 00000000 00000001 00000000 00000000 00000000 00000000"},
	} {
		t.Run(c.name, func(t *testing.T) { illegal[SNACK](t, c.field, c.wire) })
	}
}

func FuzzSNACK(f *testing.F) { fuzzPDU[SNACK](f, snackWire) }

// The numbers of 11.16.1.
func TestSNACKTypes_RFC7143_11_16_1(t *testing.T) {
	for n, name := range []string{"Data/R2T SNACK", "Status SNACK", "DataACK", "R-Data SNACK", "SNACK type 4"} {
		if got := SNACKType(n).String(); got != name {
			t.Errorf("type %d is %q, want %q", n, got, name)
		}
	}
}
