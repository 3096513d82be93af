package iscsi

import "testing"

const taskManagementRequestWire = "42810000 00000000 01020304 05060708 11121314 21222324 31323334 41424344 51525354 61626364 00000000 00000000"

func TestTaskManagementRequest_RFC7143_11_5(t *testing.T) {
	testPDU(t, TaskManagementRequest{Immediate: true, Function: AbortTask, LUN: 0x0102030405060708, InitiatorTaskTag: 0x11121314, ReferencedTaskTag: 0x21222324,
		CmdSN: 0x31323334, ExpStatSN: 0x41424344, RefCmdSN: 0x51525354, ExpDataSN: 0x61626364},
		taskManagementRequestWire,
		"7f7f0000 00000000 ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff 00000000 00000000")
}

func TestTaskManagementRequestIllegal_RFC7143_11_5(t *testing.T) {
	for _, c := range []struct{ name, field, wire string }{
		{"reserved tag", "Initiator Task Tag", "42810000 00000000 00000000 00000000 ffffffff 00000001 00000001 00000001 00000001 00000000 00000000 00000000"},
	} {
		t.Run(c.name, func(t *testing.T) { illegal[TaskManagementRequest](t, c.field, c.wire) })
	}
}

func FuzzTaskManagementRequest(f *testing.F) {
	fuzzPDU[TaskManagementRequest](f, taskManagementRequestWire)
}

const taskManagementResponseWire = "2280ff00 00000000 00000000 00000000 11121314 00000000 31323334 41424344 51525354 00000000 00000000 00000000"

func TestTaskManagementResponse_RFC7143_11_6(t *testing.T) {
	testPDU(t, TaskManagementResponse{Response: FunctionRejected, InitiatorTaskTag: 0x11121314, StatSN: 0x31323334, ExpCmdSN: 0x41424344, MaxCmdSN: 0x51525354},
		taskManagementResponseWire,
		"3f00ff00 00000000 00000000 00000000 ffffffff 00000000 ffffffff ffffffff ffffffff 00000000 00000000 00000000")
}

func TestTaskManagementResponseIllegal_RFC7143_11_6(t *testing.T) {
	for _, c := range []struct{ name, field, wire string }{
		{"reserved tag", "Initiator Task Tag", "22800000 00000000 00000000 00000000 ffffffff 00000000 00000001 00000001 00000001 00000000 00000000 00000000"},
	} {
		t.Run(c.name, func(t *testing.T) { illegal[TaskManagementResponse](t, c.field, c.wire) })
	}
}

func FuzzTaskManagementResponse(f *testing.F) {
	fuzzPDU[TaskManagementResponse](f, taskManagementResponseWire)
}

// The numbers of 11.5.1 and RFC 7144, and of 11.6.1 and RFC 7144.
func TestTaskManagementNumbers_RFC7143_11_5_1(t *testing.T) {
	for n, name := range []string{1: "ABORT TASK", 2: "ABORT TASK SET", 3: "CLEAR ACA", 4: "CLEAR TASK SET", 5: "LOGICAL UNIT RESET", 6: "TARGET WARM RESET",
		7: "TARGET COLD RESET", 8: "TASK REASSIGN", 9: "QUERY TASK", 10: "QUERY TASK SET", 11: "I_T NEXUS RESET", 12: "QUERY ASYNCHRONOUS EVENT", 13: "task management function 13"} {
		if got := TaskManagementFunction(n).String(); n > 0 && got != name {
			t.Errorf("function %d is %q, want %q", n, got, name)
		}
	}
	for n, name := range map[uint8]string{0: "function complete", 1: "task does not exist", 2: "LUN does not exist", 3: "task still allegiant",
		4: "task allegiance reassignment not supported", 5: "task management function not supported", 6: "function authorization failed",
		7: "function succeeded", 255: "function rejected", 8: "task management response 8"} {
		if got := TaskManagementStatus(n).String(); got != name {
			t.Errorf("response %d is %q, want %q", n, got, name)
		}
	}
}
