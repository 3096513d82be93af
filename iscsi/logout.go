package iscsi

import "fmt"

// A LogoutReason is why an initiator logs out (RFC 7143 11.14.1).
type LogoutReason uint8

// The reasons of RFC 7143 11.14.1.
const (
	CloseSession                LogoutReason = 0
	CloseConnection             LogoutReason = 1
	RemoveConnectionForRecovery LogoutReason = 2
)

// String returns the meaning of the reason in the words of RFC 7143.
func (r LogoutReason) String() string {
	switch r {
	case CloseSession:
		return "close the session"
	case CloseConnection:
		return "close the connection"
	case RemoveConnectionForRecovery:
		return "remove the connection for recovery"
	}
	return fmt.Sprintf("logout reason %d", uint8(r))
}

// A LogoutStatus is the Response field of a Logout Response (RFC 7143 11.15.1).
type LogoutStatus uint8

// The responses of RFC 7143 11.15.1.
const (
	LogoutClosed               LogoutStatus = 0 // connection or session closed successfully
	LogoutCIDNotFound          LogoutStatus = 1
	LogoutRecoveryNotSupported LogoutStatus = 2
	LogoutCleanupFailed        LogoutStatus = 3
)

// String returns the meaning of the response in the words of RFC 7143.
func (s LogoutStatus) String() string {
	switch s {
	case LogoutClosed:
		return "closed successfully"
	case LogoutCIDNotFound:
		return "CID not found"
	case LogoutRecoveryNotSupported:
		return "connection recovery is not supported"
	case LogoutCleanupFailed:
		return "cleanup failed"
	}
	return fmt.Sprintf("logout response %d", uint8(s))
}

// A LogoutRequest is RFC 7143 11.14, its fields in the order of the wire.
type LogoutRequest struct {
	Immediate        bool
	Reason           LogoutReason
	InitiatorTaskTag uint32
	CID              uint16 // which connection to close; nothing when the session closes
	CmdSN            uint32
	ExpStatSN        uint32
}

// Unmarshal reads p from h. Errors: another opcode, the reserved task tag, a reason
// that does not exist.
func (p *LogoutRequest) Unmarshal(h *BHS) error {
	if err := h.expect(OpLogoutRequest); err != nil {
		return err
	}
	p.Immediate = h.Immediate()
	p.Reason = LogoutReason(h[1] & 0x7f)
	p.InitiatorTaskTag = h.InitiatorTaskTag()
	p.CID = h.uint16(20)
	p.CmdSN = h.uint32(24)
	p.ExpStatSN = h.uint32(28)
	switch {
	case p.InitiatorTaskTag == ReservedTag:
		return fieldError(OpLogoutRequest, "Initiator Task Tag", uint64(ReservedTag), "reserved value", "11.2.1.8")
	case p.Reason > RemoveConnectionForRecovery:
		return fieldError(OpLogoutRequest, "Reason Code", uint64(p.Reason), "reserved value", "11.14.1")
	}
	return nil
}

// Marshal writes p as all of h.
func (p *LogoutRequest) Marshal(h *BHS) {
	h.start(OpLogoutRequest)
	h.SetImmediate(p.Immediate)
	h[1] = bitFinal | byte(p.Reason)&0x7f
	h.SetInitiatorTaskTag(p.InitiatorTaskTag)
	h.putUint16(20, p.CID)
	h.putUint32(24, p.CmdSN)
	h.putUint32(28, p.ExpStatSN)
}

// A LogoutResponse is RFC 7143 11.15, its fields in the order of the wire.
type LogoutResponse struct {
	Response         LogoutStatus
	InitiatorTaskTag uint32
	StatSN           uint32
	ExpCmdSN         uint32
	MaxCmdSN         uint32
	Time2Wait        uint16 // seconds to wait before a new login
	Time2Retain      uint16 // seconds that tasks are kept after Time2Wait
}

// Unmarshal reads p from h. Errors: another opcode.
func (p *LogoutResponse) Unmarshal(h *BHS) error {
	if err := h.expect(OpLogoutResponse); err != nil {
		return err
	}
	p.Response = LogoutStatus(h[2])
	p.InitiatorTaskTag = h.InitiatorTaskTag()
	p.StatSN = h.uint32(24)
	p.ExpCmdSN = h.uint32(28)
	p.MaxCmdSN = h.uint32(32)
	p.Time2Wait = h.uint16(40)
	p.Time2Retain = h.uint16(42)
	return nil
}

// Marshal writes p as all of h.
func (p *LogoutResponse) Marshal(h *BHS) {
	h.start(OpLogoutResponse)
	h.SetFinal(true)
	h[2] = byte(p.Response)
	h.SetInitiatorTaskTag(p.InitiatorTaskTag)
	h.putUint32(24, p.StatSN)
	h.putUint32(28, p.ExpCmdSN)
	h.putUint32(32, p.MaxCmdSN)
	h.putUint16(40, p.Time2Wait)
	h.putUint16(42, p.Time2Retain)
}
