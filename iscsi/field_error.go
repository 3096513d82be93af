package iscsi

import "fmt"

// A FieldError says which field of a PDU breaks the protocol, and how.
type FieldError struct {
	PDU    string // name of the PDU, as in Opcode.String
	Field  string // name of the field, as in RFC 7143
	Value  uint64 // what the field held
	Reason string // what is wrong with it
	Clause string // where the rule stands: "RFC 7143 11.3.1"
}

func (e *FieldError) Error() string {
	return fmt.Sprintf("%s: %s is %#x: %s (%s)", e.PDU, e.Field, e.Value, e.Reason, e.Clause)
}

// fieldError makes a *FieldError for a PDU with opcode o. Only the failing path of
// an Unmarshal calls it, so the common path allocates nothing.
func fieldError(o Opcode, field string, value uint64, reason, clause string) error {
	return &FieldError{PDU: o.String(), Field: field, Value: value, Reason: reason, Clause: "RFC 7143 " + clause}
}
