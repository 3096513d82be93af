package spc

import (
	"encoding/binary"
	"math"

	"github.com/isantarget/isantarget/scsi"
)

// copyStatus is RECEIVE COPY STATUS (LID1) (SPC-4 6.28).
func (m *CopyManager) copyStatus(c *scsi.Command) error {
	o := m.find(c.Nexus, uint32(c.CDB.Byte(2)))
	if o == nil {
		return scsi.InvalidFieldInCDB(2, scsi.WholeByte)
	}
	const (
		completed  = 0x01
		withErrors = 0x02
	)
	b := make([]byte, 12)
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	o.mu.Lock()
	switch o.status {
	case CopyInForeground, CopyInBackground:
	case CopyCompleted, CopyResidual:
		b[4] = completed
	default:
		b[4] = withErrors
	}
	binary.BigEndian.PutUint16(b[5:], o.segments)
	count := o.count
	o.mu.Unlock()
	for count > math.MaxUint32 { // TRANSFER COUNT UNITS: bytes, KiB, MiB ...
		count >>= 10
		b[7]++
	}
	binary.BigEndian.PutUint32(b[8:], uint32(count))
	return c.ReturnData(b, int(c.CDB.Uint32(10)))
}

// operatingParameters is RECEIVE COPY OPERATING PARAMETERS (SPC-4 6.27).
func (m *CopyManager) operatingParameters(c *scsi.Command) error {
	implemented := []byte{segmentBlockToBlock, cscdIdentification}
	b := make([]byte, 44, 44+len(implemented))
	b[4] = 0x01 // SNLID: a copy may come without a list identifier
	binary.BigEndian.PutUint16(b[8:], maxCSCDs)
	binary.BigEndian.PutUint16(b[10:], maxSegments)
	binary.BigEndian.PutUint32(b[12:], maxDescriptorsLength)
	binary.BigEndian.PutUint32(b[16:], maxSegmentLength)
	binary.BigEndian.PutUint16(b[34:], math.MaxUint8) // TOTAL CONCURRENT COPIES
	b[36] = maxListIdentifiers                        // MAXIMUM CONCURRENT COPIES
	b[37] = segmentGranularity
	b[43] = byte(len(implemented))
	b = append(b, implemented...)
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return c.ReturnData(b, int(c.CDB.Uint32(10)))
}

// segmentGranularity is the least length of a segment, as a power of two: a block.
const segmentGranularity = 9

// failureDetails is RECEIVE COPY FAILURE DETAILS (LID1) (SPC-4 6.26). They are told once.
func (m *CopyManager) failureDetails(c *scsi.Command) error {
	o := m.find(c.Nexus, uint32(c.CDB.Byte(2)))
	if o == nil {
		return scsi.InvalidFieldInCDB(2, scsi.WholeByte)
	}
	o.mu.Lock()
	sense, status := o.sense, o.result
	o.mu.Unlock()
	if sense == nil {
		return c.ReturnData(make([]byte, 4), int(c.CDB.Uint32(10)))
	}
	b := make([]byte, 60)
	b[56] = byte(status) // EXTENDED COPY COMMAND STATUS
	b = sense.Append(b, false)
	binary.BigEndian.PutUint16(b[58:], uint16(len(b)-60))
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	if err := c.ReturnData(b, int(c.CDB.Uint32(10))); err != nil {
		return err
	}
	m.forget(c.Nexus, o)
	return nil
}
