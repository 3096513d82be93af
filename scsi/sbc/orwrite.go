package sbc

import "github.com/isantarget/isantarget/scsi"

// orwrite is ORWRITE (16) (SBC-3 5.5): it sets the bits that are set in the
// Data-Out. Its row keeps other commands away from the blocks, so that each bit
// that any of two ORWRITEs sets is set in the end.
func (d *Device) orwrite(c *scsi.Command, f form) error {
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
	err = d.inPieces(c, m, off, int64(len(p)), func(held []byte, done int64) error {
		for i, bits := range p[done : done+int64(len(held))] {
			held[i] |= bits
		}
		_, err := m.WriteAt(held, off+done)
		return d.writeError(m, err, off+done)
	})
	if err != nil {
		return err
	}
	return d.writeError(m, d.settle(m, f.fua(c.CDB)), off)
}
