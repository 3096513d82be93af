package sbc

import "github.com/isantarget/isantarget/scsi"

// startStopUnit is START STOP UNIT (SBC-3 5.25). With LOEJ it ejects and loads the
// medium of a removable unit. With START=0 it writes the cache to the medium,
// unless NO_FLUSH; but it does not stop the unit (see the package comment).
func (d *Device) startStopUnit(c *scsi.Command) error {
	if powerCondition := c.CDB.Byte(4) >> 4; powerCondition != 0 {
		return nil // START and LOEJ are then ignored
	}
	noFlush, loej, start := c.CDB.Bit(4, 2), c.CDB.Bit(4, 1), c.CDB.Bit(4, 0)
	if loej && !d.removable {
		return scsi.InvalidFieldInCDB(4, 1)
	}
	switch {
	case loej && start:
		d.load(c)
		return nil
	case start:
		if d.ejected.Load() {
			return d.notReady()
		}
		return nil
	case loej:
		return d.eject(c)
	case noFlush:
		return nil
	}
	return d.stop(c)
}

// stop writes the cache to the medium, in the background with IMMED.
func (d *Device) stop(c *scsi.Command) error {
	m := d.medium.Load()
	if m == nil || !m.Geometry().Volatile || d.ejected.Load() {
		return nil
	}
	if immediate := c.CDB.Bit(1, 0); immediate {
		d.flush(c.Nexus)
		return nil
	}
	return d.writeError(m, m.Sync(), 0)
}

// eject takes the medium away from the initiators, unless one of them prevents it.
// What is in the cache is written first: NO_FLUSH does not hold for a medium that
// goes.
func (d *Device) eject(c *scsi.Command) error {
	if err := d.stop(c); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.preventing) > 0 {
		return scsi.IllegalRequest(scsi.ASCMediumRemovalPrevented)
	}
	d.ejected.Store(true)
	return nil
}

// load brings the medium back. Everybody but who asked for it is told that it
// might be another.
func (d *Device) load(c *scsi.Command) {
	if d.ejected.CompareAndSwap(true, false) {
		c.Unit().Attention(scsi.ASCNotReadyToReadyChangeMediumMayHaveChanged, nil, c.Nexus)
	}
}

// onlyStarts picks the CDBs that no reservation refuses: START without a power
// condition (SBC-3 table 13).
func onlyStarts(cdb scsi.CDB) bool { return cdb.Bit(4, 0) && cdb.Byte(4)>>4 == 0 }
