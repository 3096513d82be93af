package sbc

import (
	"encoding/binary"
	"math"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/scsi"
)

const (
	lbaStatusHeader     = 8
	lbaStatusDescriptor = 16
	// maximumLBAStatusDescriptors bounds one answer; the initiator asks on from
	// where it ended.
	maximumLBAStatusDescriptors = 1024
)

// getLBAStatus is GET LBA STATUS (SBC-3 5.4): which blocks are mapped. There is
// at least one descriptor, and descriptors that touch differ in their status. A
// unit that is not thin provisioned has every block mapped.
func (d *Device) getLBAStatus(c *scsi.Command) error {
	m, err := d.begin(c)
	if err != nil {
		return err
	}
	lba, capacity := c.CDB.Uint64(2), d.capacity(m)
	if lba >= capacity {
		return outOfRange(lba, 2)
	}
	allocation := int(c.CDB.Uint32(10))
	most := min(max((allocation-lbaStatusHeader)/lbaStatusDescriptor, 1), maximumLBAStatusDescriptors)
	p := make([]byte, lbaStatusHeader, lbaStatusHeader+most*lbaStatusDescriptor)
	for ; most > 0 && lba < capacity; most-- {
		if err := aborted(c); err != nil {
			return err
		}
		blocks, status, err := d.lbaStatus(m, lba, capacity)
		if err != nil {
			return err
		}
		p = binary.BigEndian.AppendUint64(p, lba)
		p = binary.BigEndian.AppendUint32(p, uint32(blocks))
		p = append(p, byte(status), 0, 0, 0)
		lba += blocks
	}
	binary.BigEndian.PutUint32(p, uint32(len(p)-4))
	return c.ReturnData(p, allocation)
}

// lbaStatus is the status of the block lba, and how many blocks from there on have
// it (at most what a descriptor can tell).
func (d *Device) lbaStatus(m *backstore.Medium, lba, capacity uint64) (blocks uint64, status backstore.ExtentState, err error) {
	end := min(capacity, lba+math.MaxUint32)
	if !d.thin {
		return end - lba, backstore.Mapped, nil
	}
	blocks, status, err = d.blockExtent(m, lba, end)
	for err == nil && lba+blocks < end {
		more, next, err := d.blockExtent(m, lba+blocks, end)
		if err != nil || next != status {
			return blocks, status, err
		}
		blocks += more
		if more == 0 {
			break
		}
	}
	return blocks, status, err
}

// blockExtent is an extent of the medium in blocks: a block of which any byte is
// mapped is mapped. What the medium calls anchored is mapped too (ANC_SUP=0).
func (d *Device) blockExtent(m *backstore.Medium, lba, end uint64) (blocks uint64, status backstore.ExtentState, err error) {
	off := d.offset(lba)
	e, err := m.ExtentAt(off, d.offset(end)-off)
	if err != nil {
		return 0, 0, d.readError(m, err, off)
	}
	if whole := uint64(e.Length) >> d.blockShift; e.State == backstore.Deallocated && whole > 0 {
		return whole, backstore.Deallocated, nil
	}
	if e.State == backstore.Deallocated {
		return 1, backstore.Mapped, nil
	}
	return (uint64(e.Length) + uint64(d.blockSize) - 1) >> d.blockShift, backstore.Mapped, nil
}
