package iscsi

// A TextRequest is RFC 7143 11.10, its fields in the order of the wire.
type TextRequest struct {
	Immediate         bool
	Final             bool // the initiator has said all it has to say
	Continue          bool // the text goes on in the next PDU
	LUN               uint64
	InitiatorTaskTag  uint32
	TargetTransferTag uint32 // ReservedTag in the first request of an exchange, else that of the last response
	CmdSN             uint32
	ExpStatSN         uint32
}

// Unmarshal reads p from h. Errors: another opcode, F and C both set, the reserved
// task tag.
func (p *TextRequest) Unmarshal(h *BHS) error {
	if err := h.expect(OpTextRequest); err != nil {
		return err
	}
	p.Immediate = h.Immediate()
	p.Final = h.Final()
	p.Continue = h.bit(1, bitContinue)
	p.LUN = h.LUN()
	p.InitiatorTaskTag = h.InitiatorTaskTag()
	p.TargetTransferTag = h.uint32(20)
	p.CmdSN = h.uint32(24)
	p.ExpStatSN = h.uint32(28)
	switch {
	case p.Final && p.Continue:
		return fieldError(OpTextRequest, "C", 1, "text that goes on cannot be final", "11.10.2")
	case p.InitiatorTaskTag == ReservedTag:
		return fieldError(OpTextRequest, "Initiator Task Tag", uint64(ReservedTag), "reserved value", "11.10.3")
	}
	return nil
}

// Marshal writes p as all of h.
func (p *TextRequest) Marshal(h *BHS) {
	h.start(OpTextRequest)
	h.SetImmediate(p.Immediate)
	h.SetFinal(p.Final)
	h.setBit(1, bitContinue, p.Continue)
	h.SetLUN(p.LUN)
	h.SetInitiatorTaskTag(p.InitiatorTaskTag)
	h.putUint32(20, p.TargetTransferTag)
	h.putUint32(24, p.CmdSN)
	h.putUint32(28, p.ExpStatSN)
}

// A TextResponse is RFC 7143 11.11, its fields in the order of the wire.
type TextResponse struct {
	Final             bool // the exchange is over
	Continue          bool // the text goes on in the next PDU
	LUN               uint64
	InitiatorTaskTag  uint32
	TargetTransferTag uint32 // ReservedTag exactly when Final
	StatSN            uint32
	ExpCmdSN          uint32
	MaxCmdSN          uint32
}

// Unmarshal reads p from h. Errors: another opcode, F and C both set, a target
// transfer tag that contradicts F.
func (p *TextResponse) Unmarshal(h *BHS) error {
	if err := h.expect(OpTextResponse); err != nil {
		return err
	}
	p.Final = h.Final()
	p.Continue = h.bit(1, bitContinue)
	p.LUN = h.LUN()
	p.InitiatorTaskTag = h.InitiatorTaskTag()
	p.TargetTransferTag = h.uint32(20)
	p.StatSN = h.uint32(24)
	p.ExpCmdSN = h.uint32(28)
	p.MaxCmdSN = h.uint32(32)
	switch {
	case p.Final && p.Continue:
		return fieldError(OpTextResponse, "C", 1, "text that goes on cannot be final", "11.11.2")
	case p.Final != (p.TargetTransferTag == ReservedTag):
		return fieldError(OpTextResponse, "Target Transfer Tag", uint64(p.TargetTransferTag), "is reserved exactly when F is 1", "11.11.1")
	}
	return nil
}

// Marshal writes p as all of h.
func (p *TextResponse) Marshal(h *BHS) {
	h.start(OpTextResponse)
	h.SetFinal(p.Final)
	h.setBit(1, bitContinue, p.Continue)
	h.SetLUN(p.LUN)
	h.SetInitiatorTaskTag(p.InitiatorTaskTag)
	h.putUint32(20, p.TargetTransferTag)
	h.putUint32(24, p.StatSN)
	h.putUint32(28, p.ExpCmdSN)
	h.putUint32(32, p.MaxCmdSN)
}
