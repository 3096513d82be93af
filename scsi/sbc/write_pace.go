package sbc

import (
	"sync/atomic"
	"time"
)

// A writePace learns what a write into the page cache costs. It takes
// microseconds and is best done on the goroutine that has read the data from the
// network, unless the kernel makes writers wait until it has written back: then
// each goes to a goroutine of its own, and other commands on beside it.
type writePace struct {
	cost atomic.Int64  // nanoseconds for pieceBytes, a moving average of those done at once
	sent atomic.Uint32 // writes sent to goroutines of their own
}

const (
	pieceBytes = 4096
	// quickPiece is above what the copy and the allocation of a page take on a
	// busy machine, and below the waits that the kernel gives to writers.
	quickPiece = 250 * time.Microsecond
	// averageShift is the weight of a new measurement, as a power of two.
	averageShift = 3
	// Of each probeEvery writes that are sent to goroutines the first probes are
	// done at once after all, to learn whether the medium has become quick. Those
	// beside each other on goroutines tell nothing: they wait for one another.
	probeEvery, probes = 256, 8
)

// quick tells whether the next write is to be done at once.
func (p *writePace) quick() bool {
	return p.cost.Load() < int64(quickPiece) || p.sent.Add(1)%probeEvery < probes
}

// measure books a write of n bytes, done at once, that began at start.
func (p *writePace) measure(start time.Time, n int) {
	took := int64(time.Since(start)) * pieceBytes / int64(max(n, pieceBytes))
	cost := p.cost.Load()
	p.cost.Store(cost + (took-cost)>>averageShift)
}
