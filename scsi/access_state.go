package scsi

import "fmt"

// AccessState is a target port asymmetric access state (SPC-4 5.15.2.4), with the
// numbers of the ASYMMETRIC ACCESS STATE field (6.37).
type AccessState uint8

// The states. The LBA dependent state and the secondary state offline are not
// among them: no port here has them.
const (
	ActiveOptimized    AccessState = 0x0 // everything, and this is the path to take
	ActiveNonOptimized AccessState = 0x1 // everything, but another path serves better
	Standby            AccessState = 0x2 // what manages the unit, not what reads or writes
	Unavailable        AccessState = 0x3 // what finds out why
	Transitioning      AccessState = 0xf // between two states
)

// String is the word that configurations have for the state.
func (s AccessState) String() string {
	switch s {
	case ActiveOptimized:
		return "optimized"
	case ActiveNonOptimized:
		return "non-optimized"
	case Standby:
		return "standby"
	case Unavailable:
		return "unavailable"
	case Transitioning:
		return "transitioning"
	}
	return fmt.Sprintf("access state %Xh", uint8(s))
}

// active tells whether the medium can be reached.
func (s AccessState) active() bool { return s == ActiveOptimized || s == ActiveNonOptimized }

// valid tells whether s is one of the states.
func (s AccessState) valid() bool { return s <= Unavailable || s == Transitioning }

// sense is how a command ends that the state does not let through.
func (s AccessState) sense() *Sense {
	switch s {
	case Standby:
		return NotReady(ASCLogicalUnitNotAccessibleTargetPortInStandbyState)
	case Unavailable:
		return NotReady(ASCLogicalUnitNotAccessibleTargetPortInUnavailableState)
	}
	return NotReady(ASCLogicalUnitNotAccessibleAsymmetricAccessStateTransition)
}

// AccessStates are the states beyond the active ones in which a command is let
// through: SPC-4 5.15.2.4.4 (standby), 5.15.2.4.5 (unavailable) and 5.15.2.5
// (transitioning). A row without any needs an active port.
type AccessStates uint8

// The sets of a row.
const (
	InStandby AccessStates = 1 << iota
	InUnavailable
	InTransition

	InEveryState = InStandby | InUnavailable | InTransition
)

// Allow tells whether a command with this row is let through in state s.
func (a AccessStates) Allow(s AccessState) bool {
	switch s {
	case ActiveOptimized, ActiveNonOptimized:
		return true
	case Standby:
		return a&InStandby != 0
	case Unavailable:
		return a&InUnavailable != 0
	}
	return a&InTransition != 0
}
