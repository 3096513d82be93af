package sbc

import "github.com/isantarget/isantarget/scsi"

// bytchk is the BYTCHK field of VERIFY and WRITE AND VERIFY (SBC-3 5.29).
type bytchk byte

const (
	verifyMedium  bytchk = 0 // the blocks can be read
	compareBlocks bytchk = 1 // they are the Data-Out
	compareOne    bytchk = 3 // each of them is the one block of Data-Out
)

func (f form) bytchk(c scsi.CDB) bytchk { return bytchk(c.Byte(f.flagsByte()) >> 1 & 3) }

// writeAndVerify is WRITE AND VERIFY in each of its forms (SBC-3 5.37 to 5.40):
// the blocks are written to the medium, not to its cache, and verified there. Its
// rows keep other commands away from the blocks meanwhile, so that a comparison
// fails only if the medium does.
func (d *Device) writeAndVerify(c *scsi.Command, f form) error {
	m, err := d.begin(c)
	if err != nil {
		return err
	}
	off, n, err := d.locateTransfer(m, f, c.CDB)
	if err != nil {
		return err
	}
	c.Length = n
	if n == 0 {
		return nil
	}
	if d.isReadOnly(m) {
		return scsi.DataProtect(scsi.ASCWriteProtected)
	}
	p, err := d.receive(c, n)
	if err != nil {
		return err
	}
	d.dataArrived(c)
	if _, err := m.WriteThroughAt(p, off); err != nil {
		return d.writeError(m, err, off)
	}
	if f.bytchk(c.CDB) == compareBlocks {
		return d.compare(c, m, p, off)
	}
	return d.verifyReadable(c, m, off, int64(len(p)))
}
