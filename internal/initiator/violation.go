package initiator

import "fmt"

// A Violation says which rule of the protocol the target broke.
type Violation struct {
	Clause string // "RFC 7143 11.7.5"
	What   string
}

func (v *Violation) Error() string { return fmt.Sprintf("the target breaks %s: %s", v.Clause, v.What) }

// violation makes a *Violation of a clause of RFC 7143.
func violation(clause, format string, args ...any) error {
	return &Violation{Clause: "RFC 7143 " + clause, What: fmt.Sprintf(format, args...)}
}
