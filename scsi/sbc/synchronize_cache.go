package sbc

import "github.com/isantarget/isantarget/scsi"

// synchronizeCache is SYNCHRONIZE CACHE (10) and (16) (SBC-3 5.26 and 5.27). The
// range is checked, and then all of the cache is written to the medium: a store
// has no smaller unit. With IMMED the command ends before that; should it fail,
// the nexus hears of it as a deferred error.
func (d *Device) synchronizeCache(c *scsi.Command, f form) error {
	m, err := d.begin(c)
	if err != nil {
		return err
	}
	if _, _, err := d.locate(m, f, c.CDB); err != nil {
		return err
	}
	if !m.Geometry().Volatile {
		return nil
	}
	if c.CDB.Bit(1, 1) {
		d.flush(c.Nexus)
		return nil
	}
	return d.writeError(m, m.Sync(), 0)
}
