package spc

import (
	"encoding/binary"

	"github.com/isantarget/isantarget/scsi"
)

// The log pages (SPC-4 7.3).
const (
	supportedLogPages          = 0x00
	informationalExceptionsLog = 0x2f
)

// logSense is LOG SENSE (SPC-4 6.8). The values of every PC are the same, for
// nothing counts and nothing has a threshold.
func logSense(c *scsi.Command) error {
	code, subcode := c.CDB.Byte(2)&0x3f, c.CDB.Byte(3)
	var data []byte
	switch {
	case code == supportedLogPages && subcode == 0:
		data = []byte{supportedLogPages, informationalExceptionsLog}
	case code == supportedLogPages && subcode == allSubpages:
		data = []byte{supportedLogPages, 0, supportedLogPages, allSubpages, informationalExceptionsLog, 0}
	case code == informationalExceptionsLog && subcode == 0:
		data = informationalExceptions()
	case code == supportedLogPages || code == informationalExceptionsLog:
		return scsi.InvalidFieldInCDB(3, scsi.WholeByte)
	default:
		return scsi.InvalidFieldInCDB(2, 5)
	}
	if c.CDB.Uint16(5) != 0 {
		// PARAMETER POINTER beyond the one parameter code there is, 0000h.
		return scsi.InvalidFieldInCDB(5, scsi.WholeByte)
	}
	page := []byte{code, subcode, 0, 0}
	if subcode != 0 {
		page[0] |= 0x40 // SPF
	}
	binary.BigEndian.PutUint16(page[2:], uint16(len(data)))
	return c.ReturnData(append(page, data...), int(c.CDB.Uint16(7)))
}

// informationalExceptions is the log page of that name (SPC-4 7.3) behind its
// header: no exception, and temperatures nobody knows.
func informationalExceptions() []byte {
	return []byte{0x00, 0x00, 0x03, 4, 0x00, 0x00, 0xff, 0xff}
}
