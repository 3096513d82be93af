package iscsi

const (
	bitAcknowledge = 0x40 // byte 1 of a Data-In
	bitStatus      = 0x01 // byte 1 of a Data-In
)

// A DataIn is a SCSI Data-In, RFC 7143 11.7, its fields in the order of the wire.
// With HasStatus it also ends the command, which a SCSI Response does otherwise.
type DataIn struct {
	Final             bool // the last PDU of this sequence
	Acknowledge       bool // asks for a SNACK of type DataACK; only at ErrorRecoveryLevel 1 and 2
	Overflow          bool // Residual, only with HasStatus
	Underflow         bool // Residual, only with HasStatus
	HasStatus         bool // the S bit: Status, StatSN and Residual are valid
	Status            uint8
	LUN               uint64 // only with Acknowledge
	InitiatorTaskTag  uint32
	TargetTransferTag uint32 // only with Acknowledge, else ReservedTag
	StatSN            uint32 // only with HasStatus
	ExpCmdSN          uint32
	MaxCmdSN          uint32
	DataSN            uint32 // from 0 within the command
	BufferOffset      uint32 // bytes from the start of the command's data
	Residual          uint32 // bytes
}

// Unmarshal reads p from h. Errors: another opcode, status before the final PDU,
// overflow and underflow at once or without status, the reserved task tag.
func (p *DataIn) Unmarshal(h *BHS) error {
	if err := h.expect(OpDataIn); err != nil {
		return err
	}
	p.Final = h.Final()
	p.Acknowledge = h.bit(1, bitAcknowledge)
	p.Overflow = h.bit(1, bitOverflow)
	p.Underflow = h.bit(1, bitUnderflow)
	p.HasStatus = h.bit(1, bitStatus)
	p.Status = h[3]
	p.LUN = h.LUN()
	p.InitiatorTaskTag = h.InitiatorTaskTag()
	p.TargetTransferTag = h.uint32(20)
	p.StatSN = h.uint32(24)
	p.ExpCmdSN = h.uint32(28)
	p.MaxCmdSN = h.uint32(32)
	p.DataSN = h.uint32(36)
	p.BufferOffset = h.uint32(40)
	p.Residual = h.uint32(44)
	switch {
	case p.HasStatus && !p.Final:
		return fieldError(OpDataIn, "S", 1, "status comes with the final PDU only", "11.7.3")
	case p.Overflow && p.Underflow:
		return fieldError(OpDataIn, "Flags", uint64(h[1]), "overflow and underflow exclude each other", "11.7.3")
	case (p.Overflow || p.Underflow) && !p.HasStatus:
		return fieldError(OpDataIn, "Flags", uint64(h[1]), "a residual needs the S bit", "11.7.3")
	case p.InitiatorTaskTag == ReservedTag:
		return fieldError(OpDataIn, "Initiator Task Tag", uint64(ReservedTag), "data belongs to a command", "11.7.4")
	}
	return nil
}

// Marshal writes p as all of h.
func (p *DataIn) Marshal(h *BHS) {
	h.start(OpDataIn)
	h.SetFinal(p.Final)
	h.setBit(1, bitAcknowledge, p.Acknowledge)
	h.setBit(1, bitOverflow, p.Overflow)
	h.setBit(1, bitUnderflow, p.Underflow)
	h.setBit(1, bitStatus, p.HasStatus)
	h[3] = p.Status
	h.SetLUN(p.LUN)
	h.SetInitiatorTaskTag(p.InitiatorTaskTag)
	h.putUint32(20, p.TargetTransferTag)
	h.putUint32(24, p.StatSN)
	h.putUint32(28, p.ExpCmdSN)
	h.putUint32(32, p.MaxCmdSN)
	h.putUint32(36, p.DataSN)
	h.putUint32(40, p.BufferOffset)
	h.putUint32(44, p.Residual)
}
