package spc

import "github.com/isantarget/isantarget/scsi"

// reserve is RESERVE (6) and RESERVE (10) of the whole unit for its own nexus
// (SPC-2 7.21, 7.22). Extents and third parties are refused by the rows. The
// rows are ordered alone: when the initiator hears GOOD, no command of another
// nexus that was let in before is still at work.
//
// Beside persistent reservations it does nothing where SPC-4 5.13.3 has it end with
// GOOD (CRH); otherwise it conflicts, which its row says.
func reserve(c *scsi.Command) error { return c.Unit().Reserve(c.Nexus, c.MayBlock) }

// release is RELEASE (6) and RELEASE (10) (SPC-2 7.16, 7.17).
func release(c *scsi.Command) error {
	c.Unit().Release(c.Nexus)
	return nil
}
