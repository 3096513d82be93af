package meter

import (
	"sync/atomic"
	"time"
)

// A Flow counts what goes through a session or a target. The zero Flow is ready for use.
type Flow struct {
	by       [Directions]stream
	outcomes outcomes
}

// A stream is the part of a Flow that has one direction.
type stream struct {
	buckets buckets // of all phases together
	bytes   atomic.Uint64
	errors  atomic.Uint64
	spent   [Phases]atomic.Int64 // nanoseconds
}

// FlowCount is what a Flow has counted.
type FlowCount struct {
	By       [Directions]StreamCount
	Failures Failures
}

// StreamCount is what a Flow has counted of one direction.
type StreamCount struct {
	Bytes    uint64 // that went over the network
	Errors   uint64 // commands that did not end well
	Duration Times  // of all phases together; its count is that of the commands
	Spent    [Phases]time.Duration
}

// Count is what has been counted until now.
func (f *Flow) Count() (c FlowCount) {
	for d := range f.by {
		s, one := &f.by[d], &c.By[d]
		one.Bytes, one.Errors = s.bytes.Load(), s.errors.Load()
		for i := range s.buckets {
			one.Duration.Buckets[i] = s.buckets[i].Load()
		}
		for p := range s.spent {
			one.Spent[p] = time.Duration(s.spent[p].Load())
			one.Duration.Sum += one.Spent[p]
		}
	}
	c.Failures = f.outcomes.failures()
	return c
}

// Add adds what o has counted.
func (c *FlowCount) Add(o FlowCount) {
	for d := range c.By {
		a, b := &c.By[d], &o.By[d]
		a.Bytes += b.Bytes
		a.Errors += b.Errors
		a.Duration.Add(b.Duration)
		for p := range a.Spent {
			a.Spent[p] += b.Spent[p]
		}
	}
	c.Failures.Add(o.Failures)
}
