package iscsi

// A Stage is a stage of a connection as CSG and NSG name it (RFC 7143 11.12.3).
type Stage uint8

// The stages of RFC 7143 11.12.3; 2 is reserved.
const (
	SecurityNegotiation         Stage = 0
	LoginOperationalNegotiation Stage = 1
	FullFeaturePhase            Stage = 3
)

// String returns the name that RFC 7143 gives the stage.
func (s Stage) String() string {
	switch s {
	case SecurityNegotiation:
		return "SecurityNegotiation"
	case LoginOperationalNegotiation:
		return "LoginOperationalNegotiation"
	case FullFeaturePhase:
		return "FullFeaturePhase"
	}
	return "reserved stage"
}

// VersionRFC7143 is the only protocol version there is (RFC 7143 11.12.4).
const VersionRFC7143 uint8 = 0x00

const (
	bitTransit = 0x80 // byte 1 of Login PDUs
	shiftCSG   = 2    // byte 1 of Login PDUs
	maskStage  = 0x03
)

// A LoginRequest is RFC 7143 11.12, its fields in the order of the wire.
type LoginRequest struct {
	Transit          bool // the initiator is ready to go on to NSG
	Continue         bool // the text goes on in the next PDU
	CSG              Stage
	NSG              Stage // only with Transit
	VersionMax       uint8
	VersionMin       uint8
	ISID             ISID
	TSIH             uint16
	InitiatorTaskTag uint32
	CID              uint16
	CmdSN            uint32
	ExpStatSN        uint32
}

// Unmarshal reads p from h. Errors: another opcode, the I bit missing, T and C
// both set, a stage that does not exist, a transit that does not lead forward.
func (p *LoginRequest) Unmarshal(h *BHS) error {
	if err := h.expect(OpLoginRequest); err != nil {
		return err
	}
	p.Transit = h.bit(1, bitTransit)
	p.Continue = h.bit(1, bitContinue)
	p.CSG = Stage(h[1] >> shiftCSG & maskStage)
	p.NSG = Stage(h[1] & maskStage)
	p.VersionMax = h[2]
	p.VersionMin = h[3]
	copy(p.ISID[:], h[8:])
	p.TSIH = h.uint16(14)
	p.InitiatorTaskTag = h.InitiatorTaskTag()
	p.CID = h.uint16(20)
	p.CmdSN = h.uint32(24)
	p.ExpStatSN = h.uint32(28)
	if !h.Immediate() {
		return fieldError(OpLoginRequest, "I", 0, "a Login Request is immediate", "11.12")
	}
	return checkStages(OpLoginRequest, p.Transit, p.Continue, p.CSG, p.NSG)
}

// Marshal writes p as all of h. NSG is written as it stands, with or without Transit.
func (p *LoginRequest) Marshal(h *BHS) {
	h.start(OpLoginRequest)
	h.SetImmediate(true)
	marshalStages(h, p.Transit, p.Continue, p.CSG, p.NSG)
	h[2] = p.VersionMax
	h[3] = p.VersionMin
	copy(h[8:], p.ISID[:])
	h.putUint16(14, p.TSIH)
	h.SetInitiatorTaskTag(p.InitiatorTaskTag)
	h.putUint16(20, p.CID)
	h.putUint32(24, p.CmdSN)
	h.putUint32(28, p.ExpStatSN)
}

// A LoginResponse is RFC 7143 11.13, its fields in the order of the wire.
type LoginResponse struct {
	Transit          bool // the target goes on to NSG
	Continue         bool // the text goes on in the next PDU
	CSG              Stage
	NSG              Stage // only with Transit
	VersionMax       uint8
	VersionActive    uint8
	ISID             ISID
	TSIH             uint16
	InitiatorTaskTag uint32
	StatSN           uint32
	ExpCmdSN         uint32
	MaxCmdSN         uint32
	Status           LoginStatus
}

// Unmarshal reads p from h. Errors: another opcode and, in a successful response,
// T and C both set, a stage that does not exist, a transit that does not lead forward.
func (p *LoginResponse) Unmarshal(h *BHS) error {
	if err := h.expect(OpLoginResponse); err != nil {
		return err
	}
	p.Transit = h.bit(1, bitTransit)
	p.Continue = h.bit(1, bitContinue)
	p.CSG = Stage(h[1] >> shiftCSG & maskStage)
	p.NSG = Stage(h[1] & maskStage)
	p.VersionMax = h[2]
	p.VersionActive = h[3]
	copy(p.ISID[:], h[8:])
	p.TSIH = h.uint16(14)
	p.InitiatorTaskTag = h.InitiatorTaskTag()
	p.StatSN = h.uint32(24)
	p.ExpCmdSN = h.uint32(28)
	p.MaxCmdSN = h.uint32(32)
	p.Status = LoginStatus(h.uint16(36))
	if p.Status.Class() != 0 {
		return nil // the stages mean nothing in a refusal
	}
	return checkStages(OpLoginResponse, p.Transit, p.Continue, p.CSG, p.NSG)
}

// Marshal writes p as all of h.
func (p *LoginResponse) Marshal(h *BHS) {
	h.start(OpLoginResponse)
	marshalStages(h, p.Transit, p.Continue, p.CSG, p.NSG)
	h[2] = p.VersionMax
	h[3] = p.VersionActive
	copy(h[8:], p.ISID[:])
	h.putUint16(14, p.TSIH)
	h.SetInitiatorTaskTag(p.InitiatorTaskTag)
	h.putUint32(24, p.StatSN)
	h.putUint32(28, p.ExpCmdSN)
	h.putUint32(32, p.MaxCmdSN)
	h.putUint16(36, uint16(p.Status))
}

func marshalStages(h *BHS, transit, cont bool, csg, nsg Stage) {
	h.setBit(1, bitTransit, transit)
	h.setBit(1, bitContinue, cont)
	h[1] |= byte(csg&maskStage)<<shiftCSG | byte(nsg&maskStage)
}

// checkStages holds the rules that RFC 7143 11.12.1 to 11.12.3 and 11.13 share.
func checkStages(o Opcode, transit, cont bool, csg, nsg Stage) error {
	switch {
	case transit && cont:
		return fieldError(o, "C", 1, "a PDU whose text goes on cannot ask for a transit", "11.12.2")
	case csg != SecurityNegotiation && csg != LoginOperationalNegotiation:
		return fieldError(o, "CSG", uint64(csg), "no stage of the login phase", "11.12.3")
	case transit && nsg != LoginOperationalNegotiation && nsg != FullFeaturePhase:
		return fieldError(o, "NSG", uint64(nsg), "no stage to go on to", "11.12.3")
	case transit && nsg <= csg:
		return fieldError(o, "NSG", uint64(nsg), "a transit leads to a later stage", "11.12.3")
	}
	return nil
}
