package snapshot

import (
	mathbits "math/bits"
	"sync/atomic"
)

// A blockMap is a set of blocks. It may be asked and changed at once from many
// goroutines without a lock; it takes memory where there are blocks: 4 KiB for each
// 32768 of them that lie beside each other.
type blockMap struct {
	branches []atomic.Pointer[branch]
}

const (
	leafWords  = 512
	leafBits   = leafWords * 64
	leaves     = 1024 // of a branch
	branchBits = leaves * leafBits

	// branches is how many there are at least, so that an overlay can grow: 512 TiB with
	// blocks of 4 KiB, in 32 KiB of memory.
	branches = 4096
)

type (
	branch [leaves]atomic.Pointer[leaf]
	leaf   [leafWords]atomic.Uint64
)

// newBlockMap is an empty set of blocks, of n or a few more.
func newBlockMap(n int64) *blockMap {
	return &blockMap{branches: make([]atomic.Pointer[branch], max(branches, 2*(n/branchBits+1)))}
}

// most is how many blocks there is room for.
func (m *blockMap) most() int64 { return int64(len(m.branches)) * branchBits }

// leaf is the one with block i; nil: none of its blocks is in the set.
func (m *blockMap) leaf(i int64) *leaf {
	b := m.branches[i/branchBits].Load()
	if b == nil {
		return nil
	}
	return b[i%branchBits/leafBits].Load()
}

// grown is the leaf with block i, which is made if there is none.
func (m *blockMap) grown(i int64) *leaf {
	slot := &m.branches[i/branchBits]
	b := slot.Load()
	if b == nil {
		slot.CompareAndSwap(nil, new(branch))
		b = slot.Load()
	}
	place := &b[i%branchBits/leafBits]
	l := place.Load()
	if l == nil {
		place.CompareAndSwap(nil, new(leaf))
		l = place.Load()
	}
	return l
}

// word is the word with the bit of block i.
func (m *blockMap) word(i int64) uint64 {
	l := m.leaf(i)
	if l == nil {
		return 0
	}
	return l[i%leafBits/64].Load()
}

// has tells whether block i is in the set.
func (m *blockMap) has(i int64) bool { return m.word(i)>>(uint(i)%64)&1 != 0 }

// run tells whether block from is in the set, and how many from there on, but not
// beyond to, are as it is.
func (m *blockMap) run(from, to int64) (held bool, n int64) {
	held = m.has(from)
	at := from
	for at < to {
		if !held && m.leaf(at) == nil {
			at = at/leafBits*leafBits + leafBits
			continue
		}
		w := m.word(at)
		if held {
			w = ^w
		}
		if w >>= uint(at) % 64; w != 0 {
			at += int64(mathbits.TrailingZeros64(w))
			break
		}
		at = at/64*64 + 64
	}
	return held, min(at, to) - from
}

// set puts the blocks from from to to, without to, into the set.
func (m *blockMap) set(from, to int64) {
	for at := from; at < to; {
		next := min(at/64*64+64, to)
		l := m.grown(at)
		word, mask := &l[at%leafBits/64], bits(at, next)
		if word.Load()&mask != mask {
			word.Or(mask)
		}
		at = next
	}
}

// clear takes the blocks from from to to, without to, out of the set.
func (m *blockMap) clear(from, to int64) {
	for at := from; at < to; {
		next := min(at/64*64+64, to)
		if l := m.leaf(at); l != nil {
			l[at%leafBits/64].And(^bits(at, next))
		}
		at = next
	}
}

// bits are those of the blocks from from to to, which are in one word.
func bits(from, to int64) uint64 {
	return ^uint64(0) >> (64 - uint(to-from)) << (uint(from) % 64)
}
