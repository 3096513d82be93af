package sbc

import (
	"encoding/binary"
	"errors"
	"slices"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/scsi"
	"github.com/isantarget/isantarget/scsi/spc"
)

const (
	// copyPiece is how much is copied at once between two looks at whether the copy
	// was aborted, and how much others wait for.
	copyPiece = 4 << 20
	// copyAlignment is that of the end of a piece: whole blocks on either side.
	copyAlignment = 4096
	// concurrentPieces is how many pieces are copied to a unit at once, which bounds
	// the memory that a store takes for it.
	concurrentPieces = 4

	opcodeRead  = 0x88 // READ (16) and WRITE (16), as which blocks are claimed
	opcodeWrite = 0x8a
)

// A copyJob copies bytes between units for a nexus. For each piece it claims the
// blocks on both sides, as a READ and a WRITE of the nexus would: what fences the
// nexus there fences the copy, and nobody sees a piece half done.
type copyJob struct {
	nexus *scsi.Nexus
	lun   scsi.LUN
	tag   scsi.Tag
	done  <-chan struct{} // closed: it is to end
	// valid, if set, is asked after each piece whether what was read still counts.
	valid func() error
	moved func(n int64) // hears of each piece, in bytes
}

// copyDevices is the spc.BlockCopier for units whose device is a Device.
type copyDevices struct{}

// Blocks implements spc.BlockCopier.
func (copyDevices) Blocks(lu *scsi.LogicalUnit) (length int, capacity uint64) {
	d, ok := lu.Device.(*Device)
	if !ok {
		return 0, 0
	}
	m := d.medium.Load()
	if m == nil {
		return 0, 0
	}
	return d.blockSize, d.capacity(m)
}

// Copy implements spc.BlockCopier.
func (copyDevices) Copy(c *scsi.Command, from, to spc.CopyExtent, length int64, moved func(int64)) error {
	job := copyJob{nexus: c.Nexus, lun: c.LUN, tag: c.Tag, done: c.Done(), moved: moved}
	if err := job.copy(from, to, length); err != nil {
		return err
	}
	return settleUnit(to.Unit)
}

// settleUnit makes durable what was written to a unit in pieces, if it must be.
func settleUnit(lu *scsi.LogicalUnit) error {
	d := lu.Device.(*Device)
	m := d.medium.Load()
	if m == nil {
		return d.notReady()
	}
	return d.writeError(m, d.settle(m, false), 0)
}

// copy copies length bytes, piece by piece. Where the two ranges overlap on one
// unit it begins at the end that is not written over before it was read.
func (j copyJob) copy(from, to spc.CopyExtent, length int64) error {
	distance := to.Offset - from.Offset
	overlap := from.Unit == to.Unit && distance < length && -distance < length
	backwards := overlap && distance > 0
	for done := int64(0); done < length; {
		n := min(length-done, copyPiece)
		if n < length-done && !overlap { // so that no granule of the store is cut in two
			n -= (to.Offset + n) % copyPiece / copyAlignment * copyAlignment
		}
		if n <= 0 {
			n = min(length-done, copyPiece)
		}
		at := done
		if backwards {
			at = length - done - n
		}
		piece := copyOfPiece{
			from: spc.CopyExtent{Unit: from.Unit, Offset: from.Offset + at},
			to:   spc.CopyExtent{Unit: to.Unit, Offset: to.Offset + at},
			n:    n, overlap: overlap,
		}
		if err := j.one(piece); err != nil {
			return err
		}
		j.moved(n)
		done += n
	}
	return nil
}

// A copyOfPiece is one step of a copy.
type copyOfPiece struct {
	from, to spc.CopyExtent
	n        int64
	overlap  bool // the whole ranges do
}

// one claims the blocks of a piece, and copies it.
func (j copyJob) one(p copyOfPiece) error {
	claims, err := j.claim(p)
	if err != nil {
		return err
	}
	defer claims.release()
	target := p.to.Unit.Device.(*Device)
	target.tokens.changed(request(opcodeWrite, p.to, p.n).extent())
	// Before, so that nothing is written in vain; after, for what was read.
	if err := j.check(); err != nil {
		return err
	}
	if err := p.copy(); err != nil {
		return err
	}
	if claims.aborted() {
		return scsi.ErrAborted
	}
	return j.check()
}

func (j copyJob) check() error {
	if j.valid == nil {
		return nil
	}
	return j.valid()
}

// zero fills length bytes with zeros, piece by piece; on a thin unit with holes.
func (j copyJob) zero(to spc.CopyExtent, length int64) error {
	d := to.Unit.Device.(*Device)
	for end := to.Offset + length; to.Offset < end; {
		n := min(end-to.Offset, copyPiece-to.Offset%copyPiece)
		if err := j.zeroPiece(d, to, n); err != nil {
			return err
		}
		j.moved(n)
		to.Offset += n
	}
	return nil
}

func (j copyJob) zeroPiece(d *Device, to spc.CopyExtent, n int64) error {
	r := request(opcodeWrite, to, n)
	claim, err := j.claimOne(r)
	if err != nil {
		return err
	}
	defer claim.Release()
	d.tokens.changed(r.extent())
	m := d.medium.Load()
	if m == nil {
		return d.notReady()
	}
	if err := m.ZeroAt(to.Offset, n, d.thin); err != nil {
		return d.writeError(m, err, to.Offset)
	}
	if claim.Aborted() {
		return scsi.ErrAborted
	}
	return nil
}

// claims are those of one piece, in the order in which they were taken.
type claims []*scsi.Claim

func (c claims) release() {
	for _, claim := range slices.Backward(c) {
		claim.Release()
	}
}

func (c claims) aborted() bool { return slices.ContainsFunc(c, (*scsi.Claim).Aborted) }

// claim claims the blocks of p on both sides, in the order that lets no two
// copies wait for each other. Ranges that overlap are one claim.
func (j copyJob) claim(p copyOfPiece) (claims, error) {
	read, write := request(opcodeRead, p.from, p.n), request(opcodeWrite, p.to, p.n)
	if p.overlap {
		// What is read is in what is written, or beside it.
		low, high := min(p.from.Offset, p.to.Offset), max(p.from.Offset, p.to.Offset)+p.n
		write = request(opcodeWrite, spc.CopyExtent{Unit: p.to.Unit, Offset: low}, high-low)
		claim, err := j.claimOne(write)
		return claims{claim}, err
	}
	first, second := read, write
	if scsi.ClaimBefore(write.unit, write.extent(), read.unit, read.extent()) {
		first, second = write, read
	}
	one, err := j.claimOne(first)
	if err != nil {
		return nil, err
	}
	two, err := j.claimOne(second)
	if err != nil {
		one.Release()
		return nil, err
	}
	return claims{one, two}, nil
}

// A blockRequest is a READ (16) or WRITE (16) that a piece of a copy stands for.
type blockRequest struct {
	unit *scsi.LogicalUnit
	cdb  scsi.CDB
}

func request(opcode byte, e spc.CopyExtent, n int64) blockRequest {
	size := int64(e.Unit.Device.(*Device).blockSize)
	cdb := make([]byte, 16)
	cdb[0] = opcode
	binary.BigEndian.PutUint64(cdb[2:], uint64(e.Offset/size))
	binary.BigEndian.PutUint32(cdb[10:], uint32((n+size-1)/size))
	return blockRequest{e.Unit, cdb}
}

func (r blockRequest) extent() scsi.Extent { return form16.extent(r.cdb) }

func (j copyJob) claimOne(r blockRequest) (*scsi.Claim, error) {
	exclusive := r.cdb.Opcode() == opcodeWrite
	return r.unit.Claim(j.nexus, j.lun, j.tag, r.cdb, exclusive, j.done)
}

// copy moves the bytes. What is a hole in the source becomes one in a thin unit.
func (p copyOfPiece) copy() error {
	source, target := p.from.Unit.Device.(*Device), p.to.Unit.Device.(*Device)
	from, to := source.medium.Load(), target.medium.Load()
	switch {
	case from == nil:
		return sourceError{source.notReady()}
	case to == nil:
		return target.notReady()
	}
	target.copying <- struct{}{}
	defer func() { <-target.copying }()
	holes := !p.overlap && from.Features().Has(backstore.CanMap|backstore.ReadsZeros)
	for at := int64(0); at < p.n; {
		n, hole := p.n-at, false
		if holes {
			e, err := from.ExtentAt(p.from.Offset+at, n)
			if err != nil {
				return sourceError{source.readError(from, err, p.from.Offset+at)}
			}
			n, hole = e.Length, e.State != backstore.Mapped
		}
		if err := p.part(from, to, at, n, hole); err != nil {
			return err
		}
		at += n
	}
	return nil
}

// part copies n bytes from at on, which are all in a hole or all not.
func (p copyOfPiece) part(from, to *backstore.Medium, at, n int64, hole bool) error {
	source, target := p.from.Unit.Device.(*Device), p.to.Unit.Device.(*Device)
	off := p.to.Offset + at
	if hole {
		return target.writeError(to, to.ZeroAt(off, n, target.thin), off)
	}
	err := to.CopyAt(off, from, p.from.Offset+at, n)
	if failed, ok := err.(*backstore.Error); ok && failed.Op == "copy from" {
		return sourceError{source.readError(from, err, p.from.Offset+at)}
	}
	return target.writeError(to, err, off)
}

// A sourceError is of the unit that is copied from: a block that it names is one there.
type sourceError struct{ error }

// Unwrap is the error of that unit.
func (e sourceError) Unwrap() error { return e.error }

// ofTarget is err as the unit that is copied to tells it: of another one it can only say
// that it failed, or cannot be reached.
func ofTarget(err error) error {
	var source sourceError
	if !errors.As(err, &source) {
		return err
	}
	var sense *scsi.Sense
	if errors.As(err, &sense) && sense.Key == scsi.KeyNotReady {
		return &scsi.Sense{Key: scsi.KeyCopyAborted, Code: scsi.ASCCopyTargetDeviceNotReachable}
	}
	return &scsi.Sense{Key: scsi.KeyCopyAborted, Code: scsi.ASCThirdPartyDeviceFailure}
}

// tokenLimits are what VPD page 8Fh tells.
func (d *Device) tokenLimits() spc.TokenLimits {
	return spc.TokenLimits{
		Ranges: maximumRanges, MaximumTimeout: maximumTokenTimeout, DefaultTimeout: defaultTokenTimeout,
		BlockLength: int64(d.blockSize), MaximumTransfer: maximumTokenTransfer, MaximumROD: maximumTokenTransfer,
		OptimalTransfer: optimalTokenTransfer,
	}
}

// thirdPartyCopy is the Third-party Copy VPD page (SPC-4 7.8.17).
func (d *Device) thirdPartyCopy() []byte { return spc.ThirdPartyCopy(d.tokenLimits()) }
