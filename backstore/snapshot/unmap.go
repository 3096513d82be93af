package snapshot

import (
	"errors"

	"github.com/isantarget/isantarget/backstore"
)

// zeros is what is written where the snapshot has data. Nothing ever writes to it.
var zeros [256 << 10]byte

// UnmapAt implements backstore.Unmapper. Where the snapshot holds nothing the blocks
// become holes again. Where it holds data there has to be something above it: zeros are
// written, which takes space. (An unwritten extent would do, if a crash did not leave
// some where nothing was written: package comment.)
func (o *Overlay) UnmapAt(off, length int64) error {
	if err := o.enter("unmap", off, length, true); err != nil {
		return err
	}
	defer o.gate.Leave()
	if o.geometry.Unmap == 0 {
		return &backstore.Error{Op: "unmap", Offset: off, Length: length, Err: errors.ErrUnsupported}
	}
	return o.forget(off, length)
}

// ZeroAt implements backstore.Zeroer. Without unmap the range has to hold space
// afterwards, so zeros are written, by the caller: errors.ErrUnsupported.
func (o *Overlay) ZeroAt(off, length int64, unmap bool) error {
	if err := o.enter("zero", off, length, true); err != nil {
		return err
	}
	defer o.gate.Leave()
	if !unmap || o.geometry.Unmap == 0 {
		return errors.ErrUnsupported
	}
	return o.forget(off, length)
}

// forget makes a range read as zeros: the parts of blocks at its edges by writing, whole
// blocks as the snapshot has it.
func (o *Overlay) forget(off, length int64) error {
	end := off + length
	first := min(o.blocks(off)<<o.shift, end)
	last := max(o.block(end)<<o.shift, first)
	if end == o.size.Load() {
		last = end
	}
	if err := o.zeroEdge(off, first-off); err != nil {
		return err
	}
	for at := first; at < last; {
		e, err := o.extentOfBase(at, last-at)
		if err != nil {
			return err
		}
		stop := e.End()
		if stop < last {
			stop = stop >> o.shift << o.shift
			if e.State == backstore.Mapped || stop == at {
				stop = min(o.blocks(e.End())<<o.shift, last)
			}
		}
		if e.State == backstore.Mapped || e.End() < stop {
			err = o.writeZeros(at, stop-at)
		} else {
			err = o.punch(at, stop-at)
		}
		if err != nil {
			return err
		}
		at = stop
	}
	return o.zeroEdge(last, end-last)
}

// zeroEdge zeroes a part of a block, unless it is zeros already.
func (o *Overlay) zeroEdge(off, length int64) error {
	if length == 0 {
		return nil
	}
	if !o.held.has(o.block(off)) {
		if e, err := o.extentOfBase(off, length); err != nil || e.State != backstore.Mapped && e.Length == length {
			return err
		}
	}
	return o.writeZeros(off, length)
}

// writeZeros writes zeros. It must not ask the file system to zero a range: that leaves
// space without data, which is not held.
func (o *Overlay) writeZeros(off, length int64) error {
	for end := off + length; off < end; {
		p := zeros[:min(end-off, int64(len(zeros)))]
		if o.ragged(off, int64(len(p))) {
			o.edges.each(off, int64(len(p)), lockAlone)
			_, err := o.putRagged(p, off, false)
			o.edges.each(off, int64(len(p)), unlockAlone)
			if err != nil {
				return err
			}
		} else if _, err := o.putShared(p, off, false); err != nil {
			return err
		}
		off += int64(len(p))
	}
	return nil
}

// punch makes holes of whole blocks below which the snapshot has none. First they are
// not held any more, then they are gone: a write that comes between loses against this,
// but stays held, as a restart would find it.
func (o *Overlay) punch(off, length int64) error {
	o.edges.each(off, length, lockShared)
	defer o.edges.each(off, length, unlockShare)
	o.held.clear(o.block(off), o.blocks(off+length))
	return o.top.UnmapAt(off, length)
}
