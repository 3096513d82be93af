package sbc

// scratchSize is the piece in which commands work that move blocks without the
// initiator's data: verifying, prefetching, repeating a block.
const scratchSize = 256 << 10

// scratchBuffers is how many pieces a unit works on at once, and with scratchSize
// what all its commands of that kind take of memory, however many there are.
const scratchBuffers = 4

// scratch lends buffers of scratchSize bytes. Who has one never waits for another,
// and gives it back after one piece of work.
type scratch chan []byte

func newScratch() scratch {
	s := make(scratch, scratchBuffers)
	for range scratchBuffers {
		s <- nil // made when it is first lent
	}
	return s
}

func (s scratch) take() []byte {
	if b := <-s; b != nil {
		return b
	}
	return make([]byte, scratchSize)
}

func (s scratch) give(b []byte) { s <- b[:scratchSize] }
