package powercut

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// A Value is what was written to a block: the number of the write. 0 are zeros.
type Value uint32

// anywhere stands in the stamp of a write that puts the same into many blocks.
const anywhere = 1<<32 - 1

// A Ledger knows what each block of a range may hold after a loss of power. It is used by
// one goroutine at a time.
type Ledger struct {
	First     uint32 // logical block address of the first block
	BlockSize int    // bytes
	// Every acknowledgement is a promise, not those of durable writes alone: nothing but
	// the process ends.
	Every bool

	blocks []history
	last   Value
	// Remember keeps what was sent to each block, for Held, until Settle.
	Remember bool

	// Promises counts blocks whose value was promised, Survivors those that held another
	// of the values that they might.
	Promises, Survivors int
}

// A history is what a block may hold.
type history struct {
	durable Value
	since   []written // oldest first
	ever    []Value   // since Settle, if they are remembered
}

type written struct {
	value        Value
	acknowledged bool
}

// NewLedger makes a ledger of blocks that hold zeros.
func NewLedger(first uint32, blocks, blockSize int) *Ledger {
	return &Ledger{First: first, BlockSize: blockSize, blocks: make([]history, blocks)}
}

// Blocks is how many blocks the ledger knows.
func (l *Ledger) Blocks() int { return len(l.blocks) }

// Next is a value that nobody has written.
func (l *Ledger) Next() Value {
	l.last++
	return l.last
}

// Stamp fills p, whole blocks from the block at on, with a value.
func (l *Ledger) Stamp(p []byte, at int, v Value) {
	for i := 0; i < len(p); i += 8 {
		l.stamp(p[i:], v, l.First+uint32(at+i/l.BlockSize))
	}
}

// StampSame fills p, a block, with a value for WRITE SAME.
func (l *Ledger) StampSame(p []byte, v Value) {
	for i := 0; i < len(p); i += 8 {
		l.stamp(p[i:], v, anywhere)
	}
}

func (l *Ledger) stamp(p []byte, v Value, lba uint32) {
	binary.BigEndian.PutUint32(p, uint32(v))
	binary.BigEndian.PutUint32(p[4:], lba)
}

// Sent notes that v is on its way to n blocks from the block at on.
func (l *Ledger) Sent(at, n int, v Value) {
	for i := range l.blocks[at : at+n] {
		b := &l.blocks[at+i]
		b.since = append(b.since, written{value: v})
		if l.Remember {
			b.ever = append(b.ever, v)
		}
	}
}

// Acknowledged notes that the write of v has ended well; durable: that it was promised
// to be on the disk.
func (l *Ledger) Acknowledged(at, n int, v Value, durable bool) {
	for i := range l.blocks[at : at+n] {
		b := &l.blocks[at+i]
		for j := range b.since {
			b.since[j].acknowledged = b.since[j].acknowledged || b.since[j].value == v
		}
		if durable || l.Every {
			b.settle()
		}
	}
}

// Flushed notes that all that was acknowledged before is promised to be on the disk.
func (l *Ledger) Flushed() {
	for i := range l.blocks {
		l.blocks[i].settle()
	}
}

// settle makes the last value that was acknowledged the durable one. What was sent
// after it, and not acknowledged, may still be there.
func (b *history) settle() {
	for i := len(b.since) - 1; i >= 0; i-- {
		if b.since[i].acknowledged {
			b.durable = b.since[i].value
			b.since = b.since[i+1:]
			return
		}
	}
}

// Verify says what is wrong with p, all blocks of the ledger as they are after the cut.
// From then on they are what is durable.
func (l *Ledger) Verify(p []byte) (wrong []string) {
	if len(p) != len(l.blocks)*l.BlockSize {
		return []string{fmt.Sprintf("%d bytes for %d blocks", len(p), len(l.blocks))}
	}
	for i := range l.blocks {
		b := &l.blocks[i]
		v, durable, err := l.judge(p[i*l.BlockSize:(i+1)*l.BlockSize], i)
		switch {
		case err != nil:
			wrong = append(wrong, err.Error())
		case durable:
			l.Promises++
		default:
			l.Survivors++
		}
		*b = history{durable: v, ever: b.ever}
	}
	return wrong
}

// Settle notes that the blocks hold p, by another account than this ledger's, and durably.
func (l *Ledger) Settle(p []byte) error {
	for i := range l.blocks {
		v, err := l.valueOf(p[i*l.BlockSize:(i+1)*l.BlockSize], l.First+uint32(i))
		if err != nil {
			return err
		}
		l.blocks[i] = history{durable: v}
		if l.Remember {
			l.blocks[i].ever = []Value{v}
		}
	}
	return nil
}

// Held says what is wrong with p, all blocks as they may have been at some moment since
// Settle.
func (l *Ledger) Held(p []byte) (wrong []string) {
	for i := range l.blocks {
		v, err := l.valueOf(p[i*l.BlockSize:(i+1)*l.BlockSize], l.First+uint32(i))
		if err == nil && !slices.Contains(l.blocks[i].ever, v) {
			err = fmt.Errorf("block %d held value %d at no moment, but %v", l.First+uint32(i), v, l.blocks[i].ever)
		}
		if err != nil {
			wrong = append(wrong, err.Error())
		}
	}
	return wrong
}

// Holds says what is wrong with p, whole blocks from the block at on, while the power is
// on and nothing is on its way to them.
func (l *Ledger) Holds(at int, p []byte) (wrong []string) {
	for i := 0; i < len(p); i += l.BlockSize {
		if _, _, err := l.judge(p[i:i+l.BlockSize], at+i/l.BlockSize); err != nil {
			wrong = append(wrong, "read while it works: "+err.Error())
		}
	}
	return wrong
}

// judge is the value that block i holds, and whether it is the durable one; an error if
// it may not hold it.
func (l *Ledger) judge(held []byte, i int) (v Value, durable bool, err error) {
	b, lba := &l.blocks[i], l.First+uint32(i)
	if v, err = l.valueOf(held, lba); err != nil || v == b.durable {
		return v, true, err
	}
	if !slices.ContainsFunc(b.since, func(w written) bool { return w.value == v }) {
		err = fmt.Errorf("block %d holds value %d; promised was %d, written since %v", lba, v, b.durable, b.since)
	}
	return v, false, err
}

// valueOf is the value of a block, which is whole.
func (l *Ledger) valueOf(held []byte, lba uint32) (Value, error) {
	v, at := binary.BigEndian.Uint32(held), binary.BigEndian.Uint32(held[4:])
	for i := 8; i < len(held); i += 8 {
		if binary.BigEndian.Uint32(held[i:]) != v || binary.BigEndian.Uint32(held[i+4:]) != at {
			return 0, fmt.Errorf("block %d is a mixture: %x at its beginning, %x at byte %d", lba, held[:8], held[i:i+8], i)
		}
	}
	if at != lba && at != anywhere && !(v == 0 && at == 0) {
		return 0, fmt.Errorf("block %d holds what was written to block %d", lba, at)
	}
	return Value(v), nil
}
