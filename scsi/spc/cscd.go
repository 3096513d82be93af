package spc

import (
	"bytes"
	"encoding/binary"

	"github.com/isantarget/isantarget/scsi"
)

// The identification descriptor CSCD descriptor (SPC-4 6.4.5.6), the only type
// that names a copy source or copy destination (CSCD) here.
const (
	cscdLength         = 32
	cscdIdentification = 0xe4
	cscdDesignator     = 8  // where the DESIGNATOR field is,
	maxDesignator      = 20 // and how long
	cscdBlockLength    = 29 // DISK BLOCK LENGTH, three bytes
)

// AppendCSCD adds the identification descriptor CSCD descriptor of lu to b. Its
// designator is the NAA name that its serial makes, which fits in whatever the unit
// is told to be called.
func AppendCSCD(b []byte, lu *scsi.LogicalUnit, blockLength int) []byte {
	d := make([]byte, cscdLength)
	naa := lu.Identity.SerialNAA()
	d[0], d[1] = cscdIdentification, lu.Device.PeripheralDeviceType()
	d[4], d[5], d[7] = codeSetBinary, ofUnit|typeNAA, byte(len(naa))
	copy(d[cscdDesignator:], naa[:])
	d[cscdBlockLength], d[cscdBlockLength+1], d[cscdBlockLength+2] = byte(blockLength>>16), byte(blockLength>>8), byte(blockLength)
	return append(b, d...)
}

// FindCSCD is the logical unit that an identification descriptor CSCD descriptor
// names, among those that c's nexus sees; nil if there is none.
func FindCSCD(c *scsi.Command, d []byte) (found *scsi.LogicalUnit) {
	n := int(d[7])
	if n == 0 || n > maxDesignator {
		return nil
	}
	codeSet, kind, designator := d[4]&0x0f, d[5]&0x3f, d[cscdDesignator:cscdDesignator+n]
	match := func(_ scsi.LUN, lu *scsi.LogicalUnit) {
		if found == nil && isNamed(lu, codeSet, kind, designator) {
			found = lu
		}
	}
	match(c.LUN, c.Unit())
	if found == nil && c.Units != nil {
		c.Units.Units(match)
	}
	return found
}

// isNamed tells whether a designator of VPD page 83h names lu, or one of AppendCSCD.
func isNamed(lu *scsi.LogicalUnit, codeSet, kind byte, designator []byte) bool {
	id := lu.Identity
	switch kind {
	case ofUnit | typeNAA:
		own := id.SerialNAA()
		return codeSet == codeSetBinary && (bytes.Equal(designator, id.NAADesignator()) || bytes.Equal(designator, own[:]))
	case ofUnit | typeEUI64:
		return codeSet == codeSetBinary && bytes.Equal(designator, id.EUI64Designator())
	case ofUnit | typeT10Vendor:
		return codeSet == codeSetASCII && bytes.Equal(designator, id.T10Designator())
	}
	return false
}

// cscds resolves the CSCD descriptors of a parameter list; at is where they stand
// in it. All of them are checked before anything is copied.
func (m *CopyManager) cscds(c *scsi.Command, list []byte, at int) ([]*scsi.LogicalUnit, error) {
	if len(list)%cscdLength != 0 {
		if len(list) > 0 && list[0] != cscdIdentification {
			return nil, scsi.IllegalRequest(scsi.ASCUnsupportedTargetDescriptorTypeCode)
		}
		return nil, scsi.InvalidFieldInParameterList(2, scsi.WholeByte)
	}
	if len(list) > maxCSCDs*cscdLength {
		return nil, scsi.IllegalRequest(scsi.ASCTooManyTargetDescriptors)
	}
	var units []*scsi.LogicalUnit
	for ; len(list) > 0; list, at = list[cscdLength:], at+cscdLength {
		lu, err := m.cscd(c, list[:cscdLength], at)
		if err != nil {
			return nil, err
		}
		units = append(units, lu)
	}
	return units, nil
}

// cscd resolves one. LU ID TYPE and NUL, in the bits above the peripheral device
// type, are obsolete and ignored.
func (m *CopyManager) cscd(c *scsi.Command, d []byte, at int) (*scsi.LogicalUnit, error) {
	if d[0] != cscdIdentification {
		s := scsi.InvalidFieldInParameterList(at, scsi.WholeByte)
		s.Code = scsi.ASCUnsupportedTargetDescriptorTypeCode
		return nil, s
	}
	lu := FindCSCD(c, d)
	if lu == nil {
		return nil, copyAborted(scsi.ASCCopyTargetDeviceNotReachable, 0)
	}
	length, _ := m.copier.Blocks(lu)
	if d[1]&0x1f != lu.Device.PeripheralDeviceType() || length == 0 {
		return nil, copyAborted(scsi.ASCIncorrectCopyTargetDeviceType, 0)
	}
	told := int(d[cscdBlockLength])<<16 | int(binary.BigEndian.Uint16(d[cscdBlockLength+1:]))
	if told != 0 && told != length {
		return nil, scsi.InvalidFieldInParameterList(at+cscdBlockLength, scsi.WholeByte)
	}
	return lu, nil
}

// copyAborted is COPY ABORTED. The COMMAND-SPECIFIC INFORMATION field has the
// number of the segment that was being processed (SPC-4 5.17.7.4).
func copyAborted(code scsi.SenseCode, segment int) *scsi.Sense {
	number := uint64(segment)
	return &scsi.Sense{Key: scsi.KeyCopyAborted, Code: code, CommandSpecific: &number}
}
