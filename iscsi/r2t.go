package iscsi

// An R2T is Ready To Transfer, RFC 7143 11.8, its fields in the order of the wire:
// the target asks for Length bytes of a write.
type R2T struct {
	LUN               uint64
	InitiatorTaskTag  uint32
	TargetTransferTag uint32 // never ReservedTag
	StatSN            uint32 // the next StatSN; an R2T does not use it up
	ExpCmdSN          uint32
	MaxCmdSN          uint32
	R2TSN             uint32 // from 0 within the command
	BufferOffset      uint32 // bytes from the start of the command's data
	Length            uint32 // the Desired Data Transfer Length in bytes, never 0
}

// Unmarshal reads p from h. Errors: another opcode, no data asked for, reserved tags.
func (p *R2T) Unmarshal(h *BHS) error {
	if err := h.expect(OpR2T); err != nil {
		return err
	}
	p.LUN = h.LUN()
	p.InitiatorTaskTag = h.InitiatorTaskTag()
	p.TargetTransferTag = h.uint32(20)
	p.StatSN = h.uint32(24)
	p.ExpCmdSN = h.uint32(28)
	p.MaxCmdSN = h.uint32(32)
	p.R2TSN = h.uint32(36)
	p.BufferOffset = h.uint32(40)
	p.Length = h.uint32(44)
	switch {
	case p.Length == 0:
		return fieldError(OpR2T, "Desired Data Transfer Length", 0, "must not be 0", "11.8.4")
	case p.InitiatorTaskTag == ReservedTag:
		return fieldError(OpR2T, "Initiator Task Tag", uint64(ReservedTag), "reserved value", "11.2.1.8")
	case p.TargetTransferTag == ReservedTag:
		return fieldError(OpR2T, "Target Transfer Tag", uint64(ReservedTag), "reserved value", "11.8.5")
	}
	return nil
}

// Marshal writes p as all of h.
func (p *R2T) Marshal(h *BHS) {
	h.start(OpR2T)
	h.SetFinal(true)
	h.SetLUN(p.LUN)
	h.SetInitiatorTaskTag(p.InitiatorTaskTag)
	h.putUint32(20, p.TargetTransferTag)
	h.putUint32(24, p.StatSN)
	h.putUint32(28, p.ExpCmdSN)
	h.putUint32(32, p.MaxCmdSN)
	h.putUint32(36, p.R2TSN)
	h.putUint32(40, p.BufferOffset)
	h.putUint32(44, p.Length)
}
