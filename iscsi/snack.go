package iscsi

import "fmt"

// A SNACKType says what a SNACK asks to be sent again (RFC 7143 11.16.1).
type SNACKType uint8

// The types of RFC 7143 11.16.1.
const (
	SNACKDataOrR2T SNACKType = 0
	SNACKStatus    SNACKType = 1
	SNACKDataACK   SNACKType = 2 // acknowledges; asks for nothing
	SNACKRData     SNACKType = 3
)

// String returns the name that RFC 7143 gives the type.
func (t SNACKType) String() string {
	switch t {
	case SNACKDataOrR2T:
		return "Data/R2T SNACK"
	case SNACKStatus:
		return "Status SNACK"
	case SNACKDataACK:
		return "DataACK"
	case SNACKRData:
		return "R-Data SNACK"
	}
	return fmt.Sprintf("SNACK type %d", uint8(t))
}

const maskSNACKType = 0x0f // byte 1

// A SNACK is a SNACK Request, RFC 7143 11.16, its fields in the order of the wire.
// It is immediate by nature and has no CmdSN.
type SNACK struct {
	Type              SNACKType
	LUN               uint64
	InitiatorTaskTag  uint32
	TargetTransferTag uint32 // or the SNACK Tag of an R-Data SNACK
	ExpStatSN         uint32
	BegRun            uint32 // the first number missing
	RunLength         uint32 // how many; 0: all from BegRun on
}

// Unmarshal reads p from h. Errors: another opcode, a type that does not exist.
func (p *SNACK) Unmarshal(h *BHS) error {
	if err := h.expect(OpSNACKRequest); err != nil {
		return err
	}
	p.Type = SNACKType(h[1] & maskSNACKType)
	p.LUN = h.LUN()
	p.InitiatorTaskTag = h.InitiatorTaskTag()
	p.TargetTransferTag = h.uint32(20)
	p.ExpStatSN = h.uint32(28)
	p.BegRun = h.uint32(40)
	p.RunLength = h.uint32(44)
	if p.Type > SNACKRData {
		return fieldError(OpSNACKRequest, "Type", uint64(p.Type), "reserved value", "11.16.1")
	}
	return nil
}

// Marshal writes p as all of h.
func (p *SNACK) Marshal(h *BHS) {
	h.start(OpSNACKRequest)
	h[1] = bitFinal | byte(p.Type)&maskSNACKType
	h.SetLUN(p.LUN)
	h.SetInitiatorTaskTag(p.InitiatorTaskTag)
	h.putUint32(20, p.TargetTransferTag)
	h.putUint32(28, p.ExpStatSN)
	h.putUint32(40, p.BegRun)
	h.putUint32(44, p.RunLength)
}
