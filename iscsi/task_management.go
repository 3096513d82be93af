package iscsi

import "fmt"

// A TaskManagementFunction is what a task management request asks for (RFC 7143
// 11.5.1, RFC 7144).
type TaskManagementFunction uint8

// Task management functions. From QUERY TASK on they are those of RFC 7144, which
// need iSCSIProtocolLevel 2.
const (
	AbortTask              TaskManagementFunction = 1
	AbortTaskSet           TaskManagementFunction = 2
	ClearACA               TaskManagementFunction = 3
	ClearTaskSet           TaskManagementFunction = 4
	LogicalUnitReset       TaskManagementFunction = 5
	TargetWarmReset        TaskManagementFunction = 6
	TargetColdReset        TaskManagementFunction = 7
	TaskReassign           TaskManagementFunction = 8
	QueryTask              TaskManagementFunction = 9
	QueryTaskSet           TaskManagementFunction = 10
	NexusReset             TaskManagementFunction = 11 // I_T NEXUS RESET
	QueryAsynchronousEvent TaskManagementFunction = 12
)

// String returns the name that the standard gives the function.
func (f TaskManagementFunction) String() string {
	switch f {
	case AbortTask:
		return "ABORT TASK"
	case AbortTaskSet:
		return "ABORT TASK SET"
	case ClearACA:
		return "CLEAR ACA"
	case ClearTaskSet:
		return "CLEAR TASK SET"
	case LogicalUnitReset:
		return "LOGICAL UNIT RESET"
	case TargetWarmReset:
		return "TARGET WARM RESET"
	case TargetColdReset:
		return "TARGET COLD RESET"
	case TaskReassign:
		return "TASK REASSIGN"
	case QueryTask:
		return "QUERY TASK"
	case QueryTaskSet:
		return "QUERY TASK SET"
	case NexusReset:
		return "I_T NEXUS RESET"
	case QueryAsynchronousEvent:
		return "QUERY ASYNCHRONOUS EVENT"
	}
	return fmt.Sprintf("task management function %d", uint8(f))
}

// A TaskManagementStatus is the Response field of a task management response
// (RFC 7143 11.6.1, RFC 7144).
type TaskManagementStatus uint8

// Task management responses. FunctionSucceeded is that of RFC 7144.
const (
	FunctionComplete            TaskManagementStatus = 0
	TaskDoesNotExist            TaskManagementStatus = 1
	LUNDoesNotExist             TaskManagementStatus = 2
	TaskStillAllegiant          TaskManagementStatus = 3
	ReassignmentNotSupported    TaskManagementStatus = 4
	FunctionNotSupported        TaskManagementStatus = 5
	FunctionAuthorizationFailed TaskManagementStatus = 6
	FunctionSucceeded           TaskManagementStatus = 7
	FunctionRejected            TaskManagementStatus = 255
)

// String returns the meaning of the response in the words of the standard.
func (s TaskManagementStatus) String() string {
	switch s {
	case FunctionComplete:
		return "function complete"
	case TaskDoesNotExist:
		return "task does not exist"
	case LUNDoesNotExist:
		return "LUN does not exist"
	case TaskStillAllegiant:
		return "task still allegiant"
	case ReassignmentNotSupported:
		return "task allegiance reassignment not supported"
	case FunctionNotSupported:
		return "task management function not supported"
	case FunctionAuthorizationFailed:
		return "function authorization failed"
	case FunctionSucceeded:
		return "function succeeded"
	case FunctionRejected:
		return "function rejected"
	}
	return fmt.Sprintf("task management response %d", uint8(s))
}

const maskFunction = 0x7f // byte 1

// A TaskManagementRequest is RFC 7143 11.5, its fields in the order of the wire.
type TaskManagementRequest struct {
	Immediate         bool
	Function          TaskManagementFunction
	LUN               uint64
	InitiatorTaskTag  uint32
	ReferencedTaskTag uint32 // ReservedTag unless the function names one task
	CmdSN             uint32
	ExpStatSN         uint32
	RefCmdSN          uint32 // CmdSN of the referenced task
	ExpDataSN         uint32 // only TASK REASSIGN
}

// Unmarshal reads p from h. Errors: another opcode, the reserved task tag. A
// function that does not exist is no error: the answer is FunctionNotSupported.
func (p *TaskManagementRequest) Unmarshal(h *BHS) error {
	if err := h.expect(OpTaskManagementRequest); err != nil {
		return err
	}
	p.Immediate = h.Immediate()
	p.Function = TaskManagementFunction(h[1] & maskFunction)
	p.LUN = h.LUN()
	p.InitiatorTaskTag = h.InitiatorTaskTag()
	p.ReferencedTaskTag = h.uint32(20)
	p.CmdSN = h.uint32(24)
	p.ExpStatSN = h.uint32(28)
	p.RefCmdSN = h.uint32(32)
	p.ExpDataSN = h.uint32(36)
	if p.InitiatorTaskTag == ReservedTag {
		return fieldError(OpTaskManagementRequest, "Initiator Task Tag", uint64(ReservedTag), "reserved value", "11.2.1.8")
	}
	return nil
}

// Marshal writes p as all of h.
func (p *TaskManagementRequest) Marshal(h *BHS) {
	h.start(OpTaskManagementRequest)
	h.SetImmediate(p.Immediate)
	h[1] = bitFinal | byte(p.Function)&maskFunction
	h.SetLUN(p.LUN)
	h.SetInitiatorTaskTag(p.InitiatorTaskTag)
	h.putUint32(20, p.ReferencedTaskTag)
	h.putUint32(24, p.CmdSN)
	h.putUint32(28, p.ExpStatSN)
	h.putUint32(32, p.RefCmdSN)
	h.putUint32(36, p.ExpDataSN)
}

// A TaskManagementResponse is RFC 7143 11.6, its fields in the order of the wire.
type TaskManagementResponse struct {
	Response         TaskManagementStatus
	InitiatorTaskTag uint32
	StatSN           uint32
	ExpCmdSN         uint32
	MaxCmdSN         uint32
}

// Unmarshal reads p from h. Errors: another opcode, the reserved task tag.
func (p *TaskManagementResponse) Unmarshal(h *BHS) error {
	if err := h.expect(OpTaskManagementResponse); err != nil {
		return err
	}
	p.Response = TaskManagementStatus(h[2])
	p.InitiatorTaskTag = h.InitiatorTaskTag()
	p.StatSN = h.uint32(24)
	p.ExpCmdSN = h.uint32(28)
	p.MaxCmdSN = h.uint32(32)
	if p.InitiatorTaskTag == ReservedTag {
		return fieldError(OpTaskManagementResponse, "Initiator Task Tag", uint64(ReservedTag), "reserved value", "11.2.1.8")
	}
	return nil
}

// Marshal writes p as all of h.
func (p *TaskManagementResponse) Marshal(h *BHS) {
	h.start(OpTaskManagementResponse)
	h.SetFinal(true)
	h[2] = byte(p.Response)
	h.SetInitiatorTaskTag(p.InitiatorTaskTag)
	h.putUint32(24, p.StatSN)
	h.putUint32(28, p.ExpCmdSN)
	h.putUint32(32, p.MaxCmdSN)
}
