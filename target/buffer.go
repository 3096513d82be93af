package target

import (
	"math/bits"
	"sync"
)

// Buffers come in size classes of powers of two, from a page to the MAXIMUM
// TRANSFER LENGTH, so that whatever one command gives back fits the next.
const (
	minBufferShift = 12 // 4 KiB
	maxBufferShift = 22 // 4 MiB
	// MaxTransfer is the most bytes one command may move. It is what the MAXIMUM
	// TRANSFER LENGTH of SBC-3 6.6.4 must not exceed.
	MaxTransfer = 1 << maxBufferShift
)

// A buffer is memory for the data of one command, on loan from a bufferPool.
type buffer struct {
	p     []byte // as long as was asked for
	class int
	owner *memory // whom the bytes are booked on; nil: nobody
}

// A bufferPool keeps buffers of each class for reuse; what stays unused is
// given back to the runtime by the garbage collector.
type bufferPool struct {
	classes [maxBufferShift - minBufferShift + 1]sync.Pool
}

// bufferClass is the class of the smallest buffer that holds n bytes.
func bufferClass(n int) int {
	if n <= 1<<minBufferShift {
		return 0
	}
	return bits.Len(uint(n-1)) - minBufferShift
}

// bufferBytes is what a buffer for n bytes takes from memory.
func bufferBytes(n int) int64 { return 1 << (bufferClass(n) + minBufferShift) }

// get lends a buffer of n bytes (at most MaxTransfer) booked on owner, who must
// have granted bufferBytes(n).
func (p *bufferPool) get(n int, owner *memory) *buffer {
	class := bufferClass(n)
	b, _ := p.classes[class].Get().(*buffer)
	if b == nil {
		b = &buffer{p: make([]byte, 1<<(class+minBufferShift)), class: class}
	}
	b.p = b.p[:n]
	b.owner = owner
	return b
}

// put takes b back, and its bytes off the owner's account.
func (p *bufferPool) put(b *buffer) {
	owner := b.owner
	b.owner = nil
	p.classes[b.class].Put(b)
	if owner != nil {
		owner.give(1 << (b.class + minBufferShift))
	}
}
