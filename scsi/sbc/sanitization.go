package sbc

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/scsi"
)

const (
	sanitizePiece = 1 << 20   // bytes written at once
	sanitizeSync  = 128 << 20 // bytes between two syncs: the progress is that of the medium
	sanitizeNap   = 50 * time.Millisecond
	sanitizeKind  = "sanitize" // of the record
)

// A sanitization is a sanitize operation (SBC-3 4.11), and the record of it.
type sanitization struct {
	State        sanitizeState `json:"state"`
	Action       byte          `json:"action,omitempty"`
	Passes       int           `json:"passes,omitempty"`
	Invert       bool          `json:"invert,omitempty"` // every other pass
	Pattern      []byte        `json:"pattern,omitempty"`
	Unrestricted bool          `json:"unrestricted,omitempty"` // AUSE
	Place        string        `json:"place,omitempty"`        // Options.Place
}

type sanitizeState string

const (
	notSanitizing  sanitizeState = ""
	sanitizing     sanitizeState = "running"
	sanitizeFailed sanitizeState = "failed"
)

// sanitizer is the state of the operation of a unit, and where it is kept. Until it
// has succeeded the unit is not ready, also after a restart of the daemon.
type sanitizer struct {
	total, done atomic.Int64 // bytes to be written or erased, of all passes
	busy        atomic.Bool  // running or failed

	mu     sync.Mutex
	now    sanitization
	began  time.Time
	record scsi.Record
}

// start begins s, durably. total is how many bytes there are to do.
func (z *sanitizer) start(s sanitization, total int64) error {
	z.mu.Lock()
	defer z.mu.Unlock()
	s.State = sanitizing
	if err := z.save(s); err != nil {
		return err
	}
	z.set(s, total)
	return nil
}

// set is start without the record. z.mu is held.
func (z *sanitizer) set(s sanitization, total int64) {
	z.done.Store(0)
	z.total.Store(max(total, 1))
	z.now, z.began = s, time.Now()
	z.busy.Store(s.State != notSanitizing)
}

// finish notes the end. A success that cannot be recorded is none: after a
// restart the operation would be done again, over what was written meanwhile.
func (z *sanitizer) finish(err error) error {
	z.mu.Lock()
	defer z.mu.Unlock()
	if err == nil {
		if err = z.save(sanitization{}); err == nil {
			z.set(sanitization{}, 0)
			return nil
		}
	}
	failed := z.now
	failed.State = sanitizeFailed
	err = errors.Join(err, z.save(failed))
	z.set(failed, 0)
	return err
}

// leave ends the failure mode, if there is one that may be left.
func (z *sanitizer) leave() error {
	z.mu.Lock()
	defer z.mu.Unlock()
	switch {
	case z.now.State == sanitizing:
		return z.progress()
	case z.now.State == notSanitizing:
		return nil
	case !z.now.Unrestricted:
		return scsi.InvalidFieldInCDB(1, 4)
	}
	if err := z.save(sanitization{}); err != nil {
		return fmt.Errorf("sanitize: %w", err)
	}
	z.set(sanitization{}, 0)
	return nil
}

// save makes s the record. z.mu is held.
func (z *sanitizer) save(s sanitization) error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return z.record.Save(sanitizeKind, text)
}

// restricted tells whether the unit is in a failure mode that only a SANITIZE
// without AUSE ends.
func (z *sanitizer) restricted() bool {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.now.State == sanitizeFailed && !z.now.Unrestricted
}

// sense is why the unit is not ready, or nil.
func (z *sanitizer) sense() *scsi.Sense {
	if !z.busy.Load() {
		return nil
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	switch z.now.State {
	case sanitizing:
		return z.progress()
	case sanitizeFailed:
		return &scsi.Sense{Key: scsi.KeyMediumError, Code: scsi.ASCSanitizeCommandFailed}
	}
	return nil
}

func (z *sanitizer) progress() *scsi.Sense {
	const whole = 1 << 16
	done := uint16(min(float64(z.done.Load())/float64(z.total.Load())*whole, whole-1))
	s := scsi.NotReady(scsi.ASCLogicalUnitNotReadySanitizeInProgress)
	s.Progress = &done
	return s
}

// Remember implements scsi.Rememberer: a sanitize operation that the end of the process
// cut short is begun again. If the unit has another medium now, nobody has asked for
// that one to be overwritten: the operation has failed until the old one is back.
func (d *Device) Remember(r scsi.Record) error {
	if err := d.format.remember(r, d.place); err != nil {
		return err
	}
	d.sanitize.record = r
	text, err := r.Load(sanitizeKind)
	if err != nil || text == nil {
		return err
	}
	var s sanitization
	if err := json.Unmarshal(text, &s); err != nil {
		return fmt.Errorf("the record of a sanitize operation: %w", err)
	}
	if s.State != notSanitizing && s.State != sanitizing && s.State != sanitizeFailed {
		return fmt.Errorf("the record of a sanitize operation has the state %q, which is none", s.State)
	}
	m := d.medium.Load()
	if s.State == sanitizing && s.Place != d.place {
		s.State = sanitizeFailed
		if d.report != nil {
			d.report(fmt.Errorf("sanitize: it was cut short on %s and is not done to %s: put the LUN back there to have it finished, or remove its record from the state directory", s.Place, d.place))
		}
	}
	if s.State == sanitizing && (m == nil || d.isReadOnly(m) || s.Passes < 1 || s.Action == sanitizeOverwrite && len(s.Pattern) == 0) {
		s.State = sanitizeFailed
	}
	if s.State != sanitizing {
		d.sanitize.set(s, 0)
		return nil
	}
	d.sanitize.set(s, d.offset(d.capacity(m))*int64(s.Passes))
	d.background.start(func() { d.runSanitize(m, s) })
	return nil
}

// errClosed ends a sanitize operation that is to go on when the daemon is started again.
var errClosed = errors.New("sbc: the device is closed")

// runSanitize works s off.
func (d *Device) runSanitize(m *backstore.Medium, s sanitization) {
	var err error
	if s.Action == sanitizeOverwrite {
		err = d.overwriteMedium(m, s)
	} else {
		err = d.eraseMedium(m)
	}
	if errors.Is(err, errClosed) {
		return
	}
	if err = d.sanitize.finish(err); err != nil && d.report != nil {
		d.report(fmt.Errorf("sanitize: %w", err))
	}
}

// overwriteMedium writes the pattern over all blocks, as often as s says. A block
// begins with the pattern, and holds it as often as it fits.
func (d *Device) overwriteMedium(m *backstore.Medium, s sanitization) error {
	size := d.offset(d.capacity(m))
	piece := make([]byte, min(size, sanitizePiece))
	for i := range piece {
		piece[i] = s.Pattern[i%d.blockSize%len(s.Pattern)]
	}
	begun := time.Now()
	for pass := range s.Passes {
		if pass > 0 && s.Invert {
			for i := range piece {
				piece[i] = ^piece[i]
			}
		}
		for off := int64(0); off < size; {
			n := min(size-off, int64(len(piece)))
			if _, err := m.WriteAt(piece[:n], off); err != nil {
				return err
			}
			off += n
			if off%sanitizeSync == 0 || off == size {
				if err := m.Sync(); err != nil {
					return err
				}
			}
			if err := d.pause(begun, d.sanitize.done.Add(n)); err != nil {
				return err
			}
		}
	}
	return nil
}

// pause waits until done bytes are due, at the rate of Options.SanitizeRate.
func (d *Device) pause(begun time.Time, done int64) error {
	for {
		if d.background.closed.Load() {
			return errClosed
		}
		if d.sanitizeRate <= 0 {
			return nil
		}
		due := time.Duration(float64(done) / float64(d.sanitizeRate) * float64(time.Second))
		wait := due - time.Since(begun)
		if wait <= 0 {
			return nil
		}
		time.Sleep(min(wait, sanitizeNap))
	}
}

// eraseMedium gives back the space of all blocks, or fills them with zeros.
func (d *Device) eraseMedium(m *backstore.Medium) error {
	size := d.offset(d.capacity(m))
	for off := int64(0); off < size; {
		if d.background.closed.Load() {
			return errClosed
		}
		n := min(size-off, zeroPiece)
		if err := m.ZeroAt(off, n, d.thin); err != nil {
			return err
		}
		off += n
		d.sanitize.done.Store(off)
	}
	return m.Sync()
}
