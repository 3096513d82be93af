package sbc

import (
	"math"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/scsi"
)

// A form is how long a CDB is. The commands of one family (READ, WRITE, VERIFY
// ...) do the same in every form; their CDBs of one length have the fields that
// they share at the same bytes (SBC-3 clause 5).
type form uint8

// The forms.
const (
	form6  form = 6
	form10 form = 10
	form12 form = 12
	form16 form = 16
	form32 form = 32
)

// lba is the LOGICAL BLOCK ADDRESS field.
func (f form) lba(c scsi.CDB) uint64 {
	switch f {
	case form6:
		return uint64(c.Uint24(1) & 0x1fffff)
	case form10, form12:
		return uint64(c.Uint32(2))
	case form16:
		return c.Uint64(2)
	default:
		return c.Uint64(12)
	}
}

// blocks is the TRANSFER LENGTH, VERIFICATION LENGTH or NUMBER OF LOGICAL
// BLOCKS field. In the 6-byte form zero means 256.
func (f form) blocks(c scsi.CDB) uint64 {
	switch f {
	case form6:
		if n := c.Byte(4); n != 0 {
			return uint64(n)
		}
		return 256
	case form10:
		return uint64(c.Uint16(7))
	case form12:
		return uint64(c.Uint32(6))
	case form16:
		return uint64(c.Uint32(10))
	default:
		return uint64(c.Uint32(28))
	}
}

// lbaByte and blocksByte are where the two fields begin.
func (f form) lbaByte() int {
	switch f {
	case form6:
		return 1
	case form32:
		return 12
	default:
		return 2
	}
}

func (f form) blocksByte() int {
	switch f {
	case form6:
		return 4
	case form10:
		return 7
	case form12:
		return 6
	case form16:
		return 10
	default:
		return 28
	}
}

// flagsByte is the byte with DPO, FUA, BYTCHK and their like. The 6-byte form
// has none.
func (f form) flagsByte() int {
	if f == form32 {
		return 10
	}
	return 1
}

// fua is the FUA bit.
func (f form) fua(c scsi.CDB) bool { return f != form6 && c.Bit(f.flagsByte(), 3) }

// extent is what the CDB touches.
func (f form) extent(c scsi.CDB) scsi.Extent {
	return scsi.Extent{LBA: f.lba(c), Blocks: f.blocks(c)}
}

// extentToEnd is extent for a command to which zero blocks mean all up to the
// end of the medium.
func (f form) extentToEnd(c scsi.CDB) scsi.Extent {
	e := f.extent(c)
	if e.Blocks == 0 {
		e.Blocks = math.MaxUint64 - e.LBA
	}
	return e
}

// wholeMedium is the extent of a command whose blocks stand in its parameter list.
func wholeMedium(scsi.CDB) scsi.Extent { return scsi.Extent{Blocks: math.MaxUint64} }

// locate checks the blocks of a CDB against the capacity of m, and gives them.
func (d *Device) locate(m *backstore.Medium, f form, c scsi.CDB) (lba, blocks uint64, err error) {
	lba, blocks = f.lba(c), f.blocks(c)
	if err := d.within(m, lba, blocks, f.lbaByte()); err != nil {
		return 0, 0, err
	}
	return lba, blocks, nil
}

// within checks blocks against the capacity of m. lbaByte is where the CDB has lba.
func (d *Device) within(m *backstore.Medium, lba, blocks uint64, lbaByte int) error {
	if capacity := d.capacity(m); lba >= capacity || blocks > capacity-lba {
		return outOfRange(max(lba, capacity), lbaByte)
	}
	return nil
}

// locateToEnd is locate for a command to which zero blocks mean all up to the
// end of the medium.
func (d *Device) locateToEnd(m *backstore.Medium, f form, c scsi.CDB) (lba, blocks uint64, err error) {
	lba, blocks, err = d.locate(m, f, c)
	if err == nil && blocks == 0 {
		blocks = d.capacity(m) - lba
	}
	return lba, blocks, err
}

// locateTransfer is locate for a command that moves its blocks through memory:
// it gives their place and length in bytes.
func (d *Device) locateTransfer(m *backstore.Medium, f form, c scsi.CDB) (off int64, n int, err error) {
	lba, blocks, err := d.locate(m, f, c)
	if err != nil {
		return 0, 0, err
	}
	if blocks > MaximumTransferLength>>d.blockShift {
		return 0, 0, scsi.InvalidFieldInCDB(f.blocksByte(), scsi.WholeByte)
	}
	return d.offset(lba), int(blocks) << d.blockShift, nil
}

// offset is the byte at which a block begins.
func (d *Device) offset(lba uint64) int64 { return int64(lba << d.blockShift) }

// outOfRange is LOGICAL BLOCK ADDRESS OUT OF RANGE: INFORMATION is the first
// invalid LBA (SBC-3 4.18), the field pointer that of the LBA in the CDB.
func outOfRange(lba uint64, lbaByte int) *scsi.Sense {
	s := scsi.InvalidCDB(scsi.ASCLogicalBlockAddressOutOfRange, lbaByte, scsi.WholeByte)
	s.Information = &lba
	return s
}

const (
	variableLength = 0x7f // operation code of the 32-byte form
	groupNumber    = 0x1f // GROUP NUMBER may have any value
)

// usage is the CDB usage data of a command of blocks in this form. code is the
// operation code; for the 32-byte form it is the service action.
func (f form) usage(code, flags byte) []byte {
	switch f {
	case form6:
		return []byte{code, 0x1f, 0xff, 0xff, 0xff, 0}
	case form10:
		return []byte{code, flags, 0xff, 0xff, 0xff, 0xff, groupNumber, 0xff, 0xff, 0}
	case form12:
		return []byte{code, flags, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, groupNumber, 0}
	case form16:
		return []byte{code, flags, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, groupNumber, 0}
	}
	return []byte{
		variableLength, 0, 0, 0, 0, 0, groupNumber, byte(form32) - 8, 0, code, flags, 0,
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, // LOGICAL BLOCK ADDRESS
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, // reference and application tags, ignored
		0xff, 0xff, 0xff, 0xff, // TRANSFER LENGTH
	}
}
