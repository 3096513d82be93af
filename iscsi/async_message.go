package iscsi

import "fmt"

// An AsyncEvent says what an Asynchronous Message tells (RFC 7143 11.9.1).
type AsyncEvent uint8

// The events of RFC 7143 11.9.1.
const (
	AsyncSCSI            AsyncEvent = 0 // sense data is in the data segment
	AsyncLogoutRequest   AsyncEvent = 1 // Parameter3: seconds within which to log out
	AsyncDropConnection  AsyncEvent = 2 // Parameter1: CID; Parameter2, 3: Time2Wait, Time2Retain
	AsyncDropSession     AsyncEvent = 3 // all connections; Parameter2, 3: Time2Wait, Time2Retain
	AsyncNegotiate       AsyncEvent = 4 // Parameter3: seconds within which to negotiate
	AsyncTasksTerminated AsyncEvent = 5 // all tasks of the LUN (RFC 7143 4.2.3.4)
	AsyncVendor          AsyncEvent = 255
)

// String returns the meaning of the event in the words of RFC 7143.
func (e AsyncEvent) String() string {
	switch e {
	case AsyncSCSI:
		return "SCSI asynchronous event"
	case AsyncLogoutRequest:
		return "target requests logout"
	case AsyncDropConnection:
		return "target will drop the connection"
	case AsyncDropSession:
		return "target will drop all connections of the session"
	case AsyncNegotiate:
		return "target requests parameter negotiation"
	case AsyncTasksTerminated:
		return "all active tasks of the LUN are being terminated"
	case AsyncVendor:
		return "vendor specific event"
	}
	return fmt.Sprintf("asynchronous event %d", uint8(e))
}

// An AsyncMessage is RFC 7143 11.9, its fields in the order of the wire.
type AsyncMessage struct {
	LUN        uint64
	StatSN     uint32
	ExpCmdSN   uint32
	MaxCmdSN   uint32
	Event      AsyncEvent
	VendorCode uint8
	Parameter1 uint16
	Parameter2 uint16
	Parameter3 uint16
}

// Unmarshal reads p from h. Errors: another opcode.
func (p *AsyncMessage) Unmarshal(h *BHS) error {
	if err := h.expect(OpAsyncMessage); err != nil {
		return err
	}
	p.LUN = h.LUN()
	p.StatSN = h.uint32(24)
	p.ExpCmdSN = h.uint32(28)
	p.MaxCmdSN = h.uint32(32)
	p.Event = AsyncEvent(h[36])
	p.VendorCode = h[37]
	p.Parameter1 = h.uint16(38)
	p.Parameter2 = h.uint16(40)
	p.Parameter3 = h.uint16(42)
	return nil
}

// Marshal writes p as all of h; the task tag is ReservedTag.
func (p *AsyncMessage) Marshal(h *BHS) {
	h.start(OpAsyncMessage)
	h.SetFinal(true)
	h.SetLUN(p.LUN)
	h.SetInitiatorTaskTag(ReservedTag)
	h.putUint32(24, p.StatSN)
	h.putUint32(28, p.ExpCmdSN)
	h.putUint32(32, p.MaxCmdSN)
	h[36] = byte(p.Event)
	h[37] = p.VendorCode
	h.putUint16(38, p.Parameter1)
	h.putUint16(40, p.Parameter2)
	h.putUint16(42, p.Parameter3)
}
