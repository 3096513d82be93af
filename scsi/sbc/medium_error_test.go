package sbc

import (
	"errors"
	"fmt"
	"io"
	"syscall"
	"testing"
	"time"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/scsi"
)

// What each kind of failure below becomes, for each way in which a command meets
// it. The store fails at block 37.
func TestMediumErrors(t *testing.T) {
	const at = 37
	type want struct {
		key         scsi.SenseKey
		code        scsi.SenseCode
		information int64
	}
	anyError := errors.New("scratch on the disk")
	reading := want{scsi.KeyMediumError, scsi.ASCUnrecoveredReadError, at}
	writing := want{scsi.KeyMediumError, scsi.ASCWriteError, at}
	noSpace := want{scsi.KeyDataProtect, scsi.ASCSpaceAllocationFailedWriteProtect, at}
	readOnly := want{scsi.KeyDataProtect, scsi.ASCWriteProtected, -1}
	gone := want{scsi.KeyNotReady, scsi.ASCLogicalUnitNotReadyManualInterventionRequired, -1}
	block := pattern(512, 1)
	many := pattern(64*512, 1)
	reads := map[string][][]byte{
		"READ":          {read10(0, 64), nil},
		"READ with FUA": {cdb(form10, 0x28, flagFUA, 0, 64), nil},
		"VERIFY":        {cdb(form10, 0x2f, bytchk01, 0, 64), many},
		"VERIFY medium": {cdb(form10, 0x2f, 0, 0, 64), nil},
		"VERIFY same":   {cdb(form10, 0x2f, bytchk11, 0, 64), block},
		"PRE-FETCH":     {cdb(form10, 0x34, 0, 0, 64), nil},
	}
	writes := map[string][][]byte{
		"WRITE":            {write10(0, 64), many},
		"WRITE with FUA":   {cdb(form10, 0x2a, flagFUA, 0, 64), many},
		"WRITE AND VERIFY": {cdb(form10, 0x2e, 0, 0, 64), many},
		"WRITE SAME":       {cdb(form10, 0x41, 0, 0, 64), block},
		"WRITE SAME zeros": {cdb(form16, 0x93, flagNDOB, 0, 64), nil},
		"UNMAP":            {unmapCDB(24), unmapParameters([2]uint64{0, 64})},
	}
	check := func(name string, c [][]byte, err error, w want) {
		t.Helper()
		r := newRig(t, func(_ *Options, s *recorder) { s.features &^= backstore.CanMap })
		r.store.fail = func(op string, off, n int64) error {
			return &backstore.Error{Op: op, Offset: at*512 + 100, Length: 400, Err: err}
		}
		a := r.run(c[0], c[1])
		a.want(t, c[0], w.key, w.code)
		if a.information() != w.information {
			t.Errorf("%s, %v: information %d, want %d", name, err, a.information(), w.information)
		}
	}
	for name, c := range reads {
		check(name, c, anyError, reading)
		check(name, c, syscall.EIO, reading)
		check(name, c, io.ErrUnexpectedEOF, reading)
		check(name, c, backstore.ErrCorrupt, reading)
		check(name, c, syscall.ENODEV, gone)
		check(name, c, backstore.ErrGone, gone)
	}
	for name, c := range writes {
		check(name, c, anyError, writing)
		check(name, c, syscall.EIO, writing)
		check(name, c, fmt.Errorf("disk full: %w", syscall.ENOSPC), noSpace)
		check(name, c, backstore.ErrNoSpace, noSpace)
		check(name, c, syscall.EDQUOT, noSpace)
		check(name, c, syscall.EROFS, readOnly)
		check(name, c, backstore.ErrGone, gone)
	}
}

// A store that names no place: the first block of the command.
func TestMediumErrors_WithoutPlace(t *testing.T) {
	r := newRig(t, nil)
	r.store.fail = func(string, int64, int64) error { return syscall.EIO }
	if a := r.refused(read10(99, 4), nil, scsi.KeyMediumError, scsi.ASCUnrecoveredReadError); a.information() != 99 {
		t.Errorf("information %d, want 99", a.information())
	}
	if a := r.refused(write10(99, 4), make([]byte, 2048), scsi.KeyMediumError, scsi.ASCWriteError); a.information() != 99 {
		t.Errorf("information %d, want 99", a.information())
	}
}

// A flush that fails is an error of the command that needed it, and of no block. A
// store that takes its space late (NFS, thin devices) may run out of it only then.
func TestMediumErrors_FlushFails(t *testing.T) {
	for errno, key := range map[syscall.Errno]scsi.SenseKey{syscall.EIO: scsi.KeyMediumError, syscall.ENOSPC: scsi.KeyDataProtect} {
		r := newRig(t, nil)
		r.store.fail = func(op string, _, _ int64) error {
			if op == "sync" {
				return errno
			}
			return nil
		}
		r.good(write10(0, 1), make([]byte, 512))
		for _, c := range [][]byte{cdb(form10, 0x28, flagFUA, 0, 1), cdb(form16, 0x8b, flagFUA, 0, 1), syncCache(0), format(0)} {
			a := r.run(c, make([]byte, 512))
			if a.status != scsi.CheckCondition || a.key() != key || a.information() != -1 {
				t.Errorf("%v, % x: %v, %s, information %d", errno, c, a.status, a.describe(), a.information())
			}
		}
	}
}

var testUnitReady = []byte{0, 0, 0, 0, 0, 0}

// A medium that is gone makes the unit not ready, until it answers again.
func TestGone_ComesBackByItself(t *testing.T) {
	r := newRig(t, nil)
	r.good(testUnitReady, nil)
	r.store.fail = func(string, int64, int64) error { return backstore.ErrGone }
	r.refused(read10(0, 1), nil, scsi.KeyNotReady, scsi.ASCLogicalUnitNotReadyManualInterventionRequired)
	probe := r.device.gone.Load()
	for range 3 {
		probe.last.Store(0) // as if the pause had passed
		r.refused(testUnitReady, nil, scsi.KeyNotReady, scsi.ASCLogicalUnitNotReadyManualInterventionRequired)
		r.device.background.wait()
	}
	reads := r.store.reads.Load()
	if reads < 4 {
		t.Errorf("%d reads: nobody looked whether it is back", reads)
	}
	probe.last.Store(time.Now().Add(time.Hour).UnixNano())
	for range 10 { // not more often than the pause allows
		r.refused(read10(0, 1), nil, scsi.KeyNotReady, scsi.ASCLogicalUnitNotReadyManualInterventionRequired)
	}
	if got := r.store.reads.Load(); got != reads {
		t.Errorf("%d reads of a medium that is gone", got-reads)
	}
	r.store.fail = nil
	probe.last.Store(0)
	r.run(testUnitReady, nil) // finds it out
	r.device.background.wait()
	r.good(testUnitReady, nil)
	r.good(read10(0, 1), nil)
}

// Another medium ends it at once.
func TestGone_Swap(t *testing.T) {
	r := newRig(t, nil)
	r.store.fail = func(string, int64, int64) error { return backstore.ErrGone }
	r.refused(write10(0, 1), make([]byte, 512), scsi.KeyNotReady, scsi.ASCLogicalUnitNotReadyManualInterventionRequired)
	old := r.device.Swap(backstore.Bind(newRecorder(t, 8*mib)))
	r.good(read10(0, 1), nil)
	// A command that was still upon the old one does not harm the new one.
	r.device.lose(old)
	r.good(read10(0, 1), nil)
}

// A unit whose image could not be opened answers everything but what needs it.
func TestNoMedium(t *testing.T) {
	r := newRig(t, nil)
	old := r.device.Swap(nil)
	block := make([]byte, 512)
	for _, op := range r.unit.Operations() {
		if op.Traits&scsi.WithoutMedium != 0 {
			continue
		}
		c := make([]byte, len(op.Usage))
		c[0] = op.Opcode
		if op.HasServiceAction && op.Opcode == variableLength {
			c[7], c[9] = 24, byte(op.ServiceAction)
		} else if op.HasServiceAction {
			c[1] = byte(op.ServiceAction)
		}
		r.refused(c, block, scsi.KeyNotReady, scsi.ASCLogicalUnitNotReadyManualInterventionRequired)
	}
	r.good([]byte{0x12, 0, 0, 0, 36, 0}, nil)
	for _, page := range []byte{0x00, 0x80, 0x83, 0xb0, 0xb1, 0xb2} {
		r.good([]byte{0x12, 1, page, 0, 255, 0}, nil)
	}
	r.good([]byte{0x1a, 0, 0x3f, 0, 255, 0}, nil)
	r.good([]byte{0x03, 0, 0, 0, 252, 0}, nil)
	r.good([]byte{0x1b, 0, 0, 0, 0, 0}, nil)
	if err := r.device.Sync(); err != nil {
		t.Error(err)
	}
	if err := r.device.caching().Apply(make([]byte, 20)); err != nil {
		t.Error(err)
	}
	r.device.Swap(old)
	r.good(read10(0, 1), nil)
}
