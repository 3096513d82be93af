package sbc

import (
	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/scsi"
)

// longRead is how many bytes take so long to copy, though they are in memory,
// that another processor should do it: a switch of goroutines costs some
// microseconds, the copy many times that, and whoever called Execute has other
// commands to start meanwhile. docs/performance.md has the measurement.
const longRead = 256 << 10

// read is READ in each of its forms (SBC-3 5.11 to 5.14; READ (6) is SBC-2).
//
// With FUA the blocks have to come from the medium, not from a cache that a loss
// of power would empty. A store has one cache below all reads and writes, so
// there are no two versions of a block: what is read is right, but may not be
// durable yet. So the command reads, and then makes durable whatever it has seen.
func (d *Device) read(c *scsi.Command, f form) error {
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
	flush := f.fua(c.CDB) && m.Geometry().Volatile
	if (flush || n >= longRead) && !c.MayBlock {
		return scsi.ErrWouldBlock
	}
	p, err := c.Delivery.DataInBuffer(n)
	if err != nil {
		return err
	}
	p = p[:min(n, len(p))]
	if m.Features().Has(backstore.CanReadBatch) {
		if err := c.Gather(d, p, off); err != nil {
			return err
		}
	}
	if c.MayBlock {
		_, err = m.ReadAt(p, off)
	} else if _, err = m.TryReadAt(p, off); err == backstore.ErrWouldBlock {
		return scsi.ErrWouldBlock
	}
	if err != nil {
		return d.readError(m, err, off)
	}
	if flush {
		if err := m.Sync(); err != nil {
			return d.writeError(m, err, off)
		}
	}
	c.DataIn = p
	return nil
}

// Together is scsi.Gatherer: it tries the reads of many commands by one call of the
// medium.
func (d *Device) Together(commands []scsi.Gathered) {
	m := d.medium.Load()
	if m == nil {
		for i := range commands {
			commands[i].Err = d.notReady()
		}
		return
	}
	pooled, _ := d.together.Get().(*[]backstore.Read)
	if pooled == nil {
		pooled = new([]backstore.Read)
	}
	reads := (*pooled)[:0]
	for _, g := range commands {
		reads = append(reads, backstore.Read{Data: g.Data, Offset: g.Offset})
	}
	m.TryReadBatch(reads)
	for i := range commands {
		g := &commands[i]
		switch err := reads[i].Err; {
		case g.Command.Aborted():
			g.Err = scsi.ErrAborted
		case err == backstore.ErrWouldBlock:
			g.Err = scsi.ErrWouldBlock
		case err != nil:
			g.Err = d.readError(m, err, g.Offset)
		default:
			g.Command.DataIn = g.Data
		}
	}
	clear(reads) // the buffers are not the pool's
	*pooled = reads
	d.together.Put(pooled)
}
