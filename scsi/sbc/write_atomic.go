package sbc

import (
	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/scsi"
)

const writeAtomicLength = 12 // the byte of TRANSFER LENGTH

// writeAtomicOperations is the row of WRITE ATOMIC (16), which only a unit has
// whose store promises what SBC-4 4.29 asks for: that no loss of power, failure
// or abort leaves a part of the write behind. Beside other commands it is one
// step since it is alone on its blocks. There is no atomic boundary: the field
// must be zero.
func (d *Device) writeAtomicOperations() []scsi.Operation {
	if !d.atomic {
		return nil
	}
	op := blocks("WRITE ATOMIC (16)", form16, 0x9c, flagDPO|flagFUA, nil)
	op.Usage = []byte{0x9c, flagDPO | flagFUA, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0xff, 0xff, groupNumber, 0}
	op.Conflict, op.Traits, op.Order = scsi.ConflictAlways, scsi.Writes, scsi.ExclusiveExtent
	op.Extent = func(c scsi.CDB) scsi.Extent {
		return scsi.Extent{LBA: form16.lba(c), Blocks: uint64(c.Uint16(writeAtomicLength))}
	}
	op.Execute = d.writeAtomic
	return []scsi.Operation{puts(op)}
}

// atomicLimits are MAXIMUM ATOMIC TRANSFER LENGTH and ATOMIC ALIGNMENT of VPD B0h,
// in blocks. A medium that promises nothing has the maximum 0. One that promises
// any length has the alignment 0: any.
func (d *Device) atomicLimits(m *backstore.Medium) (maximum, alignment uint64) {
	if m == nil || !d.atomic {
		return 0, 0
	}
	promised := m.Geometry().Atomic
	if promised >= MaximumTransferLength {
		return MaximumTransferLength >> d.blockShift, 0
	}
	maximum = uint64(promised) >> d.blockShift
	return maximum, maximum
}

// writeAtomic is WRITE ATOMIC (16) (SBC-4 5.48): all of the blocks are written, or
// none.
func (d *Device) writeAtomic(c *scsi.Command) error {
	m, err := d.begin(c)
	if err != nil {
		return err
	}
	lba, blocks := form16.lba(c.CDB), uint64(c.CDB.Uint16(writeAtomicLength))
	if err := d.within(m, lba, blocks, form16.lbaByte()); err != nil {
		return err
	}
	maximum, alignment := d.atomicLimits(m)
	switch {
	case blocks > maximum:
		return scsi.InvalidFieldInCDB(writeAtomicLength, scsi.WholeByte)
	case alignment > 1 && lba%alignment != 0:
		return scsi.InvalidFieldInCDB(form16.lbaByte(), scsi.WholeByte)
	case blocks == 0:
		return nil
	case d.isReadOnly(m):
		return scsi.DataProtect(scsi.ASCWriteProtected)
	}
	c.Length = int(blocks) << d.blockShift
	p, err := c.Delivery.ReceiveDataOut(c.Length)
	if err != nil {
		return err
	}
	if len(p) < c.Length {
		return errPartOfBlock() // a part of the write is what nobody may see
	}
	if err := aborted(c); err != nil {
		return err
	}
	d.dataArrived(c)
	return d.writeWhole(m, p[:c.Length], d.offset(lba), form16.fua(c.CDB))
}
