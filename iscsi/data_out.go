package iscsi

// A DataOut is a SCSI Data-Out, RFC 7143 11.7, its fields in the order of the wire.
type DataOut struct {
	Final             bool // the last PDU of this sequence: of an R2T, or of the unsolicited data
	LUN               uint64
	InitiatorTaskTag  uint32
	TargetTransferTag uint32 // the R2T this answers; ReservedTag: unsolicited
	ExpStatSN         uint32
	DataSN            uint32 // from 0 within its sequence
	BufferOffset      uint32 // bytes from the start of the command's data
}

// Unmarshal reads p from h. Errors: another opcode, the reserved initiator task tag.
// The LUN is not judged: it is reserved when the data is unsolicited.
func (p *DataOut) Unmarshal(h *BHS) error {
	if err := h.expect(OpDataOut); err != nil {
		return err
	}
	p.Final = h.Final()
	p.LUN = h.LUN()
	p.InitiatorTaskTag = h.InitiatorTaskTag()
	p.TargetTransferTag = h.uint32(20)
	p.ExpStatSN = h.uint32(28)
	p.DataSN = h.uint32(36)
	p.BufferOffset = h.uint32(40)
	if p.InitiatorTaskTag == ReservedTag {
		return fieldError(OpDataOut, "Initiator Task Tag", uint64(ReservedTag), "data belongs to a command", "11.7.4")
	}
	return nil
}

// Marshal writes p as all of h.
func (p *DataOut) Marshal(h *BHS) {
	h.start(OpDataOut)
	h.SetFinal(p.Final)
	h.SetLUN(p.LUN)
	h.SetInitiatorTaskTag(p.InitiatorTaskTag)
	h.putUint32(20, p.TargetTransferTag)
	h.putUint32(28, p.ExpStatSN)
	h.putUint32(36, p.DataSN)
	h.putUint32(40, p.BufferOffset)
}
