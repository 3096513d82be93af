package meter

import "sync/atomic"

// A Row counts the commands of one kind that one logical unit has got: a row of its
// command table. Most rows of a unit are never used, so one takes memory to count in when
// its first command ends.
type Row struct {
	name      string
	direction Direction
	counts    atomic.Pointer[rowCounts] // nil: no command has come
}

type rowCounts struct {
	stream
	outcomes atomic.Pointer[outcomes] // nil: none has failed yet
}

// RowCount is what a Row has counted.
type RowCount struct {
	Name      string // of the command
	Direction Direction
	StreamCount
	Failures Failures
}

// Direction is where the data of its commands go.
func (r *Row) Direction() Direction { return r.direction }

// made is where the commands are counted.
func (r *Row) made() *rowCounts {
	c := r.counts.Load()
	if c == nil {
		r.counts.CompareAndSwap(nil, new(rowCounts))
		c = r.counts.Load()
	}
	return c
}

// fail counts a command that ended by o.
func (r *rowCounts) fail(o Outcome) {
	r.errors.Add(1)
	all := r.outcomes.Load()
	if all == nil {
		r.outcomes.CompareAndSwap(nil, new(outcomes))
		all = r.outcomes.Load()
	}
	all[o].Add(1)
}

// count is what has been counted until now; there is false if that is nothing.
func (r *Row) count() (c RowCount, there bool) {
	counts := r.counts.Load()
	if counts == nil {
		return c, false
	}
	c = RowCount{Name: r.name, Direction: r.direction, StreamCount: counts.count()}
	if all := counts.outcomes.Load(); all != nil {
		c.Failures = all.failures()
	}
	return c, c.Duration.Count() > 0
}
