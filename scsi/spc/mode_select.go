package spc

import (
	"bytes"
	"encoding/binary"

	"github.com/isantarget/isantarget/scsi"
)

// modeSelect6 is MODE SELECT (6) (SPC-4 6.11).
func modeSelect6(c *scsi.Command) error {
	return modeSelect(c, int(c.CDB.Byte(4)), 4)
}

// modeSelect10 is MODE SELECT (10) (SPC-4 6.12).
func modeSelect10(c *scsi.Command) error {
	return modeSelect(c, int(c.CDB.Uint16(7)), 8)
}

// modeSelect reads a mode parameter list of n bytes with a header of this length
// and changes the pages in it.
func modeSelect(c *scsi.Command, n, header int) error {
	if !c.CDB.Bit(1, 4) {
		return scsi.InvalidFieldInCDB(1, 4) // PF: another format than SPC-4's
	}
	save := c.CDB.Bit(1, 0)
	if save && !c.Unit().ModePagesSavable() {
		return scsi.InvalidFieldInCDB(1, 0)
	}
	if n == 0 {
		return nil
	}
	list, err := c.ParameterList(n)
	if err != nil {
		return err
	}
	pages, err := modeParameterPages(c.Unit(), list, header)
	if err != nil {
		return err
	}
	return c.Unit().SelectModePages(c.Nexus, pages, save)
}

// modeParameterPages checks the header and the block descriptor of a mode
// parameter list (SPC-4 7.5.4 to 7.5.6) and cuts its pages.
func modeParameterPages(lu *scsi.LogicalUnit, list []byte, header int) ([]scsi.ModeValues, error) {
	if len(list) < header {
		return nil, scsi.IllegalRequest(scsi.ASCParameterListLengthError)
	}
	mediumType, length, long := 1, int(list[3]), false
	lengthAt := 3
	if header == 8 {
		mediumType, lengthAt = 2, 6
		length, long = int(binary.BigEndian.Uint16(list[6:])), list[4]&0x01 != 0
	}
	if list[mediumType] != 0 {
		return nil, scsi.InvalidFieldInParameterList(mediumType, scsi.WholeByte)
	}
	now := lu.Device.BlockDescriptor(long)
	switch {
	case length == 0:
	case length != len(now):
		return nil, scsi.InvalidFieldInParameterList(lengthAt, scsi.WholeByte)
	case len(list) < header+length:
		return nil, scsi.IllegalRequest(scsi.ASCParameterListLengthError)
	default:
		if err := checkBlockDescriptor(list[header:header+length], now, header); err != nil {
			return nil, err
		}
	}
	return cutModePages(list, header+length)
}

// checkBlockDescriptor accepts a block descriptor that leaves the capacity and the
// block length as they are (SBC-3 6.4.2): the number of blocks of now, zero (no
// change) or all ones (the whole medium). offset is its place in the list.
func checkBlockDescriptor(descriptor, now []byte, offset int) error {
	blocks := 4 // bytes of the NUMBER OF LOGICAL BLOCKS field
	if len(now) == 16 {
		blocks = 8
	}
	number := descriptor[:blocks]
	switch {
	case bytes.Equal(number, now[:blocks]), bytes.Count(number, []byte{0}) == blocks, bytes.Count(number, []byte{0xff}) == blocks:
	default:
		return scsi.InvalidFieldInParameterList(offset, scsi.WholeByte)
	}
	lengthAt, width := 5, 3 // the LOGICAL BLOCK LENGTH field
	if len(now) == 16 {
		lengthAt, width = 12, 4
	}
	if !bytes.Equal(descriptor[lengthAt:lengthAt+width], now[lengthAt:lengthAt+width]) {
		return scsi.InvalidFieldInParameterList(offset+lengthAt, scsi.WholeByte)
	}
	return nil
}

// cutModePages cuts the pages that begin at offset; a list that ends within a
// page is PARAMETER LIST LENGTH ERROR.
func cutModePages(list []byte, offset int) ([]scsi.ModeValues, error) {
	var pages []scsi.ModeValues
	for offset < len(list) {
		rest := list[offset:]
		header := scsi.PageHeader(rest[0])
		if len(rest) < header {
			return nil, scsi.IllegalRequest(scsi.ASCParameterListLengthError)
		}
		n := header + int(rest[1])
		if header == 4 {
			n = header + int(binary.BigEndian.Uint16(rest[2:]))
		}
		if len(rest) < n {
			return nil, scsi.IllegalRequest(scsi.ASCParameterListLengthError)
		}
		pages = append(pages, scsi.ModeValues{Page: rest[:n], Offset: offset})
		offset += n
	}
	return pages, nil
}
