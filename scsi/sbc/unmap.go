package sbc

import (
	"encoding/binary"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/scsi"
)

const (
	unmapHeader     = 8  // UNMAP parameter list header (SBC-3 5.28.2)
	unmapDescriptor = 16 // UNMAP block descriptor

	// maximumUnmapDescriptors is as many as a parameter list can hold.
	maximumUnmapDescriptors = (1<<16 - 1 - unmapHeader) / unmapDescriptor
	// maximumUnmapLength bounds one UNMAP (VPD B0h), in bytes: a MAXIMUM UNMAP LBA
	// COUNT over 2^20 passes for a mistake with libiscsi's suite.
	maximumUnmapLength = 512 << 20
)

// unmap is UNMAP (SBC-3 5.28). The whole list is checked before anything is
// unmapped.
func (d *Device) unmap(c *scsi.Command) error {
	m, err := d.begin(c)
	if err != nil {
		return err
	}
	if d.isReadOnly(m) {
		return scsi.DataProtect(scsi.ASCWriteProtected)
	}
	list, err := unmapList(c)
	if err != nil {
		return err
	}
	if err := d.checkUnmapList(m, list); err != nil {
		return err
	}
	for ; len(list) > 0; list = list[unmapDescriptor:] {
		lba, blocks := unmapRange(list)
		off, length := d.offset(lba), int64(blocks)<<d.blockShift
		d.tokens.changed(scsi.Extent{LBA: lba, Blocks: blocks})
		if err := d.deallocate(c, m, off, length); err != nil {
			return err
		}
	}
	return d.writeError(m, d.settle(m, false), 0)
}

// unmapList waits for the parameter list and gives its descriptors. One that the
// list does not hold whole is ignored (SBC-3 5.28.2).
func unmapList(c *scsi.Command) ([]byte, error) {
	p, err := c.ParameterList(int(c.CDB.Uint16(7)))
	if err != nil || len(p) == 0 {
		return nil, err
	}
	if len(p) < unmapHeader {
		return nil, scsi.IllegalRequest(scsi.ASCParameterListLengthError)
	}
	n := min(int(binary.BigEndian.Uint16(p[2:])), len(p)-unmapHeader)
	return p[unmapHeader : unmapHeader+n-n%unmapDescriptor], nil
}

// unmapRange is what the first descriptor of list names.
func unmapRange(list []byte) (lba, blocks uint64) {
	return binary.BigEndian.Uint64(list), uint64(binary.BigEndian.Uint32(list[8:]))
}

// checkUnmapList checks each descriptor against the capacity, and all of them
// against MAXIMUM UNMAP LBA COUNT. Their number cannot exceed what is told of it.
func (d *Device) checkUnmapList(m *backstore.Medium, list []byte) error {
	capacity := d.capacity(m)
	var sum uint64
	for at := 0; at < len(list); at += unmapDescriptor {
		lba, blocks := unmapRange(list[at:])
		if lba > capacity || blocks > capacity-lba { // no blocks right behind the last one is no error
			s := scsi.IllegalRequest(scsi.ASCLogicalBlockAddressOutOfRange)
			first := max(lba, capacity)
			s.Information = &first
			s.Field = &scsi.FieldPointer{Byte: uint16(unmapHeader + at)}
			return s
		}
		if sum += blocks; sum > maximumUnmapLength>>d.blockShift {
			return scsi.InvalidFieldInParameterList(unmapHeader+at+8, scsi.WholeByte)
		}
	}
	return nil
}

// deallocate gives back the space of a range. What a store cannot give back is
// zeroed there, where unmapped blocks read as zeros; so it is if the medium that
// was swapped in cannot give back anything.
func (d *Device) deallocate(c *scsi.Command, m *backstore.Medium, off, length int64) error {
	if !m.Features().Has(backstore.CanUnmap) {
		return d.zero(c, m, off, length, true)
	}
	return d.inZeroPieces(c, off, length, func(off, n int64) error {
		return d.writeError(m, m.UnmapAt(off, n), off)
	})
}
