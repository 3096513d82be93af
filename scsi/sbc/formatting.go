package sbc

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/scsi"
)

const formatKind = "format" // of the record

// A formatting is a format operation, and the record of it: it is there from before
// the first block is touched until the last one has been done and made durable.
type formatting struct {
	State formatState `json:"state"`
	Place string      `json:"place,omitempty"` // Options.Place
}

type formatState string

const (
	notFormatting formatState = ""
	formatBegun   formatState = "begun"  // it runs, or was cut short
	formatFailed  formatState = "failed" // by the medium
)

// formatter is the state of the format of a unit. A format that has begun and not
// succeeded leaves blocks of two kinds, and the unit is not to pass for a good one until
// it is formatted anew, also after a restart of the daemon (SBC-3 4.9, 5.3).
type formatter struct {
	size atomic.Int64 // bytes; 0: none runs
	done atomic.Int64
	torn atomic.Bool // now is not the zero value, and none runs

	mu     sync.Mutex
	now    formatting
	record scsi.Record
}

// begin makes the record of a format of size bytes at place. false: one runs already.
func (f *formatter) begin(size int64, place string) (began bool, err error) {
	if !f.size.CompareAndSwap(0, size) {
		return false, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.save(formatting{State: formatBegun, Place: place}); err != nil {
		f.size.Store(0)
		return false, fmt.Errorf("format: %w", err)
	}
	return true, nil
}

// end notes how the format ended, and gives what the command is to say. A success
// that cannot be recorded is none: after a restart the unit would be a torn one.
func (f *formatter) end(err error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	next := formatting{}
	if err != nil && !errors.Is(err, scsi.ErrAborted) {
		next = formatting{State: formatFailed, Place: f.now.Place}
	}
	if err == nil || next.State != notFormatting {
		if saved := f.save(next); saved != nil && err == nil {
			err = fmt.Errorf("format: %w", saved)
		}
	}
	f.torn.Store(f.now.State != notFormatting)
	f.done.Store(0)
	f.size.Store(0)
	return err
}

// save makes s the record. f.mu is held.
func (f *formatter) save(s formatting) error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if err := f.record.Save(formatKind, text); err != nil {
		return err
	}
	f.now = s
	return nil
}

// remember loads the record. A format of another place leaves this medium alone.
func (f *formatter) remember(r scsi.Record, place string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.record = r
	text, err := r.Load(formatKind)
	if err != nil || text == nil {
		return err
	}
	var s formatting
	if err := json.Unmarshal(text, &s); err != nil {
		return fmt.Errorf("the record of a format: %w", err)
	}
	if s.State != notFormatting && s.State != formatBegun && s.State != formatFailed {
		return fmt.Errorf("the record of a format has the state %q, which is none", s.State)
	}
	if s.Place == place {
		f.now = s
		f.torn.Store(s.State != notFormatting)
	}
	return nil
}

// sense is why the unit is not ready, or nil: FORMAT IN PROGRESS with the progress, or
// what became of the last format.
func (f *formatter) sense() *scsi.Sense {
	if size := f.size.Load(); size != 0 {
		const whole = 1 << 16
		progress := uint16(min(float64(f.done.Load())/float64(size)*whole, whole-1))
		s := scsi.NotReady(scsi.ASCLogicalUnitNotReadyFormatInProgress)
		s.Progress = &progress
		return s
	}
	if !f.torn.Load() {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch f.now.State {
	case notFormatting:
		return nil
	case formatFailed:
		return &scsi.Sense{Key: scsi.KeyMediumError, Code: scsi.ASCFormatCommandFailed}
	}
	return &scsi.Sense{Key: scsi.KeyMediumError, Code: scsi.ASCMediumFormatCorrupted}
}

// isTornFormat tells whether s is what only another format cures.
func isTornFormat(s *scsi.Sense) bool {
	return s.Code == scsi.ASCMediumFormatCorrupted || s.Code == scsi.ASCFormatCommandFailed
}

// formatMedium zeroes the medium and makes that durable, unless stop says to end.
func (d *Device) formatMedium(m *backstore.Medium, stop func() bool) error {
	size := d.offset(d.capacity(m))
	for off := int64(0); off < size; {
		if stop() {
			return scsi.ErrAborted
		}
		n := min(size-off, zeroPiece)
		if err := m.ZeroAt(off, n, d.thin); err != nil {
			return d.mediumError(m, err, off, scsi.ASCFormatCommandFailed)
		}
		off += n
		d.format.done.Store(off)
	}
	return d.mediumError(m, m.Sync(), 0, scsi.ASCFormatCommandFailed)
}
