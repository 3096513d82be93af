package sbc

import "encoding/binary"

// blockDeviceCharacteristics is the Block Device Characteristics VPD page (SBC-3
// 6.6.2). A medium that seeks does not know how fast it turns; one that does not
// is told as non-rotating.
func (d *Device) blockDeviceCharacteristics() []byte {
	const (
		nonRotating = 1
		wabereq     = 0x40 // 01b: blocks can be read after a block erase without having been written
		fuab        = 0x02 // FUA and SYNCHRONIZE CACHE as SBC-3 has them
		vbuls       = 0x01 // VERIFY compares unmapped blocks as well
	)
	p := make([]byte, 64-vpdHeader)
	if m := d.medium.Load(); m != nil && !m.Geometry().Rotational {
		binary.BigEndian.PutUint16(p[4-vpdHeader:], nonRotating)
	}
	p[7-vpdHeader] = wabereq
	p[8-vpdHeader] = fuab | vbuls
	return p
}
