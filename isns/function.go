package isns

import "fmt"

// A Function says what a message is for (RFC 4171 4.1.3).
type Function uint16

// The functions that a target uses, or is sent.
const (
	DevAttrReg Function = 0x0001 // Device Attribute Registration
	DevAttrQry Function = 0x0002 // Device Attribute Query
	DevDereg   Function = 0x0004 // Device Deregister
	SCNReg     Function = 0x0005 // State Change Notification Register
	SCNDereg   Function = 0x0006 // State Change Notification Deregister
	SCN        Function = 0x0008 // State Change Notification
	ESI        Function = 0x000d // Entity Status Inquiry

	responseBit Function = 0x8000
)

// Response is the function of the answer to f.
func (f Function) Response() Function { return f | responseBit }

// IsResponse tells whether f is the function of an answer.
func (f Function) IsResponse() bool { return f&responseBit != 0 }

func (f Function) String() string {
	var name string
	switch f &^ responseBit {
	case DevAttrReg:
		name = "DevAttrReg"
	case DevAttrQry:
		name = "DevAttrQry"
	case DevDereg:
		name = "DevDereg"
	case SCNReg:
		name = "SCNReg"
	case SCNDereg:
		name = "SCNDereg"
	case SCN:
		name = "SCN"
	case ESI:
		name = "ESI"
	default:
		return fmt.Sprintf("function %#04x", uint16(f))
	}
	if f.IsResponse() {
		name += "Rsp"
	}
	return name
}
