package iscsi

// A NopOut is RFC 7143 11.18, its fields in the order of the wire: a ping (with an
// initiator task tag), or the answer to a NopIn (with its target transfer tag).
type NopOut struct {
	Immediate         bool
	LUN               uint64 // that of the NopIn which this answers
	InitiatorTaskTag  uint32 // ReservedTag: no answer is wanted
	TargetTransferTag uint32 // ReservedTag: this is no answer
	CmdSN             uint32
	ExpStatSN         uint32
}

// Unmarshal reads p from h. Errors: another opcode; a NOP-Out that wants no answer
// without the I bit, for nothing would acknowledge its CmdSN.
func (p *NopOut) Unmarshal(h *BHS) error {
	if err := h.expect(OpNopOut); err != nil {
		return err
	}
	p.Immediate = h.Immediate()
	p.LUN = h.LUN()
	p.InitiatorTaskTag = h.InitiatorTaskTag()
	p.TargetTransferTag = h.uint32(20)
	p.CmdSN = h.uint32(24)
	p.ExpStatSN = h.uint32(28)
	if p.InitiatorTaskTag == ReservedTag && !p.Immediate {
		return fieldError(OpNopOut, "I", 0, "must be 1 when the Initiator Task Tag is reserved", "11.18.1")
	}
	return nil
}

// Marshal writes p as all of h.
func (p *NopOut) Marshal(h *BHS) {
	h.start(OpNopOut)
	h.SetImmediate(p.Immediate)
	h.SetFinal(true)
	h.SetLUN(p.LUN)
	h.SetInitiatorTaskTag(p.InitiatorTaskTag)
	h.putUint32(20, p.TargetTransferTag)
	h.putUint32(24, p.CmdSN)
	h.putUint32(28, p.ExpStatSN)
}

// A NopIn is RFC 7143 11.19, its fields in the order of the wire: the answer to a
// NopOut (with its initiator task tag), or a ping of the target's own.
type NopIn struct {
	LUN               uint64
	InitiatorTaskTag  uint32 // ReservedTag: this is no answer
	TargetTransferTag uint32 // ReservedTag: no answer is wanted
	StatSN            uint32 // the next StatSN; used up only when this answers a NopOut
	ExpCmdSN          uint32
	MaxCmdSN          uint32
}

// Unmarshal reads p from h. Errors: another opcode, an answer that is a ping too.
func (p *NopIn) Unmarshal(h *BHS) error {
	if err := h.expect(OpNopIn); err != nil {
		return err
	}
	p.LUN = h.LUN()
	p.InitiatorTaskTag = h.InitiatorTaskTag()
	p.TargetTransferTag = h.uint32(20)
	p.StatSN = h.uint32(24)
	p.ExpCmdSN = h.uint32(28)
	p.MaxCmdSN = h.uint32(32)
	if p.InitiatorTaskTag != ReservedTag && p.TargetTransferTag != ReservedTag {
		return fieldError(OpNopIn, "Target Transfer Tag", uint64(p.TargetTransferTag), "an answer to a NOP-Out asks for no answer", "11.19.1")
	}
	return nil
}

// Marshal writes p as all of h.
func (p *NopIn) Marshal(h *BHS) {
	h.start(OpNopIn)
	h.SetFinal(true)
	h.SetLUN(p.LUN)
	h.SetInitiatorTaskTag(p.InitiatorTaskTag)
	h.putUint32(20, p.TargetTransferTag)
	h.putUint32(24, p.StatSN)
	h.putUint32(28, p.ExpCmdSN)
	h.putUint32(32, p.MaxCmdSN)
}
