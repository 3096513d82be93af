package initiator

import (
	"errors"
	"fmt"
)

// A Violation says which rule of the protocol the target broke.
type Violation struct {
	Clause string // "RFC 7143 11.7.5"
	What   string
}

func (v *Violation) Error() string { return fmt.Sprintf("the target breaks %s: %s", v.Clause, v.What) }

// What a connection that forgives remembers of a target at most.
const (
	maxViolations = 64
	maxUnasked    = 256 // Async Messages, Rejects and NOP-Ins that came unasked
)

// judge gives err, or notes it and gives nil where violations are forgiven.
func (c *Connection) judge(err error) error {
	var v *Violation
	if !c.Forgive || !errors.As(err, &v) {
		return err
	}
	if len(c.Violations) < maxViolations {
		c.Violations = append(c.Violations, v)
	}
	return nil
}

// violation makes a *Violation of a clause of RFC 7143.
func violation(clause, format string, args ...any) error {
	return &Violation{Clause: "RFC 7143 " + clause, What: fmt.Sprintf(format, args...)}
}
