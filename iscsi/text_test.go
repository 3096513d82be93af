package iscsi

import "testing"

const textRequestWire = "44800000 00000000 01020304 05060708 11121314 21222324 31323334 41424344 00000000 00000000 00000000 00000000"

func TestTextRequest_RFC7143_11_10(t *testing.T) {
	testPDU(t, TextRequest{Immediate: true, Final: true, LUN: 0x0102030405060708, InitiatorTaskTag: 0x11121314, TargetTransferTag: 0x21222324, CmdSN: 0x31323334,
		ExpStatSN: 0x41424344},
		textRequestWire,
		"7fc00000 00000000 ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff 00000000 00000000 00000000 00000000")
}

func TestTextRequestIllegal_RFC7143_11_10(t *testing.T) {
	for _, c := range []struct{ name, field, wire string }{
		{"F and C", "C", "44c00000 00000000 00000000 00000000 00000001 ffffffff 00000001 00000001 00000000 00000000 00000000 00000000"},
		{"reserved tag", "Initiator Task Tag", "44800000 00000000 00000000 00000000 ffffffff ffffffff 00000001 00000001 00000000 00000000 00000000 00000000"},
	} {
		t.Run(c.name, func(t *testing.T) { illegal[TextRequest](t, c.field, c.wire) })
	}
}

func FuzzTextRequest(f *testing.F) { fuzzPDU[TextRequest](f, textRequestWire) }

const textResponseWire = "24400000 00000000 01020304 05060708 11121314 21222324 31323334 41424344 51525354 00000000 00000000 00000000"

func TestTextResponse_RFC7143_11_11(t *testing.T) {
	testPDU(t, TextResponse{Continue: true, LUN: 0x0102030405060708, InitiatorTaskTag: 0x11121314, TargetTransferTag: 0x21222324, StatSN: 0x31323334,
		ExpCmdSN: 0x41424344, MaxCmdSN: 0x51525354},
		textResponseWire,
		"3fc00000 00000000 ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff 00000000 00000000 00000000")
}

func TestTextResponseIllegal_RFC7143_11_11(t *testing.T) {
	for _, c := range []struct{ name, field, wire string }{
		{"F and C", "C", "24c00000 00000000 00000000 00000000 00000001 ffffffff 00000001 00000001 00000001 00000000 00000000 00000000"},
		{"final with a tag", "Target Transfer Tag", "24800000 00000000 00000000 00000000 00000001 00000001 00000001 00000001 00000001 00000000 00000000 00000000"},
		{"not final without a tag", "Target Transfer Tag", "24000000 00000000 00000000 00000000 00000001 ffffffff 00000001 00000001 00000001 00000000 00000000 00000000"},
	} {
		t.Run(c.name, func(t *testing.T) { illegal[TextResponse](t, c.field, c.wire) })
	}
}

func FuzzTextResponse(f *testing.F) { fuzzPDU[TextResponse](f, textResponseWire) }
