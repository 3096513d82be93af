package sbc

import (
	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/scsi"
)

const (
	// maximumWriteSameLength bounds one WRITE SAME (VPD B0h), in bytes: what a slow
	// disk writes before initiators lose patience. From 65536 blocks on, libiscsi's
	// suite wants one WRITE (16) to carry as much.
	maximumWriteSameLength = 16 << 20
	// zeroPiece is how much is zeroed or unmapped at once between two looks at
	// whether the command was aborted.
	zeroPiece = 4 << 20
)

// writeSame is WRITE SAME in each of its forms (SBC-3 5.43 to 5.45). Zero blocks
// mean all up to the end of the medium (WSNZ=0). With UNMAP on a thin unit the
// blocks are unmapped if that leaves them as the CDB asks: reading as zeros. Else
// they are written. (The row of a unit that is not thin refuses UNMAP.)
func (d *Device) writeSame(c *scsi.Command, f form) error {
	m, err := d.begin(c)
	if err != nil {
		return err
	}
	lba, blocks, err := d.locateToEnd(m, f, c.CDB)
	if err != nil {
		return err
	}
	if blocks > maximumWriteSameLength>>d.blockShift {
		return scsi.InvalidFieldInCDB(f.blocksByte(), scsi.WholeByte)
	}
	if d.isReadOnly(m) {
		return scsi.DataProtect(scsi.ASCWriteProtected)
	}
	block, err := d.sameBlock(c, f)
	if err != nil {
		return err
	}
	d.dataArrived(c)
	off, length := d.offset(lba), int64(blocks)<<d.blockShift
	if block == nil || backstore.IsZero(block) {
		err = d.zero(c, m, off, length, d.thin && c.CDB.Bit(f.flagsByte(), 3))
	} else {
		err = d.repeat(c, m, block, off, length)
	}
	if err != nil {
		return err
	}
	return d.writeError(m, d.settle(m, false), off)
}

// sameBlock is the block that is to be written; nil for zeros without Data-Out
// (NDOB, which the 10-byte form does not have). The Data-Out must be exactly one
// block: an initiator that announces more or less means something else.
func (d *Device) sameBlock(c *scsi.Command, f form) ([]byte, error) {
	if c.CDB.Bit(f.flagsByte(), 0) {
		return nil, nil
	}
	c.Length = d.blockSize
	p, err := c.Delivery.ReceiveDataOut(d.blockSize + 1) // one byte more is none, unless it was announced
	if err != nil {
		return nil, err
	}
	if len(p) != d.blockSize {
		return nil, errPartOfBlock()
	}
	return p, nil
}

// zero fills a range with zeros, and gives its space back if unmap is set. Pieces
// end at multiples of their size, so that no granule of the store is cut in two.
func (d *Device) zero(c *scsi.Command, m *backstore.Medium, off, length int64, unmap bool) error {
	return d.inZeroPieces(c, off, length, func(off, n int64) error {
		return d.writeError(m, m.ZeroAt(off, n, unmap), off)
	})
}

// inZeroPieces calls do for each piece of a range.
func (d *Device) inZeroPieces(c *scsi.Command, off, length int64, do func(off, n int64) error) error {
	for end := off + length; off < end; {
		if err := aborted(c); err != nil {
			return err
		}
		n := min(end-off, zeroPiece-off%zeroPiece)
		if err := do(off, n); err != nil {
			return err
		}
		off += n
	}
	return nil
}

// repeat writes block again and again.
func (d *Device) repeat(c *scsi.Command, m *backstore.Medium, block []byte, off, length int64) error {
	for end := off + length; off < end; {
		if err := aborted(c); err != nil {
			return err
		}
		n, err := d.repeatPiece(m, block, off, end-off)
		if err != nil {
			return err
		}
		off += n
	}
	return nil
}

func (d *Device) repeatPiece(m *backstore.Medium, block []byte, off, length int64) (int64, error) {
	b := d.scratch.take()
	defer d.scratch.give(b)
	p := b[:min(length, scratchSize)]
	for filled := copy(p, block); filled < len(p); filled *= 2 {
		copy(p[filled:], p[:filled])
	}
	n, err := m.WriteAt(p, off)
	return int64(n), d.writeError(m, err, off)
}
