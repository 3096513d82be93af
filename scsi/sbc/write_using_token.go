package sbc

import (
	"encoding/binary"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/scsi"
	"github.com/isantarget/isantarget/scsi/spc"
)

// The fields of the parameter list of WRITE USING TOKEN (SBC-3 5.50).
const (
	usingOffset = 8   // OFFSET INTO ROD, in blocks
	usingToken  = 16  // ROD TOKEN
	usingRanges = 536 // the range descriptors
)

// A tokenWrite is a WRITE USING TOKEN whose parameter list has been checked.
type tokenWrite struct {
	device  *Device
	unit    *scsi.LogicalUnit
	ranges  []scsi.Extent // to be written
	skip    uint64        // OFFSET INTO ROD
	blocks  uint64        // to be written
	short   bool          // fewer than were asked for: the ROD has no more
	source  *token        // nil: zeros
	creator *scsi.LogicalUnit
	delete  bool // DEL_TKN
}

// writeUsingToken is WRITE USING TOKEN (SBC-3 5.50). With IMMED the work goes on
// after the command has ended, until it is done, the nexus is lost or the unit is
// reset.
func (d *Device) writeUsingToken(c *scsi.Command) error {
	m, err := d.begin(c)
	if err != nil {
		return err
	}
	p, err := tokenList(c, usingRanges)
	if err != nil || p == nil {
		return err
	}
	w, err := d.tokenWrite(c, m, p)
	if err != nil {
		return err
	}
	o, err := d.copies.Begin(c.Nexus, c.CDB.Uint32(6), spc.WriteUsingToken)
	if err != nil {
		return err
	}
	job := copyJob{nexus: c.Nexus, lun: c.LUN, tag: c.Tag, moved: func(n int64) { o.Count(n >> d.blockShift) }}
	if immediate := p[2]&0x01 != 0; immediate {
		o.Background()
		job.done = o.Done()
		d.background.start(func() { w.finish(o, w.run(job)) })
		return nil
	}
	job.done = c.Done()
	err = w.run(job)
	err = ended(c, err)
	w.finish(o, err)
	return err
}

// finish notes how w ended.
func (w *tokenWrite) finish(o *spc.CopyOperation, err error) {
	status := spc.CopyCompleted
	if w.short {
		status = spc.CopyResidual
	}
	if err == nil && w.delete && w.source != nil {
		w.creator.Device.(*Device).tokens.delete(w.source)
	}
	o.Finish(status, err, nil)
}

// tokenWrite checks the parameter list.
func (d *Device) tokenWrite(c *scsi.Command, m *backstore.Medium, p []byte) (*tokenWrite, error) {
	const delTkn = 0x02
	w := &tokenWrite{device: d, unit: c.Unit(), skip: binary.BigEndian.Uint64(p[usingOffset:]), delete: p[2]&delTkn != 0}
	var err error
	if w.ranges, w.blocks, err = d.blockRanges(m, p, usingRanges); err != nil {
		return nil, err
	}
	image := p[usingToken : usingToken+tokenLength]
	if binary.BigEndian.Uint16(image[6:]) != tokenLengthField {
		return nil, scsi.IllegalRequest(scsi.ASCInvalidTokenOperationInvalidTokenLength)
	}
	switch binary.BigEndian.Uint32(image) {
	case spc.BlockZero:
		return w, nil
	case spc.PointInTimeVulnerable:
	default:
		return nil, scsi.IllegalRequest(scsi.ASCInvalidTokenOperationUnsupportedTokenType)
	}
	w.creator = spc.FindCSCD(c, image[tokenCreator:tokenCreator+cscdLength])
	if w.creator == nil {
		return nil, scsi.IllegalRequest(scsi.ASCInvalidTokenOperationTokenUnknown)
	}
	from, ok := w.creator.Device.(*Device)
	if !ok {
		return nil, scsi.IllegalRequest(scsi.ASCInvalidTokenOperationTokenUnknown)
	}
	if w.source, err = from.tokens.find(image); err != nil {
		return nil, err
	}
	switch {
	case from.blockSize != d.blockSize:
		return nil, scsi.IllegalRequest(scsi.ASCInvalidTokenOperationCauseNotReportable)
	case w.skip >= w.source.blocks:
		return nil, scsi.InvalidFieldInParameterList(usingOffset, scsi.WholeByte)
	}
	if rest := w.source.blocks - w.skip; w.blocks > rest {
		w.blocks, w.short = rest, true
	}
	return w, nil
}

// run writes the ranges.
func (w *tokenWrite) run(j copyJob) error {
	left := w.blocks
	for _, e := range w.ranges {
		e.Blocks = min(e.Blocks, left)
		left -= e.Blocks
		if err := w.fill(j, e); err != nil {
			return err
		}
	}
	return settleUnit(w.unit)
}

// fill writes one range.
func (w *tokenWrite) fill(j copyJob, e scsi.Extent) error {
	d := w.device
	to := spc.CopyExtent{Unit: w.unit, Offset: d.offset(e.LBA)}
	if w.source == nil {
		return j.zero(to, int64(e.Blocks)<<d.blockShift)
	}
	t := &w.creator.Device.(*Device).tokens
	j.valid = func() error { return t.valid(w.source) }
	for e.Blocks > 0 {
		from := w.next(e.Blocks)
		length := int64(from.Blocks) << d.blockShift
		if err := j.copy(spc.CopyExtent{Unit: w.creator, Offset: d.offset(from.LBA)}, to, length); err != nil {
			return ofTarget(err)
		}
		w.skip += from.Blocks
		e.Blocks -= from.Blocks
		to.Offset += length
	}
	return nil
}

// next is where the ROD's block number skip is, and up to most blocks behind it.
func (w *tokenWrite) next(most uint64) scsi.Extent {
	skip := w.skip
	for _, e := range w.source.extents {
		if skip < e.Blocks {
			return scsi.Extent{LBA: e.LBA + skip, Blocks: min(e.Blocks-skip, most)}
		}
		skip -= e.Blocks
	}
	return scsi.Extent{Blocks: most} // not reached: run asks for no more than there is
}
