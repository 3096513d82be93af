package meter

// A Direction says where the data of a command go.
type Direction uint8

// The directions. Commands that change or look at the medium without moving its blocks
// between initiator and target (UNMAP, WRITE SAME, VERIFY, copies) are Other: how long
// they take says nothing of how long a transfer takes.
const (
	Other Direction = iota // neither of the two
	Read                   // blocks of the medium go to the initiator
	Write                  // blocks of the initiator go to the medium
)

// Directions is how many there are.
const Directions = 3

// String is "other", "read" or "write".
func (d Direction) String() string { return [Directions]string{"other", "read", "write"}[d] }
