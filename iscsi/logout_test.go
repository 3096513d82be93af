package iscsi

import "testing"

const logoutRequestWire = "46810000 00000000 00000000 00000000 11121314 21220000 31323334 41424344 00000000 00000000 00000000 00000000"

func TestLogoutRequest_RFC7143_11_14(t *testing.T) {
	testPDU(t, LogoutRequest{Immediate: true, Reason: CloseConnection, InitiatorTaskTag: 0x11121314, CID: 0x2122, CmdSN: 0x31323334, ExpStatSN: 0x41424344},
		logoutRequestWire,
		"7f7f0000 00000000 00000000 00000000 ffffffff ffff0000 ffffffff ffffffff 00000000 00000000 00000000 00000000")
}

func TestLogoutRequestIllegal_RFC7143_11_14(t *testing.T) {
	for _, c := range []struct{ name, field, wire string }{
		{"reserved tag", "Initiator Task Tag", "46800000 00000000 00000000 00000000 ffffffff 00000000 00000001 00000001 00000000 00000000 00000000 00000000"},
		{"reason 3", "Reason Code", "46830000 00000000 00000000 00000000 00000001 00000000 00000001 00000001 00000000 00000000 00000000 00000000"},
	} {
		t.Run(c.name, func(t *testing.T) { illegal[LogoutRequest](t, c.field, c.wire) })
	}
}

func FuzzLogoutRequest(f *testing.F) { fuzzPDU[LogoutRequest](f, logoutRequestWire) }

const logoutResponseWire = "26800300 00000000 00000000 00000000 11121314 00000000 31323334 41424344 51525354 00000000 71727374 00000000"

func TestLogoutResponse_RFC7143_11_15(t *testing.T) {
	testPDU(t, LogoutResponse{Response: LogoutCleanupFailed, InitiatorTaskTag: 0x11121314, StatSN: 0x31323334, ExpCmdSN: 0x41424344, MaxCmdSN: 0x51525354,
		Time2Wait: 0x7172, Time2Retain: 0x7374},
		logoutResponseWire,
		"3f00ff00 00000000 00000000 00000000 ffffffff 00000000 ffffffff ffffffff ffffffff 00000000 ffffffff 00000000")
}

func FuzzLogoutResponse(f *testing.F) { fuzzPDU[LogoutResponse](f, logoutResponseWire) }

// The numbers of 11.14.1 and 11.15.1.
func TestLogoutNumbers_RFC7143_11_14_1(t *testing.T) {
	for n, name := range []string{"close the session", "close the connection", "remove the connection for recovery", "logout reason 3"} {
		if got := LogoutReason(n).String(); got != name {
			t.Errorf("reason %d is %q, want %q", n, got, name)
		}
	}
	for n, name := range []string{"closed successfully", "CID not found", "connection recovery is not supported", "cleanup failed", "logout response 4"} {
		if got := LogoutStatus(n).String(); got != name {
			t.Errorf("response %d is %q, want %q", n, got, name)
		}
	}
}
