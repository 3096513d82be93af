package sbc

import (
	"time"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/scsi"
)

// write is WRITE in each of its forms (SBC-3 5.33 to 5.36; WRITE (6) is SBC-2).
func (d *Device) write(c *scsi.Command, f form) error {
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
	through := f.fua(c.CDB) || d.writeThrough.Load()
	if through && !c.MayBlock {
		return scsi.ErrWouldBlock
	}
	p, err := d.receive(c, n)
	if err != nil {
		return err
	}
	d.dataArrived(c)
	if d.zeroes && backstore.IsZero(p) && d.readsZeros(m) {
		return d.writeZeros(c, m, off, int64(len(p)), f.fua(c.CDB))
	}
	switch {
	case through:
		_, err = m.WriteThroughAt(p, off)
	case c.MayBlock:
		_, err = m.WriteAt(p, off)
	case c.Linger != nil && m.Features().Has(backstore.Buffered) && d.pace.quick() && c.Linger():
		start := time.Now()
		_, err = m.WriteAt(p, off)
		d.pace.measure(start, n)
	default:
		if _, err = m.TryWriteAt(p, off); err == backstore.ErrWouldBlock {
			return scsi.ErrWouldBlock
		}
	}
	if err != nil {
		return d.writeError(m, err, off)
	}
	return nil
}

// writeZeros is WRITE for zeros that take no space.
func (d *Device) writeZeros(c *scsi.Command, m *backstore.Medium, off, length int64, fua bool) error {
	if !c.MayBlock {
		return scsi.ErrWouldBlock
	}
	if err := d.zero(c, m, off, length, true); err != nil {
		return err
	}
	return d.writeError(m, d.settle(m, fua), off)
}
