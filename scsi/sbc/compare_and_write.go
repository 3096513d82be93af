package sbc

import (
	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/scsi"
)

// maximumCompareAndWriteLength is as many blocks as the CDB can name (VPD B0h).
const maximumCompareAndWriteLength = 255

const compareAndWriteBlocks = 13 // the byte of NUMBER OF LOGICAL BLOCKS

// compareAndWriteOperation is the row of COMPARE AND WRITE. It is alone on its
// blocks, so that reading, comparing and writing are one step for everybody; and
// RESERVE, which is alone in the task set, comes before or after that step.
func (d *Device) compareAndWriteOperation() scsi.Operation {
	op := blocks("COMPARE AND WRITE", form16, 0x89, flagDPO|flagFUA, nil)
	op.Usage = []byte{0x89, flagDPO | flagFUA, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0xff, groupNumber, 0}
	op.Conflict, op.Traits, op.Order = scsi.ConflictAlways, scsi.Writes, scsi.ExclusiveExtent
	op.Extent = func(c scsi.CDB) scsi.Extent {
		return scsi.Extent{LBA: form16.lba(c), Blocks: uint64(c.Byte(compareAndWriteBlocks))}
	}
	op.Execute = d.compareAndWrite
	return puts(op)
}

// compareAndWrite is COMPARE AND WRITE (SBC-3 5.2). The Data-Out holds what the
// blocks have to be, and behind it what they become. It has to be exactly that
// long: an initiator that announces more or less means other blocks than its CDB.
func (d *Device) compareAndWrite(c *scsi.Command) error {
	m, err := d.begin(c)
	if err != nil {
		return err
	}
	lba, blocks := form16.lba(c.CDB), uint64(c.CDB.Byte(compareAndWriteBlocks))
	if err := d.within(m, lba, blocks, form16.lbaByte()); err != nil {
		return err
	}
	if blocks > 0 && d.isReadOnly(m) {
		return scsi.DataProtect(scsi.ASCWriteProtected)
	}
	n := int(blocks) << d.blockShift
	c.Length = 2 * n
	p, err := c.Delivery.ReceiveDataOut(2*n + 1) // one byte more is none, unless it was announced
	if err != nil {
		return err
	}
	if len(p) != 2*n {
		return scsi.InvalidFieldInCDB(compareAndWriteBlocks, scsi.WholeByte)
	}
	if n == 0 {
		return nil
	}
	d.dataArrived(c)
	return d.compareThenWrite(c, m, p[:n], p[n:], d.offset(lba))
}

// compareThenWrite writes next at off if the blocks there are held. A store that
// other hosts use as well does both as one step of its own.
func (d *Device) compareThenWrite(c *scsi.Command, m *backstore.Medium, held, next []byte, off int64) error {
	fua := form16.fua(c.CDB)
	if m.Features().Has(backstore.CanCompare) {
		at, err := m.CompareAndWriteAt(held, next, off)
		if err != nil {
			return d.writeError(m, err, off)
		}
		if at >= 0 {
			return scsi.Miscompare(uint64(at))
		}
		return d.writeError(m, d.settle(m, fua), off)
	}
	if err := d.compare(c, m, held, off); err != nil {
		return err
	}
	if err := aborted(c); err != nil {
		return err
	}
	err := d.writeWhole(m, next, off, fua)
	if err != nil { // who tries again compares with what was there: no part of next is to stay
		_, _ = m.WriteAt(held, off)
	}
	return err
}

// writeWhole writes p, durably if FUA or the caching mode page ask for that.
func (d *Device) writeWhole(m *backstore.Medium, p []byte, off int64, fua bool) (err error) {
	if fua || d.writeThrough.Load() {
		_, err = m.WriteThroughAt(p, off)
	} else {
		_, err = m.WriteAt(p, off)
	}
	return d.writeError(m, err, off)
}
