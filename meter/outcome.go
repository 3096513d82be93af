package meter

import "sync/atomic"

// An Outcome is how a command ended, as a small number: 0 is well, the others whoever
// counts gives a meaning (scsi.Command.Outcome).
type Outcome uint8

// Outcomes is how many there can be.
const Outcomes = 32

// Good is the outcome of a command that ended well.
const Good Outcome = 0

// outcomes counts commands by how they ended, those that ended well left out.
type outcomes [Outcomes]atomic.Uint64

// Failures is how many commands ended by each outcome but Good.
type Failures [Outcomes]uint64

// Count is how many there are of all.
func (f Failures) Count() (n uint64) {
	for _, one := range f {
		n += one
	}
	return n
}

// Add adds those of o.
func (f *Failures) Add(o Failures) {
	for i, n := range o {
		f[i] += n
	}
}

func (o *outcomes) failures() (f Failures) {
	for i := range o {
		f[i] = o[i].Load()
	}
	return f
}
