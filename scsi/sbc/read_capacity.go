package sbc

import (
	"encoding/binary"
	"math"
	"math/bits"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/scsi"
)

// readCapacity10 is READ CAPACITY (10) (SBC-3 5.15). A last LBA beyond 32 bits is
// told as FFFFFFFFh: the initiator asks on with READ CAPACITY (16).
func (d *Device) readCapacity10(c *scsi.Command) error {
	m, err := d.begin(c)
	if err != nil {
		return err
	}
	var p [8]byte
	binary.BigEndian.PutUint32(p[:], uint32(min(d.capacity(m)-1, math.MaxUint32)))
	binary.BigEndian.PutUint32(p[4:], uint32(d.blockSize))
	return c.ReturnData(p[:], len(p))
}

// readCapacity16 is READ CAPACITY (16) (SBC-3 5.16). There is no protection
// information, and block 0 begins a physical block.
func (d *Device) readCapacity16(c *scsi.Command) error {
	m, err := d.begin(c)
	if err != nil {
		return err
	}
	const lbpme, lbprz = 0x80, 0x40
	var p [32]byte
	binary.BigEndian.PutUint64(p[:], d.capacity(m)-1)
	binary.BigEndian.PutUint32(p[8:], uint32(d.blockSize))
	p[13] = d.physicalBlockExponent(m)
	if d.thin {
		p[14] |= lbpme
	}
	if d.readsZeros(m) {
		p[14] |= lbprz
	}
	return c.ReturnData(p[:], int(c.CDB.Uint32(10)))
}

// physicalBlockExponent is LOGICAL BLOCKS PER PHYSICAL BLOCK EXPONENT: a physical
// block has 2 to its power of logical blocks.
func (d *Device) physicalBlockExponent(m *backstore.Medium) byte {
	p := d.physical
	if p == 0 && m != nil {
		p = m.Geometry().Physical
	}
	if p <= d.blockSize || p&(p-1) != 0 {
		return 0
	}
	return byte(min(bits.TrailingZeros(uint(p))-int(d.blockShift), 15))
}
