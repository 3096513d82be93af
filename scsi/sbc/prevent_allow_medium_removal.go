package sbc

import "github.com/isantarget/isantarget/scsi"

// preventAllowMediumRemoval is PREVENT ALLOW MEDIUM REMOVAL (SBC-3 5.10). Removal
// is prevented as long as any I_T nexus prevents it; a nexus that is lost and a
// logical unit reset allow it.
func (d *Device) preventAllowMediumRemoval(c *scsi.Command) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if prevent := c.CDB.Bit(4, 0); prevent {
		d.preventing[c.Nexus] = struct{}{}
	} else {
		delete(d.preventing, c.Nexus)
	}
	return nil
}

// allowsRemoval picks the CDBs that no reservation refuses: PREVENT=0 (SBC-3 table 13).
func allowsRemoval(cdb scsi.CDB) bool { return !cdb.Bit(4, 0) }
