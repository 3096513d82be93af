package meter

import "sync/atomic"

// A Row counts the commands of one kind that one logical unit has got: a row of its
// command table.
type Row struct {
	name      string
	direction Direction
	duration  histogram
	bytes     atomic.Uint64
	outcomes  atomic.Pointer[outcomes] // nil: none has failed yet
}

// RowCount is what a Row has counted.
type RowCount struct {
	Name      string // of the command
	Direction Direction
	Bytes     uint64 // that went over the network
	Duration  Times  // of all phases together; its count is that of the commands
	Failures  Failures
}

// Direction is where the data of its commands go.
func (r *Row) Direction() Direction { return r.direction }

// fail counts a command that ended by o.
func (r *Row) fail(o Outcome) {
	all := r.outcomes.Load()
	if all == nil {
		r.outcomes.CompareAndSwap(nil, new(outcomes))
		all = r.outcomes.Load()
	}
	all[o].Add(1)
}

func (r *Row) count() RowCount {
	c := RowCount{Name: r.name, Direction: r.direction, Bytes: r.bytes.Load(), Duration: r.duration.times()}
	if all := r.outcomes.Load(); all != nil {
		c.Failures = all.failures()
	}
	return c
}
