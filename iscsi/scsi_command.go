package iscsi

// Task attributes as a SCSI Command carries them (RFC 7143 11.3.1).
const (
	AttributeUntagged    uint8 = 0
	AttributeSimple      uint8 = 1
	AttributeOrdered     uint8 = 2
	AttributeHeadOfQueue uint8 = 3
	AttributeACA         uint8 = 4
)

const (
	bitRead       = 0x40 // byte 1
	bitWrite      = 0x20 // byte 1
	maskAttribute = 0x07 // byte 1
)

// A SCSICommand is RFC 7143 11.3, its fields in the order of the wire.
type SCSICommand struct {
	Immediate        bool
	Final            bool // no unsolicited Data-Out follows
	Read, Write      bool
	Attribute        uint8 // one of Attribute*
	LUN              uint64
	InitiatorTaskTag uint32
	Length           uint32 // the Expected Data Transfer Length in bytes; of the write when both R and W are set
	CmdSN            uint32
	ExpStatSN        uint32
	CDB              [16]byte // the first 16 bytes; ExtendedCDB gives the rest
}

// Unmarshal reads p from h. Errors: another opcode, F and W both 0, data expected
// in no direction, an attribute that does not exist, the reserved task tag.
func (p *SCSICommand) Unmarshal(h *BHS) error {
	if err := h.expect(OpSCSICommand); err != nil {
		return err
	}
	p.Immediate = h.Immediate()
	p.Final = h.Final()
	p.Read = h.bit(1, bitRead)
	p.Write = h.bit(1, bitWrite)
	p.Attribute = h[1] & maskAttribute
	p.LUN = h.LUN()
	p.InitiatorTaskTag = h.InitiatorTaskTag()
	p.Length = h.uint32(20)
	p.CmdSN = h.uint32(24)
	p.ExpStatSN = h.uint32(28)
	copy(p.CDB[:], h[32:])
	switch {
	case !p.Final && !p.Write:
		return fieldError(OpSCSICommand, "F", 0, "only a write may be followed by unsolicited data", "11.3.1")
	case !p.Read && !p.Write && p.Length != 0:
		return fieldError(OpSCSICommand, "Expected Data Transfer Length", uint64(p.Length), "data is expected but R and W are both 0", "11.3.1")
	case p.Attribute > AttributeACA:
		return fieldError(OpSCSICommand, "ATTR", uint64(p.Attribute), "reserved task attribute", "11.3.1")
	case p.InitiatorTaskTag == ReservedTag:
		return fieldError(OpSCSICommand, "Initiator Task Tag", uint64(ReservedTag), "reserved value", "11.2.1.8")
	}
	return nil
}

// Marshal writes p as all of h.
func (p *SCSICommand) Marshal(h *BHS) {
	h.start(OpSCSICommand)
	h.SetImmediate(p.Immediate)
	h.SetFinal(p.Final)
	h.setBit(1, bitRead, p.Read)
	h.setBit(1, bitWrite, p.Write)
	h[1] |= p.Attribute & maskAttribute
	h.SetLUN(p.LUN)
	h.SetInitiatorTaskTag(p.InitiatorTaskTag)
	h.putUint32(20, p.Length)
	h.putUint32(24, p.CmdSN)
	h.putUint32(28, p.ExpStatSN)
	copy(h[32:], p.CDB[:])
}
