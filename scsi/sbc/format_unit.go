package sbc

import (
	"encoding/binary"
	"fmt"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/scsi"
)

// formatUnit is FORMAT UNIT (SBC-3 5.3): afterwards every block reads as zeros,
// and on a thin unit none is mapped. There are no defects and there is no
// protection information to be formatted. With IMMED it goes on after the command
// has ended, and the unit is not ready until it is done. One that is cut short leaves a
// unit that wants to be formatted anew (see formatter).
func (d *Device) formatUnit(c *scsi.Command) error {
	if s := c.Unit().Ready(); s != nil && !isTornFormat(s) {
		return s
	}
	m, err := d.begin(c)
	if err != nil {
		return err
	}
	if d.isReadOnly(m) {
		return scsi.DataProtect(scsi.ASCWriteProtected)
	}
	immediate, err := d.formatParameters(c)
	if err != nil {
		return err
	}
	began, err := d.format.begin(m.Geometry().Size, d.place)
	switch {
	case err != nil:
		return err
	case !began:
		return d.notReady() // another one, with IMMED, began meanwhile
	}
	d.tokens.changed(everything())
	if !immediate {
		return d.format.end(d.formatMedium(m, c.Aborted))
	}
	d.background.start(func() {
		err := d.format.end(d.formatMedium(m, d.background.closed.Load))
		if err != nil && d.report != nil {
			d.report(fmt.Errorf("format: %w", err))
		}
	})
	return nil
}

// The FORMAT UNIT parameter list (SBC-3 5.3.2).
const (
	formatShortHeader   = 4
	formatLongHeader    = 8
	formatPattern       = 4       // initialization pattern descriptor, without the pattern
	formatMaximumList   = 8 << 10 // more than anything that is accepted
	formatFOV           = 0x80    // FOV: the bits below it are valid
	formatOptions       = 0x78    // DPRY, DCRT, STPF, IP
	formatIP            = 0x08
	formatImmed         = 0x02
	formatPatternRepeat = 0x01 // INITIALIZATION PATTERN TYPE: repeat the pattern
)

// formatParameters reads the parameter list, if there is one (FMTDATA), and gives
// IMMED. What would ask for something that a format here does not do is refused:
// defects, protection, a pattern other than zeros.
func (d *Device) formatParameters(c *scsi.Command) (immediate bool, err error) {
	flags := c.CDB.Byte(1)
	if fmtdata := flags&0x10 != 0; !fmtdata {
		if flags&0x0f != 0 { // CMPLST and DEFECT LIST FORMAT speak of the list
			return false, scsi.InvalidFieldInCDB(1, 3)
		}
		return false, nil
	}
	p, err := c.Delivery.ReceiveDataOut(formatMaximumList)
	if err != nil {
		return false, err
	}
	header := formatShortHeader
	if longlist := flags&0x20 != 0; longlist {
		header = formatLongHeader
	}
	c.Length = min(header, len(p))
	if len(p) < header {
		return false, scsi.IllegalRequest(scsi.ASCParameterListLengthError)
	}
	if err := checkFormatHeader(p[:header]); err != nil {
		return false, err
	}
	if p[1]&formatIP != 0 {
		n, err := checkFormatPattern(p, header)
		if err != nil {
			return false, err
		}
		c.Length += n
	}
	return p[1]&formatImmed != 0, nil
}

// checkFormatHeader checks a short or long parameter list header.
func checkFormatHeader(h []byte) error {
	if h[0]&0x07 != 0 { // PROTECTION FIELD USAGE
		return scsi.InvalidFieldInParameterList(0, 2)
	}
	if h[1]&formatFOV == 0 && h[1]&formatOptions != 0 {
		return scsi.InvalidFieldInParameterList(1, 7)
	}
	if len(h) == formatShortHeader {
		if binary.BigEndian.Uint16(h[2:]) != 0 { // DEFECT LIST LENGTH
			return scsi.InvalidFieldInParameterList(2, scsi.WholeByte)
		}
		return nil
	}
	if h[3] != 0 { // P_I_INFORMATION, PROTECTION INTERVAL EXPONENT
		return scsi.InvalidFieldInParameterList(3, scsi.WholeByte)
	}
	if binary.BigEndian.Uint32(h[4:]) != 0 {
		return scsi.InvalidFieldInParameterList(4, scsi.WholeByte)
	}
	return nil
}

// checkFormatPattern checks the initialization pattern descriptor at byte at, and
// gives its length. The default pattern is zeros, and so must be any other.
func checkFormatPattern(p []byte, at int) (length int, err error) {
	if len(p) < at+formatPattern {
		return 0, scsi.IllegalRequest(scsi.ASCParameterListLengthError)
	}
	if p[at] != 0 { // SI: security initialize, and obsolete bits
		return 0, scsi.InvalidFieldInParameterList(at, scsi.WholeByte)
	}
	if p[at+1] > formatPatternRepeat {
		return 0, scsi.InvalidFieldInParameterList(at+1, scsi.WholeByte)
	}
	n := int(binary.BigEndian.Uint16(p[at+2:]))
	if (n != 0) != (p[at+1] == formatPatternRepeat) {
		return 0, scsi.InvalidFieldInParameterList(at+2, scsi.WholeByte)
	}
	if len(p) < at+formatPattern+n {
		return 0, scsi.IllegalRequest(scsi.ASCParameterListLengthError)
	}
	if !backstore.IsZero(p[at+formatPattern : at+formatPattern+n]) {
		return 0, scsi.InvalidFieldInParameterList(at+formatPattern, scsi.WholeByte)
	}
	return formatPattern + n, nil
}
