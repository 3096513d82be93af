package sbc

import (
	"encoding/binary"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/scsi"
	"github.com/isantarget/isantarget/scsi/spc"
)

// vpdHeader is what a VPD page has before its data: indices below are the byte
// numbers of the standard minus it.
const vpdHeader = 4

// blockLimits is the Block Limits VPD page (SBC-3 6.6.3), lengths in blocks. WSNZ
// is 0: WRITE SAME takes zero blocks. There is no limit to PRE-FETCH. The fields of
// atomic writes are those of SBC-4 6.6.4; where they are zero there is none.
func (d *Device) blockLimits() []byte {
	p := make([]byte, 64-vpdHeader)
	put16 := func(at int, v int) { binary.BigEndian.PutUint16(p[at-vpdHeader:], uint16(v)) }
	put32 := func(at int, v int) { binary.BigEndian.PutUint32(p[at-vpdHeader:], uint32(v)) }

	var g backstore.Geometry
	m := d.medium.Load()
	if m != nil {
		g = m.Geometry()
	}
	p[5-vpdHeader] = maximumCompareAndWriteLength
	put16(6, 1<<d.physicalBlockExponent(m))                                            // OPTIMAL TRANSFER LENGTH GRANULARITY
	put32(8, MaximumTransferLength>>d.blockShift)                                      // MAXIMUM TRANSFER LENGTH
	put32(12, min(g.Optimal, MaximumTransferLength)>>d.blockShift)                     // OPTIMAL TRANSFER LENGTH
	binary.BigEndian.PutUint64(p[36-vpdHeader:], maximumWriteSameLength>>d.blockShift) // MAXIMUM WRITE SAME LENGTH
	if d.thin {
		const ugavalid = 1 << 31                    // UNMAP GRANULARITY ALIGNMENT, 0, is valid
		put32(20, maximumUnmapLength>>d.blockShift) // MAXIMUM UNMAP LBA COUNT
		put32(24, maximumUnmapDescriptors)          // MAXIMUM UNMAP BLOCK DESCRIPTOR COUNT
		put32(28, max(g.Unmap>>d.blockShift, 1))    // OPTIMAL UNMAP GRANULARITY
		put32(32, ugavalid)
	}
	maximum, alignment := d.atomicLimits(m)
	put32(44, int(maximum))   // MAXIMUM ATOMIC TRANSFER LENGTH
	put32(48, int(alignment)) // ATOMIC ALIGNMENT; ATOMIC TRANSFER LENGTH GRANULARITY is 0: any
	return p
}

// VitalProductDataPages are the pages of SBC-3 6.6.
func (d *Device) VitalProductDataPages() []scsi.VitalProductDataPage {
	return []scsi.VitalProductDataPage{
		{Code: spc.ThirdPartyCopyPage, Data: d.thirdPartyCopy},
		{Code: 0xb0, Data: d.blockLimits},
		{Code: 0xb1, Data: d.blockDeviceCharacteristics},
		{Code: 0xb2, Data: d.logicalBlockProvisioning},
	}
}
