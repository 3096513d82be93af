package snapshot

import (
	"errors"
	"fmt"
	mathbits "math/bits"
	"sync"
	"sync/atomic"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/backstore/file"
	"github.com/isantarget/isantarget/backstore/internal/gate"
)

// An Overlay is a Layer: a sparse image that holds what has been written since the
// snapshot below it was taken. What it does not hold is read from the snapshot, which
// never changes.
//
// What it holds, it knows by whole blocks, and from memory; see the package comment.
type Overlay struct {
	top, base *backstore.Medium
	image     *file.Store       // top
	below     []backstore.Store // top and base
	held      *blockMap
	shift     uint               // a block is 1<<shift bytes
	geometry  backstore.Geometry // but for Size
	size      atomic.Int64       // it only grows
	features  backstore.Features
	buffers   sync.Pool // of *[]byte, one block each
	edges     edgeLocks
	gate      *gate.Gate
}

var _ backstore.Layer = (*Overlay)(nil)

// newOverlay lays top above base. held are the blocks of block bytes, a power of two,
// that top has. It takes both stores over.
func newOverlay(top *file.Store, base backstore.Store, held *blockMap, block int, thick bool) *Overlay {
	o := &Overlay{
		top: backstore.Bind(top), image: top, base: backstore.Bind(base), below: []backstore.Store{top, base},
		held: held, shift: uint(mathbits.TrailingZeros(uint(block))), geometry: top.Geometry(), gate: gate.New(),
	}
	o.buffers.New = func() any { p := make([]byte, block); return &p }
	have, under := o.top.Features(), o.base.Features()
	// A hole of the base says nothing of what lies in the overlay, so both must know theirs.
	o.features = backstore.CanMap | have&(backstore.CanTryWrite|backstore.CanWriteThrough|backstore.Buffered|backstore.TellsSpace|backstore.CanGrow) |
		have&under&(backstore.CanTryRead|backstore.CanReadBatch|backstore.ReadsZeros)
	o.geometry.Unmap = 0
	if have.Has(backstore.CanUnmap|backstore.ReadsZeros) && under.Has(backstore.CanMap|backstore.ReadsZeros) && !thick {
		o.geometry.Unmap = block
		o.features |= backstore.CanUnmap | backstore.CanZero
	}
	o.geometry.Atomic = 0
	o.size.Store(o.geometry.Size)
	return o
}

// Geometry implements backstore.Store.
func (o *Overlay) Geometry() backstore.Geometry {
	g := o.geometry
	g.Size = o.size.Load()
	return g
}

// Features implements backstore.Featured.
func (o *Overlay) Features() backstore.Features { return o.features }

// Below implements backstore.Layer: the overlay's image, and the snapshot.
func (o *Overlay) Below() []backstore.Store { return o.below }

// Created tells whether opening made the image: an overlay is never made so.
func (o *Overlay) Created() bool { return false }

// Lost tells whether the path of the image does not lead to it any more.
func (o *Overlay) Lost() bool { return o.image.Lost() }

// Identity names the image's own file, as file.Store does.
func (o *Overlay) Identity() string { return o.image.Identity() }

// Vanished is nil, or why the image cannot be reached any more, as of file.Store.
func (o *Overlay) Vanished() error { return o.image.Vanished() }

// Forget drops the image from the page cache, as of file.Store.
func (o *Overlay) Forget() error { return o.image.Forget() }

// UncacheAt implements backstore.Uncacher.
func (o *Overlay) UncacheAt(off, length int64) {
	o.top.UncacheAt(off, length)
	if n := min(length, o.base.Geometry().Size-off); n > 0 { // the image may have grown since
		o.base.UncacheAt(off, n)
	}
}

// Preallocate has the image take space ahead of sequential writes, as of file.Store.
func (o *Overlay) Preallocate(may func(space backstore.Space, bytes int64) bool) {
	o.image.Preallocate(may)
}

// Grow implements backstore.Grower. What is new lies above nothing, and reads as zeros.
func (o *Overlay) Grow(size int64, step func(done, total int64) error) (int64, error) {
	before := o.size.Load()
	if err := o.mayHold(size); err != nil {
		return before, err
	}
	size, err := o.top.Grow(size, step)
	if err != nil || size == before {
		return size, err
	}
	if err := o.mayHold(size); err != nil { // others have made the file longer
		return before, err
	}
	if err := o.completeLast(before, size); err != nil {
		return before, err
	}
	return size, nil
}

// mayHold refuses a size with more blocks than the set of those that are held has places for.
func (o *Overlay) mayHold(size int64) error {
	most := o.held.most() << o.shift
	if size <= most {
		return nil
	}
	return fmt.Errorf("%w: an image that lies upon snapshots grows to %d TiB at most while it is served; delete its snapshots first, or grow it to that, start the daemon anew, and grow it again", backstore.ErrRange, most>>40)
}

// completeLast makes a whole block of the last one, which ended at before, and lets the
// medium end at size: what was written to a part of a block is not held (heldRuns).
func (o *Overlay) completeLast(before, size int64) error {
	start := before >> o.shift << o.shift
	if start == before {
		o.size.Store(size)
		return nil
	}
	o.edges.each(start, 1, lockAlone)
	defer o.edges.each(start, 1, unlockAlone)
	block := make([]byte, min(1<<o.shift, size-start))
	var err error
	if last := block[:before-start]; o.held.has(o.block(start)) {
		_, err = o.top.ReadAt(last, start)
	} else {
		_, err = o.readBase(last, start)
	}
	if err == nil {
		_, err = o.put(block, start, true)
	}
	if err == nil {
		o.size.Store(size)
	}
	return err
}

// Sync implements backstore.Store. The snapshot does not change, and was made durable
// when it was taken.
func (o *Overlay) Sync() error { return o.top.Sync() }

// Close implements io.Closer.
func (o *Overlay) Close() error {
	if !o.gate.Close() {
		return &backstore.Error{Op: "close", Err: backstore.ErrGone}
	}
	return errors.Join(o.top.Close(), o.base.Close())
}

// Space implements backstore.SpaceTeller: what the overlay takes, for all of it may be
// written. What the snapshot takes is not this image's any more.
func (o *Overlay) Space() (backstore.Space, error) { return o.top.Space() }

// enter admits a call on a range; when it returns nil, o.gate.Leave has to follow.
func (o *Overlay) enter(op string, off, length int64, changes bool) error {
	var err error
	switch {
	case off < 0 || length < 0 || off > o.size.Load() || length > o.size.Load()-off:
		err = backstore.ErrRange
	case changes && o.geometry.ReadOnly:
		err = backstore.ErrReadOnly
	case !o.gate.Enter():
		err = backstore.ErrGone
	default:
		return nil
	}
	return &backstore.Error{Op: op, Offset: off, Length: length, Err: err}
}

// block is the number of the block with the byte at off.
func (o *Overlay) block(off int64) int64 { return off >> o.shift }

// blocks is how many blocks it takes to reach end.
func (o *Overlay) blocks(end int64) int64 { return (end + 1<<o.shift - 1) >> o.shift }

// run tells whether the overlay holds the byte at off, and how many bytes from there
// on, at most length, are as it is.
func (o *Overlay) run(off, length int64) (held bool, n int64) {
	first := o.block(off)
	held, count := o.held.run(first, o.blocks(off+length))
	return held, min((first+count)<<o.shift, off+length) - off
}

// ReadAt implements io.ReaderAt.
func (o *Overlay) ReadAt(p []byte, off int64) (int, error) {
	if err := o.enter("read", off, int64(len(p)), false); err != nil {
		return 0, err
	}
	defer o.gate.Leave()
	for n := 0; n < len(p); {
		at := off + int64(n)
		held, run := o.run(at, int64(len(p)-n))
		piece := p[n : n+int(run)]
		var m int
		var err error
		if held {
			m, err = o.top.ReadAt(piece, at)
		} else {
			m, err = o.readBase(piece, at)
		}
		if n += m; err != nil {
			return n, err
		}
	}
	return len(p), nil
}

// readBase reads from the snapshot. Behind its end, for the LUN may have grown since,
// there are zeros.
func (o *Overlay) readBase(p []byte, off int64) (int, error) {
	n := o.inBase(off, int64(len(p)))
	if n > 0 {
		if m, err := o.base.ReadAt(p[:n], off); err != nil {
			return m, err
		}
	}
	clear(p[n:])
	return len(p), nil
}

// inBase is how many of length bytes from off lie in the snapshot.
func (o *Overlay) inBase(off, length int64) int64 {
	return min(max(o.base.Geometry().Size-off, 0), length)
}

// TryReadAt implements backstore.TryReader.
func (o *Overlay) TryReadAt(p []byte, off int64) (int, error) {
	if err := o.enter("read", off, int64(len(p)), false); err != nil {
		return 0, err
	}
	defer o.gate.Leave()
	for n := 0; n < len(p); {
		at := off + int64(n)
		held, run := o.run(at, int64(len(p)-n))
		piece := p[n : n+int(run)]
		from := o.top
		if !held {
			from = o.base
			under := o.inBase(at, run)
			clear(piece[under:])
			piece = piece[:under]
		}
		if len(piece) > 0 {
			if _, err := from.TryReadAt(piece, at); err != nil {
				return 0, err
			}
		}
		n += int(run)
	}
	return len(p), nil
}

// TryReadBatch implements backstore.BatchReader. Neighbours in reads that one of the two
// files holds are tried by one call.
func (o *Overlay) TryReadBatch(reads []backstore.Read) {
	for len(reads) > 0 {
		from, n := o.holder(reads[0]), 1
		for n < len(reads) && from != nil && o.holder(reads[n]) == from {
			n++
		}
		o.tryTogether(from, reads[:n])
		reads = reads[n:]
	}
}

// holder is the file that holds all of r; nil: none does alone.
func (o *Overlay) holder(r backstore.Read) *backstore.Medium {
	length := int64(len(r.Data))
	if length == 0 || r.Offset < 0 || r.Offset > o.size.Load()-length {
		return nil
	}
	switch held, n := o.run(r.Offset, length); {
	case n < length:
		return nil
	case held:
		return o.top
	case o.inBase(r.Offset, length) == length:
		return o.base
	}
	return nil
}

// tryTogether tries reads in the file that holds them.
func (o *Overlay) tryTogether(from *backstore.Medium, reads []backstore.Read) {
	if from == nil || len(reads) == 1 {
		for i := range reads {
			_, reads[i].Err = o.TryReadAt(reads[i].Data, reads[i].Offset)
		}
		return
	}
	if !o.gate.Enter() {
		for i := range reads {
			reads[i].Err = &backstore.Error{Op: "read", Offset: reads[i].Offset, Length: int64(len(reads[i].Data)), Err: backstore.ErrGone}
		}
		return
	}
	defer o.gate.Leave()
	from.TryReadBatch(reads)
}

// ExtentAt implements backstore.Mapper. What the snapshot alone holds is mapped: it is
// read from there. What it holds without data is not anchored, for a write to it takes
// new space.
func (o *Overlay) ExtentAt(off, length int64) (backstore.Extent, error) {
	if err := o.enter("map", off, length, false); err != nil {
		return backstore.Extent{}, err
	}
	defer o.gate.Leave()
	e := backstore.Extent{Offset: off, Length: length, State: backstore.Mapped}
	if length == 0 {
		return e, nil
	}
	held, n := o.run(off, length)
	e.Length = n
	if held {
		return e, nil
	}
	return o.extentOfBase(off, n)
}

// extentOfBase is the extent of the snapshot at off.
func (o *Overlay) extentOfBase(off, length int64) (backstore.Extent, error) {
	under := o.inBase(off, length)
	if under == 0 {
		return backstore.Extent{Offset: off, Length: length, State: backstore.Deallocated}, nil
	}
	e, err := o.base.ExtentAt(off, under)
	if e.State != backstore.Mapped {
		e.State = backstore.Deallocated
	}
	return e, err
}
