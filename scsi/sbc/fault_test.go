package sbc

import (
	"fmt"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/backstore/fault"
	"github.com/isantarget/isantarget/backstore/file"
	"github.com/isantarget/isantarget/backstore/memory"
	"github.com/isantarget/isantarget/scsi"
)

// A mishap is what a store does to a writer.
type mishap struct {
	name    string
	fault   fault.Fault
	reading bool // it meets what is read: by LUN 0, or from LUN 1 for a copy
	mended  bool // the command succeeds nevertheless
}

// mishaps are about the block at the offset at, of size bytes, or about none.
func mishaps(at, size int64) []mishap {
	const changes = fault.Write | fault.Unmap | fault.Zero
	block := func(errno syscall.Errno, calls fault.Calls, count int64) fault.Fault {
		return fault.Fault{Kind: fault.Error, Errno: errno, Calls: calls, First: at, Bytes: size, Count: count}
	}
	return []mishap{
		{name: "EIO", fault: block(syscall.EIO, changes, 0)},
		{name: "EROFS", fault: block(syscall.EROFS, changes, 0)},
		{name: "ENOSPC", fault: block(syscall.ENOSPC, changes, 0)},
		{name: "EDQUOT", fault: block(syscall.EDQUOT, changes, 0)},
		{name: "EINTR for ever", fault: block(syscall.EINTR, changes, 0)},
		{name: "EINTR", fault: block(syscall.EINTR, changes, 1), mended: true},
		{name: "short", fault: fault.Fault{Kind: fault.Short, Calls: changes, Count: 1}},
		{name: "torn", fault: fault.Fault{Kind: fault.Torn, Calls: changes, Count: 1}},
		{name: "read EIO", fault: block(syscall.EIO, fault.Read, 0), reading: true},
		{name: "read EUCLEAN", fault: block(syscall.EUCLEAN, fault.Read, 0), reading: true},
		{name: "read EINTR for ever", fault: block(syscall.EINTR, fault.Read, 0), reading: true},
		{name: "read EINTR", fault: block(syscall.EINTR, fault.Read, 1), reading: true, mended: true},
		{name: "short read", fault: fault.Fault{Kind: fault.Short, Calls: fault.Read, Count: 1}, reading: true},
	}
}

// sense is how w has to tell of m, and whether by the block.
func (m mishap) sense(w writer) (key scsi.SenseKey, code scsi.SenseCode, block bool) {
	key, code, block = scsi.KeyMediumError, scsi.ASCWriteError, true
	switch {
	case m.reading:
		code = scsi.ASCUnrecoveredReadError
	case m.fault.Errno == syscall.ENOSPC || m.fault.Errno == syscall.EDQUOT:
		key, code = scsi.KeyDataProtect, scsi.ASCSpaceAllocationFailedWriteProtect
	case m.fault.Errno == syscall.EROFS:
		key, code, block = scsi.KeyDataProtect, scsi.ASCWriteProtected, false
	}
	switch {
	case w.family == ofCopy && code == scsi.ASCSpaceAllocationFailedWriteProtect:
		return scsi.KeyCopyAborted, code, false
	case w.family == ofCopy, w.family == ofToken && m.reading:
		return scsi.KeyCopyAborted, scsi.ASCThirdPartyDeviceFailure, false
	case w.family == ofFormat && key == scsi.KeyMediumError:
		return key, scsi.ASCFormatCommandFailed, true
	case w.family == ofSanitize:
		return scsi.KeyMediumError, scsi.ASCSanitizeCommandFailed, false
	}
	return key, code, block
}

// Whatever a store does to a command that changes the medium, the command says so, and
// which block is the first that is not written; GOOD is for what is on the store; and
// when the fault has passed the same command succeeds.
func TestFaults_SBC3_4_18(t *testing.T) {
	for _, w := range writers() {
		t.Run(w.name(), func(t *testing.T) {
			t.Parallel()
			for _, size := range []int{512, 4096} {
				faulty(t, w, size)
			}
		})
	}
}

// faulty is one of them with each mishap: 16 blocks from block 8 on, of which block 13 is
// in trouble.
func faulty(t *testing.T, w writer, size int) {
	const lba, n, at = 8, 16, 13
	to, raw := faultyStore(t, size)
	from, rawFrom := faultyStore(t, size)
	var medium backstore.Store = to
	if w.row == "WRITE ATOMIC (16)" {
		medium = &atomicStore{to, raw}
	}
	s := newScene(t, w, size, medium, raw, from, rawFrom, lba, n)
	for _, m := range mishaps(at*int64(size), int64(size)) {
		breaks := to
		if m.reading && (w.family == ofCopy || w.family == ofToken) {
			breaks = from
			m.fault.First -= (lba - sceneFrom) * int64(size)
		}
		if !t.Run(fmt.Sprintf("%s/%d", m.name, size), func(t *testing.T) { s.meets(t, w, m, breaks, at) }) {
			return
		}
		s.restore(t)
	}
}

// meets sends w while breaks has the fault of m, and again when it has passed.
func (s *scene) meets(t *testing.T, w writer, m mishap, breaks *fault.Store, at int64) {
	breaks.Set([]fault.Fault{m.fault})
	a := w.send(s)
	struck := breaks.Faults()[0].Struck > 0
	breaks.Set(nil)
	if m.reading { // what could not be read, before anything is written or after all is
		s.check(t, w, a, -1)
	} else {
		s.check(t, w, a, a.information())
	}
	key, code, block := m.sense(w)
	switch {
	case !struck && m.fault.Kind == fault.Error && (!m.reading || w.reads):
		t.Errorf("%s did not strike", m.name)
	case m.fault.Kind == fault.Short && a.status == scsi.Good: // all is there nevertheless
	case !struck || m.mended:
		if a.status != scsi.Good {
			t.Errorf("%v, %s", a.status, a.describe())
		}
	case a.status != scsi.CheckCondition || a.key() != key || a.code() != code:
		t.Errorf("%v, %s; want %v, %v", a.status, a.describe(), key, code)
	case !block && a.information() >= 0, block && a.information() < 0:
		t.Errorf("INFORMATION %d in %s", a.information(), a.describe())
	case block && m.fault.Kind == fault.Error && a.information() != at:
		t.Errorf("INFORMATION %d, want %d", a.information(), at)
	}
	if w.row == "COMPARE AND WRITE" && a.status == scsi.Good {
		s.restore(t)
	}
	a = w.send(s)
	s.check(t, w, a, -1)
	if a.status != scsi.Good {
		t.Errorf("when the fault has passed: %v, %s", a.status, a.describe())
	}
}

// faultyStore is a store of 64 blocks or more, full of a pattern, below a layer that
// breaks. Blocks of 512 bytes are in memory, those of 4096 in an image.
func faultyStore(t *testing.T, size int) (*fault.Store, backstore.Store) {
	t.Helper()
	const bytes = 256 << 10
	var raw backstore.Store
	var err error
	if size == 512 {
		raw, err = memory.New(bytes)
	} else {
		raw, err = file.Open(file.Options{Path: filepath.Join(t.TempDir(), "image"), Create: true, Size: bytes})
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := raw.WriteAt(pattern(bytes, 1), 0); err != nil {
		t.Fatal(err)
	}
	s, err := fault.New(raw, fault.Options{Unit: size, Seed: 5})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s, raw
}

// An atomicStore promises that a write is whole or not there at all: it undoes one that fails.
type atomicStore struct {
	*fault.Store
	raw backstore.Store
}

func (s *atomicStore) Geometry() backstore.Geometry {
	g := s.Store.Geometry()
	g.Atomic = MaximumTransferLength
	return g
}

func (s *atomicStore) WriteAt(p []byte, off int64) (int, error) {
	held := make([]byte, len(p))
	if _, err := s.raw.ReadAt(held, off); err != nil {
		return 0, err
	}
	n, err := s.Store.WriteAt(p, off)
	if n < len(p) {
		if _, err := s.raw.WriteAt(held, off); err != nil {
			return 0, err
		}
	}
	return n, err
}
