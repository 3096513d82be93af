package sbc

import (
	"encoding/binary"
	"slices"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/scsi"
)

// rangeDescriptor is the length of a block device range descriptor (SBC-3 5.7.3).
const rangeDescriptor = 16

// blockRanges reads the block device range descriptors of POPULATE TOKEN and WRITE
// USING TOKEN, which stand at the end of the parameter list p from byte at on;
// their length stands before them. Ranges of no blocks are left out. Each has to
// be on the medium, and no block in two of them.
func (d *Device) blockRanges(m *backstore.Medium, p []byte, at int) (ranges []scsi.Extent, blocks uint64, err error) {
	told := int(binary.BigEndian.Uint16(p)) + 2 // POPULATE TOKEN DATA LENGTH and its like
	if told > len(p) || told < at {
		return nil, 0, scsi.IllegalRequest(scsi.ASCParameterListLengthError)
	}
	n := int(binary.BigEndian.Uint16(p[at-2:]))
	switch {
	case n < rangeDescriptor || n%rangeDescriptor != 0 || at+n > told:
		return nil, 0, scsi.InvalidFieldInParameterList(at-2, scsi.WholeByte)
	case n > maximumRanges*rangeDescriptor:
		return nil, 0, scsi.IllegalRequest(scsi.ASCTooManySegmentDescriptors)
	}
	for end := at + n; at < end; at += rangeDescriptor {
		e := scsi.Extent{LBA: binary.BigEndian.Uint64(p[at:]), Blocks: uint64(binary.BigEndian.Uint32(p[at+8:]))}
		if capacity := d.capacity(m); e.LBA > capacity || e.Blocks > capacity-e.LBA {
			s := scsi.InvalidFieldInParameterList(at, scsi.WholeByte)
			s.Code = scsi.ASCLogicalBlockAddressOutOfRange
			first := max(e.LBA, capacity)
			s.Information = &first
			return nil, 0, s
		}
		if blocks += e.Blocks; blocks > maximumTokenTransfer>>d.blockShift || slices.ContainsFunc(ranges, e.Overlaps) {
			return nil, 0, scsi.InvalidFieldInParameterList(at, scsi.WholeByte)
		}
		if e.Blocks > 0 {
			ranges = append(ranges, e)
		}
	}
	return ranges, blocks, nil
}

// tokenList waits for the parameter list of POPULATE TOKEN or WRITE USING TOKEN,
// whose range descriptors begin at byte at. Nil without an error: there is none,
// and nothing to do.
func tokenList(c *scsi.Command, at int) ([]byte, error) {
	n := c.CDB.Uint32(10)
	switch {
	case n == 0:
		return nil, nil
	case n < uint32(at) || n > uint32(at+maximumRanges*rangeDescriptor+rangeDescriptor):
		return nil, scsi.IllegalRequest(scsi.ASCParameterListLengthError)
	}
	return c.ParameterList(int(n))
}
