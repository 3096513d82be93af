package sbc

import (
	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/scsi"
)

// prefetchLimit is how many bytes one PRE-FETCH reads at most: a wish must not
// push out of the cache what everybody else uses.
const prefetchLimit = 32 << 20

// preFetch is PRE-FETCH (10) and (16) (SBC-3 5.8 and 5.9): it reads the blocks, so
// that the cache of the store has them. It always ends with GOOD, which says that
// not all of them may be there (see the package comment). With IMMED it reads in
// the background, if that has nothing else to read.
func (d *Device) preFetch(c *scsi.Command, f form) error {
	m, err := d.begin(c)
	if err != nil {
		return err
	}
	lba, blocks, err := d.locateToEnd(m, f, c.CDB)
	if err != nil {
		return err
	}
	off, length := d.offset(lba), min(int64(blocks)<<d.blockShift, prefetchLimit)
	if c.CDB.Bit(1, 1) {
		d.prefetchInBackground(m, off, length)
		return nil
	}
	return d.prefetch(m, off, length, c.Aborted)
}

// prefetch reads the mapped part of a range.
func (d *Device) prefetch(m *backstore.Medium, off, length int64, stop func() bool) error {
	for end := off + length; off < end; {
		if stop() {
			return scsi.ErrAborted
		}
		e, err := m.ExtentAt(off, min(end-off, scratchSize))
		if err != nil {
			return d.readError(m, err, off)
		}
		if e.State == backstore.Mapped {
			_, err := d.onePiece(m, off, e.Length, func([]byte) error { return nil })
			if err != nil {
				return err
			}
		}
		off = e.End()
	}
	return nil
}

// prefetchInBackground does it beside the commands. A failure is not told: the
// command that needs the block will meet it.
func (d *Device) prefetchInBackground(m *backstore.Medium, off, length int64) {
	b := &d.background
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.prefetching {
		return
	}
	b.prefetching = true
	b.start(func() {
		_ = d.prefetch(m, off, length, func() bool { return b.closed.Load() || d.medium.Load() != m })
		b.mu.Lock()
		b.prefetching = false
		b.mu.Unlock()
	})
}
