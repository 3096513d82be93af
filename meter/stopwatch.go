package meter

import "time"

// A Phase is a part of a command's time.
type Phase uint8

// The phases.
const (
	Queue   Phase = iota // nobody works on it yet: its turn, the task set, memory
	Store                // the device server works on it
	Network              // its initiator owes data, or has not taken the answer yet
)

// Phases is how many there are.
const Phases = 3

// String is "queue", "store" or "network".
func (p Phase) String() string { return [Phases]string{"queue", "store", "network"}[p] }

// A Stopwatch divides the time of one command into phases. One goroutine at a time
// uses it: whoever has the command.
type Stopwatch struct {
	lap   Moment // until when its time is booked
	spent [Phases]time.Duration
}

// Start sets it to zero at a moment.
func (w *Stopwatch) Start(at Moment) { *w = Stopwatch{lap: at} }

// Lap books the time since the last Lap, or Start, on p. A moment before that books
// nothing: who reads a clock once for many commands may have read it earlier.
func (w *Stopwatch) Lap(p Phase, at Moment) {
	if d := at - w.lap; d > 0 {
		w.spent[p] += time.Duration(d)
		w.lap = at
	}
}

// At is the moment of the last Lap.
func (w *Stopwatch) At() Moment { return w.lap }

// Spent is what has been booked on p.
func (w *Stopwatch) Spent(p Phase) time.Duration { return w.spent[p] }

// total is what has been booked on all phases.
func (w *Stopwatch) total() time.Duration { return w.spent[Queue] + w.spent[Store] + w.spent[Network] }
