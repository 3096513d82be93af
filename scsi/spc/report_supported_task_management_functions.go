package spc

import (
	"encoding/binary"
	"time"

	"github.com/isantarget/isantarget/scsi"
)

// reportSupportedTaskManagementFunctions is SPC-4 6.36: what LogicalUnit.Manage does.
func reportSupportedTaskManagementFunctions(c *scsi.Command) error {
	allocation := int(c.CDB.Uint32(6))
	if allocation < 4 {
		return scsi.InvalidFieldInCDB(6, scsi.WholeByte)
	}
	const (
		ats, atss, ctss, lurs, qts = 0x80, 0x40, 0x10, 0x08, 0x04 // byte 0
		qaes, qtss, itnrs          = 0x04, 0x02, 0x01             // byte 1
	)
	b := []byte{ats | atss | ctss | lurs | qts, qaes | qtss | itnrs, 0, 0}
	if c.CDB.Bit(2, 7) { // REPD
		b[3] = 12
		b = append(b, make([]byte, 12)...)
		b[4] = 0x01             // TMFTMOV
		b[6], b[7] = b[0], b[1] // which functions the timeouts hold for
		b[6] &^= qts            // queries wait for nothing
		b[7] &^= qaes | qtss    //
		bound := uint32(c.Unit().HangBound / (100 * time.Millisecond))
		binary.BigEndian.PutUint32(b[8:], bound)
		binary.BigEndian.PutUint32(b[12:], 1)
	}
	return c.ReturnData(b, allocation)
}
