package iscsi

// Values of SCSIResponse.Response (RFC 7143 11.4.3). 80h to FFh are vendor specific.
const (
	ResponseCompleted     uint8 = 0x00 // command completed at target: Status is valid
	ResponseTargetFailure uint8 = 0x01
)

const (
	bitBidiOverflow  = 0x10 // byte 1 of a SCSI Response
	bitBidiUnderflow = 0x08 // byte 1 of a SCSI Response
	bitOverflow      = 0x04 // byte 1 of SCSI Response and Data-In
	bitUnderflow     = 0x02 // byte 1 of SCSI Response and Data-In
)

// A SCSIResponse is RFC 7143 11.4, its fields in the order of the wire. Its data
// segment holds a two-byte length and the sense data.
type SCSIResponse struct {
	BidiOverflow     bool // residual of the read part of a bidirectional command
	BidiUnderflow    bool
	Overflow         bool // Residual bytes did not fit into the expected length
	Underflow        bool // Residual bytes of the expected length were not used
	Response         uint8
	Status           uint8 // SAM-5 status code
	InitiatorTaskTag uint32
	SNACKTag         uint32
	StatSN           uint32
	ExpCmdSN         uint32
	MaxCmdSN         uint32
	ExpDataSN        uint32 // number of Data-In (read) or R2T (write) PDUs of the command
	BidiResidual     uint32 // bytes
	Residual         uint32 // bytes
}

// Unmarshal reads p from h. Errors: another opcode, overflow and underflow at once,
// a residual with a response that says the command did not complete.
func (p *SCSIResponse) Unmarshal(h *BHS) error {
	if err := h.expect(OpSCSIResponse); err != nil {
		return err
	}
	p.BidiOverflow = h.bit(1, bitBidiOverflow)
	p.BidiUnderflow = h.bit(1, bitBidiUnderflow)
	p.Overflow = h.bit(1, bitOverflow)
	p.Underflow = h.bit(1, bitUnderflow)
	p.Response = h[2]
	p.Status = h[3]
	p.InitiatorTaskTag = h.InitiatorTaskTag()
	p.SNACKTag = h.uint32(20)
	p.StatSN = h.uint32(24)
	p.ExpCmdSN = h.uint32(28)
	p.MaxCmdSN = h.uint32(32)
	p.ExpDataSN = h.uint32(36)
	p.BidiResidual = h.uint32(40)
	p.Residual = h.uint32(44)
	switch {
	case p.Overflow && p.Underflow, p.BidiOverflow && p.BidiUnderflow:
		return fieldError(OpSCSIResponse, "Flags", uint64(h[1]), "overflow and underflow exclude each other", "11.4.1")
	case p.Response != ResponseCompleted && (p.Overflow || p.Underflow || p.BidiOverflow || p.BidiUnderflow):
		return fieldError(OpSCSIResponse, "Flags", uint64(h[1]), "a command that did not complete at the target has no residual", "11.4.1")
	}
	return nil
}

// Marshal writes p as all of h.
func (p *SCSIResponse) Marshal(h *BHS) {
	h.start(OpSCSIResponse)
	h.SetFinal(true)
	h.setBit(1, bitBidiOverflow, p.BidiOverflow)
	h.setBit(1, bitBidiUnderflow, p.BidiUnderflow)
	h.setBit(1, bitOverflow, p.Overflow)
	h.setBit(1, bitUnderflow, p.Underflow)
	h[2] = p.Response
	h[3] = p.Status
	h.SetInitiatorTaskTag(p.InitiatorTaskTag)
	h.putUint32(20, p.SNACKTag)
	h.putUint32(24, p.StatSN)
	h.putUint32(28, p.ExpCmdSN)
	h.putUint32(32, p.MaxCmdSN)
	h.putUint32(36, p.ExpDataSN)
	h.putUint32(40, p.BidiResidual)
	h.putUint32(44, p.Residual)
}
