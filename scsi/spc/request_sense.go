package spc

import "github.com/isantarget/isantarget/scsi"

// requestSense is REQUEST SENSE (SPC-4 6.39). It tells, as data, why the unit cannot be
// reached through this port, or is not ready, with its progress if that has one; else a pending unit attention, and
// clears it; else NO SENSE.
func requestSense(c *scsi.Command) error {
	allocation := int(c.CDB.Byte(4))
	// The data are lent first: a unit attention that was taken must be told.
	if allocation > 0 {
		if _, err := c.Delivery.DataInBuffer(min(allocation, scsi.MaxSenseLength)); err != nil {
			return err
		}
	}
	sense := c.Unit().Inaccessible(c.Nexus)
	if sense == nil {
		sense = c.Unit().Ready()
	}
	if sense == nil {
		sense = c.TakeAttention()
	}
	if sense == nil {
		sense = &scsi.Sense{Key: scsi.KeyNoSense}
	}
	return c.ReturnData(sense.Append(nil, c.CDB.Bit(1, 0)), allocation)
}
