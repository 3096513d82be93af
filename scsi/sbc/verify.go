package sbc

import (
	"bytes"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/scsi"
)

// verify is VERIFY in each of its forms (SBC-3 5.29 to 5.32).
func (d *Device) verify(c *scsi.Command, f form) error {
	m, err := d.begin(c)
	if err != nil {
		return err
	}
	lba, blocks, err := d.locate(m, f, c.CDB)
	if err != nil {
		return err
	}
	off, length := d.offset(lba), int64(blocks)<<d.blockShift
	switch f.bytchk(c.CDB) {
	case verifyMedium:
		return d.verifyReadable(c, m, off, length)
	case compareBlocks:
		if length > MaximumTransferLength {
			return scsi.InvalidFieldInCDB(f.blocksByte(), scsi.WholeByte)
		}
		c.Length = int(length)
		if length == 0 {
			return nil
		}
		p, err := d.receive(c, c.Length)
		if err != nil {
			return err
		}
		return d.compare(c, m, p, off)
	case compareOne:
		return d.verifySame(c, m, off, length)
	}
	return scsi.InvalidFieldInCDB(f.flagsByte(), 2)
}

// verifySame compares each block with the single block of Data-Out. A VERIFY of
// no blocks transfers none.
func (d *Device) verifySame(c *scsi.Command, m *backstore.Medium, off, length int64) error {
	if length == 0 {
		return nil
	}
	c.Length = d.blockSize
	p, err := d.receive(c, d.blockSize)
	if err != nil {
		return err
	}
	if len(p) == 0 {
		return errPartOfBlock()
	}
	return d.inPieces(c, m, off, length, func(held []byte, done int64) error {
		for at := 0; at < len(held); at += len(p) {
			if i := difference(held[at:at+len(p)], p); i >= 0 {
				return scsi.Miscompare(uint64(done) + uint64(at+i))
			}
		}
		return nil
	})
}

// compare compares the blocks from off with p. INFORMATION of a miscompare is the
// first byte of p that differs.
func (d *Device) compare(c *scsi.Command, m *backstore.Medium, p []byte, off int64) error {
	return d.inPieces(c, m, off, int64(len(p)), func(held []byte, done int64) error {
		if i := difference(held, p[done:done+int64(len(held))]); i >= 0 {
			return scsi.Miscompare(uint64(done) + uint64(i))
		}
		return nil
	})
}

// verifyReadable reads all that is mapped from off, and nothing is compared. An
// unmapped block has nothing on the medium that could be verified (SBC-3 4.7).
func (d *Device) verifyReadable(c *scsi.Command, m *backstore.Medium, off, length int64) error {
	for end := off + length; off < end; {
		if err := aborted(c); err != nil {
			return err
		}
		e, err := m.ExtentAt(off, end-off)
		if err != nil {
			return d.readError(m, err, off)
		}
		if e.State == backstore.Mapped {
			err := d.inPieces(c, m, off, e.Length, func([]byte, int64) error { return nil })
			if err != nil {
				return err
			}
		}
		off = e.End()
	}
	return nil
}

// inPieces reads length bytes from off, piece by piece, and calls check with each
// piece and how many bytes came before it. A piece is whole blocks.
func (d *Device) inPieces(c *scsi.Command, m *backstore.Medium, off, length int64, check func(held []byte, done int64) error) error {
	for done := int64(0); done < length; {
		if err := aborted(c); err != nil {
			return err
		}
		n, err := d.onePiece(m, off+done, length-done, func(held []byte) error { return check(held, done) })
		if err != nil {
			return err
		}
		done += n
	}
	return nil
}

// onePiece reads as much as a scratch buffer holds, and calls use with it.
func (d *Device) onePiece(m *backstore.Medium, off, length int64, use func(held []byte) error) (int64, error) {
	b := d.scratch.take()
	defer d.scratch.give(b)
	held := b[:min(length, scratchSize)]
	if _, err := m.ReadAt(held, off); err != nil {
		return 0, d.readError(m, err, off)
	}
	return int64(len(held)), use(held)
}

// difference is the index of the first byte in which a and b, of one length,
// differ; -1 for none.
func difference(a, b []byte) int {
	if bytes.Equal(a, b) {
		return -1
	}
	for i := range a {
		if a[i] != b[i] {
			return i
		}
	}
	return -1
}
