package sbc

import (
	"encoding/binary"
	"math"
	"math/bits"
	"sync/atomic"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/scsi"
)

// thresholdSet is the number of bytes in which LBA mapping resources are told: 2 to
// the power of THRESHOLD EXPONENT blocks. It makes 4 PiB of the 32 bits of a count.
const thresholdSet = 1 << 20

// The LBA mapping resources: the codes of log parameters (SBC-3 6.4) and of
// THRESHOLD RESOURCE (SBC-3 6.5).
const (
	availableResources = 0x01
	usedResources      = 0x02
)

// Thresholds say from where on initiators are told of the space below the medium
// (SBC-3 4.7.3). Bytes; 0: they are not.
type Thresholds struct {
	Available int64 // less than this is left, for this unit and all others in its pool
	Used      int64 // more than this the unit itself has taken
}

// thresholds are what the device tells of its space. It does not watch over it:
// the owner, who sees the other users of the pool too, does.
type thresholds struct {
	now      atomic.Pointer[Thresholds] // nil: none have been set
	silenced atomic.Bool                // LBPERE=0
	refused  atomic.Uint64              // writes that found no space
}

// SetThresholds gives the thresholds that the logical block provisioning mode page
// shows. It is true if they are others than before: then the owner establishes MODE
// PARAMETERS CHANGED (SBC-3 6.5).
func (d *Device) SetThresholds(t Thresholds) (changed bool) {
	old := d.thresholds.now.Swap(&t)
	return old != nil && *old != t
}

// TellsThresholds says whether initiators want to hear that a threshold is reached
// (LBPERE), and can: the owner then establishes THIN PROVISIONING SOFT THRESHOLD
// REACHED.
func (d *Device) TellsThresholds() bool { return d.tellsSpace && !d.thresholds.silenced.Load() }

// Refused is how many commands have found no space for what they wrote, since the
// device was made.
func (d *Device) Refused() uint64 { return d.thresholds.refused.Load() }

// tellsSpace tells whether a thin unit upon m can say what it takes of the space
// below. One that could not be opened is taken at its owner's word, as in canBeThin.
func tellsSpace(m *backstore.Medium) bool {
	return m == nil || m.Features().Has(backstore.TellsSpace)
}

// thresholdExponent is THRESHOLD EXPONENT (SBC-3 6.6.4); 0: there are no thresholds.
func (d *Device) thresholdExponent() byte {
	if !d.tellsSpace {
		return 0
	}
	return byte(bits.TrailingZeros(uint(thresholdSet >> d.blockShift)))
}

// sets is a number of bytes in threshold sets.
func sets(bytes int64) uint32 {
	return uint32(min(max(bytes, 0)/thresholdSet, math.MaxUint32))
}

// provisioningPage is the Logical Block Provisioning mode page (SBC-3 6.5) with
// two thresholds, which initiators cannot change: that of the available resources
// is reached as they decrease, that of the used ones as they increase. Every nexus
// hears of it (SITUA 0).
func (d *Device) provisioningPage() scsi.ModePage {
	const header, descriptor = 16, 8
	return scsi.ModePage{
		Code: 0x1c, Subcode: 0x02, Default: make([]byte, header+2*descriptor), Unsavable: true,
		Now: func(page []byte) {
			const enabled, increasing = 0x80, 0x01 // THRESHOLD ARMING; decreasing is 0
			put := func(p []byte, resource, flags byte, bytes int64) {
				p[0], p[1] = flags, resource
				if bytes > 0 {
					p[0] |= enabled
				}
				binary.BigEndian.PutUint32(p[4:], sets(bytes))
			}
			var t Thresholds
			if now := d.thresholds.now.Load(); now != nil {
				t = *now
			}
			put(page[header:], availableResources, 0, t.Available)
			put(page[header+descriptor:], usedResources, increasing, t.Used)
		},
	}
}

// LogPages are the log pages of SBC-3 6.4.
func (d *Device) LogPages() []scsi.LogPage {
	if !d.tellsSpace {
		return nil
	}
	return []scsi.LogPage{{Code: 0x0c, Parameters: d.provisioningLog}}
}

// provisioningLog is the Logical Block Provisioning log page (SBC-3 6.4): what is
// left, which others may take as well, and what this unit has.
func (d *Device) provisioningLog() ([]scsi.LogParameter, error) {
	m := d.medium.Load()
	if m == nil {
		return nil, d.notReady()
	}
	space, err := m.Space()
	if err != nil {
		return nil, d.readError(m, err, 0)
	}
	const dedicated, shared = 1, 2 // SCOPE
	count := func(bytes int64, scope byte) []byte {
		return append(binary.BigEndian.AppendUint32(nil, sets(bytes)), scope, 0, 0, 0)
	}
	return []scsi.LogParameter{
		{Code: availableResources, Value: count(space.Available, shared)},
		{Code: usedResources, Value: count(space.Used, dedicated)},
	}, nil
}
