package sbc

import (
	"fmt"
	"math/bits"
	"sync"
	"sync/atomic"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/scsi"
	"github.com/isantarget/isantarget/scsi/spc"
)

// MaximumTransferLength is the most bytes that one command moves (VPD B0h): what
// a target port must be able to hold for a command.
const MaximumTransferLength = 4 << 20

// Options say what a Device is. Lengths are bytes.
type Options struct {
	// Medium keeps the blocks. Nil: it could not be opened, and the unit answers
	// NOT READY, MANUAL INTERVENTION REQUIRED to what needs it until Swap brings one.
	Medium *backstore.Medium
	// BlockSize is the logical block length: 512 or 4096.
	BlockSize int
	// PhysicalBlockSize is told by READ CAPACITY (16): a power of two, not less
	// than BlockSize. 0: what the medium says.
	PhysicalBlockSize int
	// ReadOnly protects the medium from writing (WP=1).
	ReadOnly bool
	// Removable lets initiators eject and load the medium (RMB=1).
	Removable bool
	// WriteCache is the default of WCE in the caching mode page.
	WriteCache bool
	// Thin makes the unit thin provisioned (LBPME=1) if the medium can give space
	// back; a medium that cannot is served as fully provisioned.
	Thin bool
	// ExplicitAccess lets initiators change the asymmetric access states of the paths
	// (SET TARGET PORT GROUPS).
	ExplicitAccess bool
	// DetectZeroes takes a WRITE of nothing but zeros for a wish to give the space of
	// its blocks back, on a thin unit whose unmapped blocks read as zeros.
	DetectZeroes bool
	// SanitizeRate bounds what SANITIZE writes in a second, so that it leaves the
	// disks below to others. 0: no bound.
	SanitizeRate int64
	// Place names what the medium is, for a person: the path of an image. A SANITIZE
	// that was cut short is begun again only where it was.
	Place string
	// Report, if set, hears why a sanitize operation has failed, and, once, that a sync
	// has (backstore.ErrLost). It must not wait.
	Report func(error)
}

// A Device is the device server of a direct access block device. Its methods may
// be called at once from many goroutines.
type Device struct {
	blockSize  int
	blockShift uint
	physical   int // as Options have it; 0: the medium's
	readOnly   bool
	removable  bool
	thin       bool
	tellsSpace bool // thin, and the medium knows what it takes of the space below
	atomic     bool // the medium promises atomic writes: there is WRITE ATOMIC
	writeCache bool // the default of WCE
	zeroes     bool // a WRITE of zeros is looked for

	explicitAccess bool

	place        string
	sanitizeRate int64 // bytes a second; 0: as fast as can be
	report       func(error)

	medium       atomic.Pointer[backstore.Medium] // nil: none
	writeThrough atomic.Bool                      // WCE=0
	ejected      atomic.Bool
	gone         atomic.Pointer[probe] // set: the medium has failed with ErrGone
	suspect      atomic.Bool           // the medium has failed since Suspect was asked

	pace       writePace
	scratch    scratch
	together   sync.Pool // of *[]backstore.Read
	background background
	deferred   deferredErrors
	loss       atomic.Pointer[loss] // set: what was written may be lost
	format     formatter
	sanitize   sanitizer
	thresholds thresholds

	copies  *spc.CopyManager
	copying chan struct{} // holds one for each piece that is being copied to the unit
	tokens  tokens

	mu         sync.Mutex
	preventing map[*scsi.Nexus]struct{} // who prevents medium removal
}

var (
	_ scsi.DeviceServer = (*Device)(nil)
	_ scsi.Synchronizer = (*Device)(nil)
	_ scsi.Rememberer   = (*Device)(nil)
	_ scsi.Logger       = (*Device)(nil)
)

// New makes a device of o. It fails if block sizes do not fit together, or fit
// not to the medium.
func New(o Options) (*Device, error) {
	if o.BlockSize != 512 && o.BlockSize != 4096 {
		return nil, fmt.Errorf("sbc: logical block length %d: give 512 or 4096", o.BlockSize)
	}
	if p := o.PhysicalBlockSize; p != 0 && (p < o.BlockSize || p&(p-1) != 0 || p/o.BlockSize > 1<<15) {
		return nil, fmt.Errorf("sbc: physical block length %d: give a power of two from %d to %d", p, o.BlockSize, o.BlockSize<<15)
	}
	if o.Medium != nil && o.Medium.Geometry().Size < int64(o.BlockSize) {
		return nil, fmt.Errorf("sbc: the medium has %d bytes: less than one block of %d", o.Medium.Geometry().Size, o.BlockSize)
	}
	d := &Device{
		blockSize:  o.BlockSize,
		blockShift: uint(bits.TrailingZeros(uint(o.BlockSize))),
		physical:   o.PhysicalBlockSize,
		readOnly:   o.ReadOnly,
		removable:  o.Removable,
		thin:       o.Thin && canBeThin(o.Medium),
		tellsSpace: o.Thin && canBeThin(o.Medium) && tellsSpace(o.Medium),
		atomic:     o.Medium != nil && o.Medium.Geometry().Atomic >= o.BlockSize,
		writeCache: o.WriteCache,
		zeroes:     o.DetectZeroes,

		explicitAccess: o.ExplicitAccess,

		place:        o.Place,
		sanitizeRate: o.SanitizeRate,
		report:       o.Report,

		scratch:    newScratch(),
		copies:     spc.NewCopyManager(copyDevices{}),
		copying:    make(chan struct{}, concurrentPieces),
		preventing: make(map[*scsi.Nexus]struct{}),
	}
	d.writeThrough.Store(!o.WriteCache)
	d.medium.Store(o.Medium)
	return d, nil
}

// canBeThin tells whether m can give space back, or could if it were not
// read-only: it knows then what it does not hold.
func canBeThin(m *backstore.Medium) bool {
	switch {
	case m == nil: // it could not be opened, and is taken at its owner's word
		return true
	case m.Geometry().ReadOnly:
		return m.Features().Has(backstore.CanMap | backstore.ReadsZeros)
	}
	return m.Features().Has(backstore.CanUnmap)
}

// Swap puts m in the place of the medium, and returns the one before, which the
// caller closes. Commands that run at this moment may use either: who needs more
// quiesces the unit around it. With nil the unit is not ready.
//
// Whether the unit is thin does not change with the medium. A new capacity is
// the caller's to tell (CAPACITY DATA HAS CHANGED).
func (d *Device) Swap(m *backstore.Medium) (old *backstore.Medium) {
	old = d.medium.Swap(m)
	d.gone.Store(nil)
	d.loss.Store(nil)
	d.tokens.changed(everything())
	return old
}

// Medium is what the device serves at this moment; nil for none.
func (d *Device) Medium() *backstore.Medium { return d.medium.Load() }

// Suspect tells whether the medium has failed a command since Suspect was asked last,
// or is gone: whether it is worth a look.
func (d *Device) Suspect() bool { return d.suspect.Swap(false) || d.gone.Load() != nil }

// WriteCache tells whether initiators are told of a volatile write cache at this moment
// (WCE of the caching mode page).
func (d *Device) WriteCache() bool { return !d.writeThrough.Load() }

// Sync makes durable all that was written.
func (d *Device) Sync() error {
	m := d.medium.Load()
	if m == nil || !m.Geometry().Volatile {
		return nil
	}
	err := m.Sync()
	d.lost(m)
	return err
}

// Close ends what runs in the background (IMMED) and waits for it. The owner
// calls it when no command comes any more, then Sync, and then closes the medium.
func (d *Device) Close() {
	d.background.closed.Store(true)
	d.copies.Reset()
	d.background.wait()
}

// PeripheralDeviceType is that of a direct access block device (SPC-4 6.6.2).
func (d *Device) PeripheralDeviceType() byte { return 0x00 }

// InquiryData is the device's part of standard INQUIRY data.
func (d *Device) InquiryData() scsi.InquiryData {
	const sbc3 = 0x04c0 // SBC-3, no version claimed
	return scsi.InquiryData{Removable: d.removable, ThirdPartyCopy: true, VersionDescriptors: []uint16{sbc3}}
}

// Unsupported answers a CDB that no row fits.
func (d *Device) Unsupported(*scsi.Command) error {
	return scsi.IllegalRequest(scsi.ASCInvalidCommandOperationCode)
}

// Ready is nil, or why the medium cannot be used.
func (d *Device) Ready() *scsi.Sense {
	if d.ejected.Load() {
		return scsi.NotReady(scsi.ASCMediumNotPresent)
	}
	m := d.medium.Load()
	if m == nil || d.stillGone(m) || d.capacity(m) == 0 {
		return scsi.NotReady(scsi.ASCLogicalUnitNotReadyManualInterventionRequired)
	}
	if s := d.sanitize.sense(); s != nil {
		return s
	}
	return d.format.sense()
}

// Reset is the device's part of a logical unit reset: removal of the medium is
// allowed again, and copies are forgotten.
func (d *Device) Reset() {
	d.copies.Reset()
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.preventing)
}

// NexusLost forgets what n prevents, and what was to be told it.
func (d *Device) NexusLost(n *scsi.Nexus) {
	d.deferred.forget(n)
	if l := d.loss.Load(); l != nil {
		l.forget(n)
	}
	d.copies.NexusLost(n)
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.preventing, n)
}

// begin is how each command of the medium starts: it gives the medium, or the
// error that is to be told instead.
func (d *Device) begin(c *scsi.Command) (*backstore.Medium, error) {
	if d.deferred.pending.Load() {
		if s := d.deferred.take(c.Nexus); s != nil {
			return nil, s
		}
	}
	m := d.medium.Load()
	if m == nil {
		return nil, d.notReady()
	}
	if l := d.loss.Load(); l != nil {
		if s := l.tell(c.Nexus); s != nil {
			return nil, s
		}
	}
	return m, nil
}

// notReady is Ready for a command that the medium has left while it ran.
func (d *Device) notReady() error {
	if s := d.Ready(); s != nil {
		return s
	}
	return scsi.NotReady(scsi.ASCLogicalUnitNotReadyManualInterventionRequired)
}

// capacity is how many logical blocks m has.
func (d *Device) capacity(m *backstore.Medium) uint64 {
	return uint64(m.Geometry().Size) >> d.blockShift
}

// isReadOnly tells whether m must not be written.
func (d *Device) isReadOnly(m *backstore.Medium) bool {
	return d.readOnly || m != nil && m.Geometry().ReadOnly
}

// readsZeros tells whether an unmapped block reads as zeros (LBPRZ).
func (d *Device) readsZeros(m *backstore.Medium) bool {
	return d.thin && m != nil && m.Features().Has(backstore.ReadsZeros)
}

// settle makes durable what a command has written in pieces, if it must be.
func (d *Device) settle(m *backstore.Medium, fua bool) error {
	if (!fua && !d.writeThrough.Load()) || !m.Geometry().Volatile {
		return nil
	}
	return m.Sync()
}

// aborted is ErrAborted once task management has aborted c: what every loop over
// pieces of a medium asks between two of them.
func aborted(c *scsi.Command) error {
	if c.Aborted() {
		return scsi.ErrAborted
	}
	return nil
}

// receive waits for the Data-Out of n bytes. It gives as many whole blocks of it
// as the initiator promises; a part of a block is refused (see package comment).
func (d *Device) receive(c *scsi.Command, n int) ([]byte, error) {
	p, err := c.Delivery.ReceiveDataOut(n)
	if err != nil {
		return nil, err
	}
	p = p[:min(n, len(p))]
	if len(p)&(d.blockSize-1) != 0 {
		return nil, errPartOfBlock()
	}
	return p, nil
}

// errPartOfBlock says that the data the initiator announced do not fit the CDB.
func errPartOfBlock() error { return scsi.IllegalRequest(scsi.ASCInvalidFieldInCommandInformationUnit) }
