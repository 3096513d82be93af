package meter

import (
	"sync/atomic"
	"time"
)

// A stream counts commands that have one direction: of a Flow, or of a Row.
type stream struct {
	buckets buckets // of all phases together
	phases  [Phases]phaseTimes
	bytes   atomic.Uint64
	errors  atomic.Uint64
}

// phaseTimes are what a stream knows of one phase. Every second bucket will do: they tell
// where the time goes, and there are three of them for each of the whole time.
type phaseTimes struct {
	buckets [phaseBuckets]atomic.Uint64
	sum     atomic.Int64 // nanoseconds
}

// StreamCount is what has been counted of commands that have one direction.
type StreamCount struct {
	Bytes    uint64        // that went over the network
	Errors   uint64        // commands that did not end well
	Duration Times         // of all phases together; its count is that of the commands
	Phases   [Phases]Times // parts of it, in every second bucket
}

// Spent is how long the commands were in a phase, together.
func (c *StreamCount) Spent(p Phase) time.Duration { return c.Phases[p].Sum }

// Add adds what o has counted.
func (c *StreamCount) Add(o *StreamCount) {
	c.Bytes += o.Bytes
	c.Errors += o.Errors
	c.Duration.Add(&o.Duration)
	for p := range c.Phases {
		c.Phases[p].Add(&o.Phases[p])
	}
}

func (s *stream) count() (c StreamCount) {
	c.Bytes, c.Errors = s.bytes.Load(), s.errors.Load()
	for i := range s.buckets {
		c.Duration.Buckets[i] = s.buckets[i].Load()
	}
	for p := range s.phases {
		c.Phases[p] = s.phases[p].times()
		c.Duration.Sum += c.Phases[p].Sum
	}
	return c
}

func (p *phaseTimes) times() (t Times) {
	for i := range p.buckets {
		t.Buckets[min(2*i, Buckets-1)] = p.buckets[i].Load()
	}
	t.Sum = time.Duration(p.sum.Load())
	return t
}
