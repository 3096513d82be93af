package sbc

import (
	"encoding/binary"
	"math"

	"github.com/isantarget/isantarget/scsi"
)

// ModeParameterHeader is the DEVICE-SPECIFIC PARAMETER field (SBC-3 6.5): WP,
// and DPOFUA, which says that CDBs may have DPO and FUA.
func (d *Device) ModeParameterHeader() byte {
	const wp, dpofua = 0x80, 0x10
	if d.isReadOnly(d.medium.Load()) {
		return wp | dpofua
	}
	return dpofua
}

// BlockDescriptor is the short or long LBA mode parameter block descriptor (SBC-3
// 6.5). Without a medium it has no blocks.
func (d *Device) BlockDescriptor(long bool) []byte {
	var blocks uint64
	if m := d.medium.Load(); m != nil && !d.ejected.Load() {
		blocks = d.capacity(m)
	}
	if long {
		p := make([]byte, 16)
		binary.BigEndian.PutUint64(p, blocks)
		binary.BigEndian.PutUint32(p[12:], uint32(d.blockSize))
		return p
	}
	p := make([]byte, 8)
	binary.BigEndian.PutUint32(p[4:], uint32(d.blockSize)) // its first byte is reserved here
	binary.BigEndian.PutUint32(p, uint32(min(blocks, math.MaxUint32)))
	return p
}

// ModePages are the mode pages of SBC-3 6.5.
func (d *Device) ModePages() []scsi.ModePage {
	pages := []scsi.ModePage{d.readWriteErrorRecovery(), d.caching()}
	if d.tellsSpace {
		pages = append(pages, d.provisioningPage())
	}
	return pages
}

// readWriteErrorRecovery is the Read-Write Error Recovery mode page (SBC-3 6.5):
// nothing is reassigned or retried behind the initiator's back, and an error is
// told. LBPERE alone can be changed, where there are thresholds to be told of.
func (d *Device) readWriteErrorRecovery() scsi.ModePage {
	const lbpere = 0x80 // in byte 7
	p := scsi.ModePage{Code: 0x01, Default: make([]byte, 12), Changeable: make([]byte, 12)}
	if d.tellsSpace {
		p.Default[7], p.Changeable[7] = lbpere, lbpere
		p.Apply = func(page []byte) error {
			d.thresholds.silenced.Store(page[7]&lbpere == 0)
			return nil
		}
	}
	return p
}

// caching is the Caching mode page (SBC-3 6.5). WCE alone can be changed.
func (d *Device) caching() scsi.ModePage {
	const wce = 0x04 // in byte 2
	p := scsi.ModePage{Code: 0x08, Default: make([]byte, 20), Changeable: make([]byte, 20)}
	p.Changeable[2] = wce
	if d.writeCache {
		p.Default[2] = wce
	}
	p.Apply = func(page []byte) error { return d.setWriteCache(page[2]&wce != 0) }
	return p
}

// setWriteCache turns the write cache on or off. What is in it when it is turned
// off goes to the medium; if that fails it stays on. No write runs meanwhile: MODE
// SELECT is alone in the task set.
func (d *Device) setWriteCache(on bool) error {
	if wasOff := d.writeThrough.Swap(!on); on || wasOff {
		return nil
	}
	m := d.medium.Load()
	if m == nil || !m.Geometry().Volatile {
		return nil
	}
	if err := m.Sync(); err != nil {
		d.writeThrough.Store(false)
		return d.writeError(m, err, 0)
	}
	return nil
}
