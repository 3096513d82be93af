package iscsi

import (
	"strings"
	"testing"
)

// Every row of the table in 11.13.5, by number.
func TestLoginStatus_RFC7143_11_13_5(t *testing.T) {
	rows := map[LoginStatus]string{
		0x0000: "success", 0x0101: "target moved temporarily", 0x0102: "target moved permanently",
		0x0200: "initiator error", 0x0201: "authentication failure", 0x0202: "authorization failure", 0x0203: "target not found",
		0x0204: "target removed", 0x0205: "unsupported version", 0x0206: "too many connections", 0x0207: "missing parameter",
		0x0208: "cannot include in session", 0x0209: "session type not supported", 0x020a: "session does not exist", 0x020b: "invalid request during login",
		0x0300: "target error", 0x0301: "service unavailable", 0x0302: "out of resources",
	}
	for s, meaning := range rows {
		if got := s.String(); !strings.HasPrefix(got, meaning+" (") {
			t.Errorf("%04x is %q, want %q", uint16(s), got, meaning)
		}
	}
	if got := LoginSessionDoesNotExist.String(); got != "session does not exist (020Ah)" {
		t.Errorf("%q", got)
	}
	for s, meaning := range map[LoginStatus]string{0x00ff: "success with", 0x01ff: "redirection with", 0x02ff: "initiator error with", 0x03ff: "target error with", 0x0400: "reserved"} {
		if got := s.String(); !strings.HasPrefix(got, meaning) {
			t.Errorf("%04x is %q", uint16(s), got)
		}
	}
	if s := LoginStatus(0x0302); s.Class() != LoginClassTargetError || s.Detail() != 2 {
		t.Errorf("class %d, detail %d", s.Class(), s.Detail())
	}
}
