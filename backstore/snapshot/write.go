package snapshot

import (
	"errors"

	"github.com/isantarget/isantarget/backstore"
)

// WriteAt implements io.WriterAt.
func (o *Overlay) WriteAt(p []byte, off int64) (int, error) { return o.write(p, off, false) }

// WriteThroughAt implements backstore.ThroughWriter. The snapshot does not change, so
// only the overlay has to be durable.
func (o *Overlay) WriteThroughAt(p []byte, off int64) (int, error) { return o.write(p, off, true) }

// TryWriteAt implements backstore.TryWriter, for blocks that the overlay holds. A part of
// what is tried in vain may have been written: of other blocks that would be held after a
// restart, and read before it from the snapshot, should nobody write them again.
func (o *Overlay) TryWriteAt(p []byte, off int64) (int, error) {
	length := int64(len(p))
	if err := o.enter("write", off, length, true); err != nil {
		return 0, err
	}
	defer o.gate.Leave()
	if held, run := o.run(off, length); length > 0 && (!held || run < length) || !o.edges.try(off, length) {
		return 0, backstore.ErrWouldBlock
	}
	defer o.edges.each(off, length, unlockShare)
	n, err := o.top.TryWriteAt(p, off)
	if err == nil {
		o.hold(off, length)
	}
	return n, err
}

// ragged tells whether a range begins or ends in a block that the overlay does not
// hold, so that writing it has to bring the rest of the block.
func (o *Overlay) ragged(off, length int64) bool {
	if length == 0 {
		return false
	}
	return o.raggedHead(off) || o.raggedTail(off+length)
}

func (o *Overlay) raggedHead(off int64) bool {
	return off&(1<<o.shift-1) != 0 && !o.held.has(o.block(off))
}

func (o *Overlay) raggedTail(end int64) bool {
	return end&(1<<o.shift-1) != 0 && end != o.size.Load() && !o.held.has(o.block(end))
}

// hold notes that the overlay has the blocks of a range.
func (o *Overlay) hold(off, length int64) {
	if length > 0 {
		o.held.set(o.block(off), o.blocks(off+length))
	}
}

// write writes p, with the rest of the blocks at its edges where the overlay does not
// hold them.
func (o *Overlay) write(p []byte, off int64, through bool) (int, error) {
	length := int64(len(p))
	if err := o.enter("write", off, length, true); err != nil {
		return 0, err
	}
	defer o.gate.Leave()
	if !o.ragged(off, length) {
		return o.putShared(p, off, through)
	}
	o.edges.each(off, length, lockAlone)
	defer o.edges.each(off, length, unlockAlone)
	return o.putRagged(p, off, through)
}

// putShared is put beside other writers. One of them may have written in full meanwhile the
// block that this one leaves in a part: only when all of them have ended it is known whose it is.
func (o *Overlay) putShared(p []byte, off int64, through bool) (int, error) {
	length := int64(len(p))
	o.edges.each(off, length, lockShared)
	n, err := o.transfer(p, off, through)
	o.edges.each(off, length, unlockShare)
	if err != nil {
		o.edges.each(off, length, lockAlone)
		o.takeBack(off, n)
		o.edges.each(off, length, unlockAlone)
	}
	return n, err
}

// put writes what brings nothing of the snapshot with it. What could not be written in
// full leaves no block that is new in a part: the file system would show it as held. The
// edges are locked alone.
func (o *Overlay) put(p []byte, off int64, through bool) (int, error) {
	n, err := o.transfer(p, off, through)
	if err != nil {
		o.takeBack(off, n)
	}
	return n, err
}

// transfer writes p, and notes the blocks that were written in full as held.
func (o *Overlay) transfer(p []byte, off int64, through bool) (n int, err error) {
	if through {
		n, err = o.top.WriteThroughAt(p, off)
	} else {
		n, err = o.top.WriteAt(p, off)
	}
	if err == nil {
		o.hold(off, int64(n))
		return n, nil
	}
	o.hold(off, max((off+int64(n))>>o.shift<<o.shift-off, 0))
	return n, err
}

// takeBack makes a hole again of the block that a write at off which failed behind n bytes has
// left new in a part, unless another has written it.
func (o *Overlay) takeBack(off int64, n int) {
	reached := off + int64(n)
	whole := reached >> o.shift << o.shift
	if reached > whole && n > 0 && !o.held.has(o.block(whole)) {
		_ = o.top.UnmapAt(whole, min(1<<o.shift, o.size.Load()-whole)) // it has failed already
	}
}

// putRagged is put for a range with edges. Each edge goes with the rest of its block in
// one write, so that there is never a block that is new in a part.
func (o *Overlay) putRagged(p []byte, off int64, through bool) (int, error) {
	done := 0
	if o.raggedHead(off) {
		n, err := o.putBlock(p, off, through)
		if err != nil {
			return 0, err
		}
		done = n
	}
	end := off + int64(len(p))
	tail := len(p)
	if o.raggedTail(end) {
		tail = max(int(end>>o.shift<<o.shift-off), done)
	}
	if done < tail {
		n, err := o.put(p[done:tail], off+int64(done), through)
		if done += n; err != nil {
			return done, err
		}
	}
	if done < len(p) {
		if _, err := o.putBlock(p[done:], off+int64(done), through); err != nil {
			return done, err
		}
	}
	return len(p), nil
}

// putBlock writes the part of p that lies in the block of off, with the rest of the
// block from the snapshot. An error names off: nothing of p was written.
func (o *Overlay) putBlock(p []byte, off int64, through bool) (int, error) {
	start := off >> o.shift << o.shift
	buffer := o.buffers.Get().(*[]byte)
	defer o.buffers.Put(buffer)
	block := (*buffer)[:min(1<<o.shift, o.size.Load()-start)]
	_, err := o.readBase(block, start)
	if err == nil {
		p = p[:copy(block[off-start:], p)]
		_, err = o.put(block, start, through)
	}
	if err != nil {
		var e *backstore.Error
		if errors.As(err, &e) {
			err = e.Err
		}
		return 0, &backstore.Error{Op: "write", Offset: off, Length: int64(len(p)), Err: err}
	}
	return len(p), nil
}
