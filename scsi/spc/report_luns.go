package spc

import (
	"encoding/binary"

	"github.com/isantarget/isantarget/scsi"
)

// reportLUNs is REPORT LUNS (SPC-4 6.33): what the UnitMap of the nexus has. The
// initiator then knows the inventory, so REPORTED LUNS DATA HAS CHANGED is
// cleared on all of its units.
func reportLUNs(c *scsi.Command) error {
	var luns []scsi.LUN
	switch selectReport := c.CDB.Byte(2); selectReport {
	case 0x00, 0x02: // without, or with, the well known logical units: there are none
		if c.Units != nil {
			luns = c.Units.LUNs()
		}
		if len(luns) == 0 && selectReport == 0x02 {
			luns = []scsi.LUN{0} // the default inventory
		}
	case 0x01: // the well known logical units alone
	default:
		return scsi.InvalidFieldInCDB(2, scsi.WholeByte)
	}
	b := make([]byte, 8, 8+8*len(luns))
	binary.BigEndian.PutUint32(b, uint32(8*len(luns)))
	for _, l := range luns {
		b = binary.BigEndian.AppendUint64(b, uint64(l))
	}
	if err := c.ReturnData(b, int(c.CDB.Uint32(6))); err != nil {
		return err
	}
	c.ClearInventoryAttention()
	return nil
}
