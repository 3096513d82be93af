package sbc

import (
	"errors"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/scsi"
)

// readError and writeError make sense data of what a medium answered. off is the
// first byte of the blocks that the command was about, in case err names none.
func (d *Device) readError(m *backstore.Medium, err error, off int64) error {
	return d.mediumError(m, err, off, scsi.ASCUnrecoveredReadError)
}

func (d *Device) writeError(m *backstore.Medium, err error, off int64) error {
	return d.mediumError(m, err, off, scsi.ASCWriteError)
}

// mediumError is nil for nil, and err itself if it did not come from the medium.
// code is that of a failure of the medium without a better name. INFORMATION is
// the first block that was not read or written (SBC-3 4.18); a medium that could
// not be synchronized cannot say which block it was, so there is none then.
func (d *Device) mediumError(m *backstore.Medium, err error, off int64, code scsi.SenseCode) error {
	if err == nil || err == scsi.ErrAborted || err == scsi.ErrWouldBlock {
		return err
	}
	var sense *scsi.Sense
	if errors.As(err, &sense) {
		return sense
	}
	if !d.suspect.Load() {
		d.suspect.Store(true)
	}
	var at *backstore.Error
	nowhere := errors.As(err, &at) && at.Length == 0 // a Sync that failed
	if at != nil && !nowhere {
		off = at.Offset
	}
	if errors.Is(err, backstore.ErrLost) {
		nowhere = true
		d.lost(m)
	}
	lba := uint64(off) >> d.blockShift
	switch backstore.Meaning(err) {
	case backstore.ErrNoSpace:
		d.thresholds.refused.Add(1)
		s := scsi.DataProtect(scsi.ASCSpaceAllocationFailedWriteProtect)
		if !nowhere {
			s.Information = &lba
		}
		return s
	case backstore.ErrReadOnly:
		return scsi.DataProtect(scsi.ASCWriteProtected)
	case backstore.ErrGone:
		d.lose(m)
		return scsi.NotReady(scsi.ASCLogicalUnitNotReadyManualInterventionRequired)
	case backstore.ErrRange: // it was checked: the medium has changed beneath the command
		s := scsi.IllegalRequest(scsi.ASCLogicalBlockAddressOutOfRange)
		s.Information = &lba
		return s
	}
	if nowhere {
		return &scsi.Sense{Key: scsi.KeyMediumError, Code: code}
	}
	return scsi.MediumError(code, lba)
}
