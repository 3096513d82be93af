package iscsi

import "testing"

const rejectWire = "3f800300 00000000 00000000 00000000 ffffffff 00000000 31323334 41424344 51525354 61626364 00000000 00000000"

func TestReject_RFC7143_11_17(t *testing.T) {
	testPDU(t, Reject{Reason: RejectSNACK, StatSN: 0x31323334, ExpCmdSN: 0x41424344, MaxCmdSN: 0x51525354, DataSN: 0x61626364},
		rejectWire,
		"3f00ff00 00000000 00000000 00000000 00000000 00000000 ffffffff ffffffff ffffffff ffffffff 00000000 00000000")
}

func FuzzReject(f *testing.F) { fuzzPDU[Reject](f, rejectWire) }

// The numbers of 11.17.1.
func TestRejectReasons_RFC7143_11_17_1(t *testing.T) {
	for n, name := range []string{2: "data digest error", 3: "SNACK reject", 4: "protocol error", 5: "command not supported", 6: "too many immediate commands",
		7: "task in progress", 8: "invalid data ACK", 9: "invalid PDU field", 10: "long operation reject", 11: "negotiation reset", 12: "waiting for logout", 13: "reject reason 0Dh"} {
		if got := RejectReason(n).String(); n > 1 && got != name {
			t.Errorf("reason %d is %q, want %q", n, got, name)
		}
	}
}
