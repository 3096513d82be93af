package iscsi

import "testing"

const asyncMessageWire = "32800000 00000000 01020304 05060708 ffffffff 00000000 31323334 41424344 51525354 02616364 71727374 00000000"

func TestAsyncMessage_RFC7143_11_9(t *testing.T) {
	testPDU(t, AsyncMessage{LUN: 0x0102030405060708, StatSN: 0x31323334, ExpCmdSN: 0x41424344, MaxCmdSN: 0x51525354, Event: AsyncDropConnection, VendorCode: 0x61,
		Parameter1: 0x6364, Parameter2: 0x7172, Parameter3: 0x7374},
		asyncMessageWire,
		"3f000000 00000000 ffffffff ffffffff 00000000 00000000 ffffffff ffffffff ffffffff ffffffff ffffffff 00000000")
}

func FuzzAsyncMessage(f *testing.F) { fuzzPDU[AsyncMessage](f, asyncMessageWire) }

// The numbers of 11.9.1.
func TestAsyncEvents_RFC7143_11_9_1(t *testing.T) {
	for n, name := range map[uint8]string{0: "SCSI asynchronous event", 1: "target requests logout", 2: "target will drop the connection",
		3: "target will drop all connections of the session", 4: "target requests parameter negotiation",
		5: "all active tasks of the LUN are being terminated", 255: "vendor specific event", 6: "asynchronous event 6"} {
		if got := AsyncEvent(n).String(); got != name {
			t.Errorf("event %d is %q, want %q", n, got, name)
		}
	}
}
