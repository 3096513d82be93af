package iscsi

import "fmt"

// A RejectReason says why a target rejects a PDU (RFC 7143 11.17.1).
type RejectReason uint8

// The reasons of RFC 7143 11.17.1. 0Bh was negotiation reset and is no longer used.
const (
	RejectDataDigestError        RejectReason = 0x02 // data (payload) digest error; the PDU may be sent again
	RejectSNACK                  RejectReason = 0x03
	RejectProtocolError          RejectReason = 0x04
	RejectCommandNotSupported    RejectReason = 0x05
	RejectTooManyImmediate       RejectReason = 0x06 // immediate command reject; the PDU may be sent again
	RejectTaskInProgress         RejectReason = 0x07
	RejectInvalidDataACK         RejectReason = 0x08
	RejectInvalidPDUField        RejectReason = 0x09
	RejectLongOperation          RejectReason = 0x0a // no target transfer tag is left; the PDU may be sent again later
	RejectNegotiationResetFormer RejectReason = 0x0b
	RejectWaitingForLogout       RejectReason = 0x0c
)

// String returns the meaning of the reason in the words of RFC 7143.
func (r RejectReason) String() string {
	switch r {
	case RejectDataDigestError:
		return "data digest error"
	case RejectSNACK:
		return "SNACK reject"
	case RejectProtocolError:
		return "protocol error"
	case RejectCommandNotSupported:
		return "command not supported"
	case RejectTooManyImmediate:
		return "too many immediate commands"
	case RejectTaskInProgress:
		return "task in progress"
	case RejectInvalidDataACK:
		return "invalid data ACK"
	case RejectInvalidPDUField:
		return "invalid PDU field"
	case RejectLongOperation:
		return "long operation reject"
	case RejectNegotiationResetFormer:
		return "negotiation reset"
	case RejectWaitingForLogout:
		return "waiting for logout"
	}
	return fmt.Sprintf("reject reason %02Xh", uint8(r))
}

// A Reject is RFC 7143 11.17, its fields in the order of the wire. Its data segment
// is the header of the rejected PDU: BHS, and AHS when there was one.
type Reject struct {
	Reason   RejectReason
	StatSN   uint32
	ExpCmdSN uint32
	MaxCmdSN uint32
	DataSN   uint32 // DataSN or R2TSN: only when a DataACK or SNACK is rejected
}

// Unmarshal reads p from h. Errors: another opcode.
func (p *Reject) Unmarshal(h *BHS) error {
	if err := h.expect(OpReject); err != nil {
		return err
	}
	p.Reason = RejectReason(h[2])
	p.StatSN = h.uint32(24)
	p.ExpCmdSN = h.uint32(28)
	p.MaxCmdSN = h.uint32(32)
	p.DataSN = h.uint32(36)
	return nil
}

// Marshal writes p as all of h; the task tag is ReservedTag.
func (p *Reject) Marshal(h *BHS) {
	h.start(OpReject)
	h.SetFinal(true)
	h[2] = byte(p.Reason)
	h.SetInitiatorTaskTag(ReservedTag)
	h.putUint32(24, p.StatSN)
	h.putUint32(28, p.ExpCmdSN)
	h.putUint32(32, p.MaxCmdSN)
	h.putUint32(36, p.DataSN)
}
