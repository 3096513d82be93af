package spc

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/isantarget/isantarget/scsi"
)

const copyHeader = 16 // EXTENDED COPY parameter list header

// The LIST ID USAGE field (SPC-4 table 151).
const (
	listKept      = 0 // what comes of the copy can be asked for
	listReserved  = 1
	listDiscarded = 2 // it need not be kept when the copy has ended
	listUnused    = 3 // there is no list identifier
)

// extendedCopy is EXTENDED COPY (LID1) (SPC-4 6.4) between block devices of this
// target: the segments in their order. All of the parameter list is checked
// before anything is written.
func (m *CopyManager) extendedCopy(c *scsi.Command) error {
	n := c.CDB.Uint32(10)
	if n == 0 {
		return nil
	}
	if n < copyHeader || n > copyHeader+maxDescriptorsLength {
		return scsi.IllegalRequest(scsi.ASCParameterListLengthError)
	}
	list, err := c.ParameterList(int(n))
	if err != nil {
		return err
	}
	descriptors, err := copyDescriptors(list)
	if err != nil {
		return err
	}
	usage, id := list[1]>>3&3, list[0]
	switch {
	case usage == listReserved:
		return scsi.InvalidFieldInParameterList(1, 4)
	case usage == listUnused && id != 0:
		return scsi.InvalidFieldInParameterList(0, scsi.WholeByte)
	case usage == listUnused:
		return m.copySegments(c, newCopyOperation(0, extendedCopyLID1), descriptors)
	}
	o, err := m.Begin(c.Nexus, uint32(id), extendedCopyLID1)
	if err != nil {
		return err
	}
	// Whatever happens it must not stay in progress.
	result := errors.New("spc: the copy ended without a result")
	defer func() {
		o.Finish(CopyCompleted, result, nil)
		if usage == listDiscarded {
			m.forget(c.Nexus, o)
		}
	}()
	result = m.copySegments(c, o, descriptors)
	return result
}

// copyList are the two lists of descriptors of a parameter list.
type copyList struct {
	cscds, segments []byte
	segmentsAt      int
}

// copyDescriptors cuts a parameter list.
func copyDescriptors(list []byte) (copyList, error) {
	cscds := int64(binary.BigEndian.Uint16(list[2:]))
	segments, inline := int64(binary.BigEndian.Uint32(list[8:])), binary.BigEndian.Uint32(list[12:])
	switch {
	case inline > 0: // MAXIMUM INLINE DATA LENGTH is zero
		return copyList{}, scsi.IllegalRequest(scsi.ASCInlineDataLengthExceeded)
	case copyHeader+cscds+segments > int64(len(list)):
		return copyList{}, scsi.IllegalRequest(scsi.ASCParameterListLengthError)
	}
	at := copyHeader + cscds
	return copyList{list[copyHeader:at], list[at : at+segments], int(at)}, nil
}

// The block device to block device segment descriptor (SPC-4 6.4.6.3).
const (
	segmentLength       = 28
	segmentHeader       = 4
	segmentBlockToBlock = 0x02
	ownUnit             = 0xffff // CSCD DESCRIPTOR ID of the unit that has the copy manager
)

// A segment is a segment descriptor, resolved.
type segment struct {
	from, to CopyExtent
	length   int64 // bytes
}

// copySegments does what the parameter list says.
func (m *CopyManager) copySegments(c *scsi.Command, o *CopyOperation, list copyList) error {
	units, err := m.cscds(c, list.cscds, copyHeader)
	if err != nil {
		return err
	}
	segments, err := m.segments(c, units, list)
	if err != nil {
		return err
	}
	for i, s := range segments {
		if err := m.copier.Copy(c, s.from, s.to, s.length, o.Count); err != nil {
			return segmentError(c, err, i)
		}
		o.segment()
	}
	return nil
}

// segmentError is how a command ends whose segment i has failed: what one of the
// units answered is told as COPY ABORTED.
func segmentError(c *scsi.Command, err error, i int) error {
	var (
		sense  *scsi.Sense
		status scsi.Status
	)
	switch {
	case c.Aborted():
		return scsi.ErrAborted
	case errors.As(err, &sense) && sense.Key == scsi.KeyNotReady, errors.Is(err, scsi.ErrAborted):
		return copyAborted(scsi.ASCCopyTargetDeviceNotReachable, i)
	case errors.As(err, &sense) && sense.Code == scsi.ASCSpaceAllocationFailedWriteProtect:
		return copyAborted(sense.Code, i) // what its user can mend should not look like a broken device
	case errors.As(err, &sense), errors.As(err, &status):
		return copyAborted(scsi.ASCThirdPartyDeviceFailure, i)
	}
	return fmt.Errorf("segment %d: %w", i, err)
}

// segments resolves the segment descriptors.
func (m *CopyManager) segments(c *scsi.Command, units []*scsi.LogicalUnit, list copyList) (segments []segment, err error) {
	d, at := list.segments, list.segmentsAt
	for len(d) > 0 {
		if d[0] != segmentBlockToBlock {
			s := scsi.InvalidFieldInParameterList(at, scsi.WholeByte)
			s.Code = scsi.ASCUnsupportedSegmentDescriptorTypeCode
			return nil, s
		}
		if len(d) < segmentLength {
			return nil, scsi.IllegalRequest(scsi.ASCParameterListLengthError)
		}
		if binary.BigEndian.Uint16(d[2:]) != segmentLength-segmentHeader {
			return nil, scsi.InvalidFieldInParameterList(at+2, scsi.WholeByte)
		}
		if len(segments) == maxSegments {
			return nil, scsi.IllegalRequest(scsi.ASCTooManySegmentDescriptors)
		}
		s, err := m.segment(c, units, d, len(segments))
		if err != nil {
			return nil, err
		}
		segments = append(segments, s)
		d, at = d[segmentLength:], at+segmentLength
	}
	return segments, nil
}

// segment resolves segment descriptor d, which is number i.
func (m *CopyManager) segment(c *scsi.Command, units []*scsi.LogicalUnit, d []byte, i int) (segment, error) {
	const dc = 0x02 // the number of blocks is that of the destination
	unit := func(at int) *scsi.LogicalUnit {
		switch id := int(binary.BigEndian.Uint16(d[at:])); {
		case id == ownUnit:
			return c.Unit()
		case id < len(units):
			return units[id]
		}
		return nil
	}
	from, to := unit(4), unit(6)
	if from == nil || to == nil {
		return segment{}, copyAborted(scsi.ASCUnreachableCopyTarget, i)
	}
	fromLength, fromCapacity := m.copier.Blocks(from)
	toLength, toCapacity := m.copier.Blocks(to)
	if fromLength == 0 || toLength == 0 {
		return segment{}, copyAborted(scsi.ASCCopyTargetDeviceNotReachable, i)
	}
	length := int64(binary.BigEndian.Uint16(d[10:]))
	if d[1]&dc != 0 {
		length *= int64(toLength)
	} else {
		length *= int64(fromLength)
	}
	if length%int64(fromLength) != 0 || length%int64(toLength) != 0 {
		return segment{}, copyAborted(scsi.ASCUnexpectedInexactSegment, i)
	}
	fromLBA, toLBA := binary.BigEndian.Uint64(d[12:]), binary.BigEndian.Uint64(d[20:])
	if !holds(fromCapacity, fromLBA, uint64(length)/uint64(fromLength)) || !holds(toCapacity, toLBA, uint64(length)/uint64(toLength)) {
		return segment{}, copyAborted(scsi.ASCCopyTargetDeviceNotReachable, i)
	}
	return segment{
		from:   CopyExtent{from, int64(fromLBA) * int64(fromLength)},
		to:     CopyExtent{to, int64(toLBA) * int64(toLength)},
		length: length,
	}, nil
}

// holds tells whether a device of so many blocks has those from lba on.
func holds(capacity, lba, blocks uint64) bool { return lba <= capacity && blocks <= capacity-lba }
