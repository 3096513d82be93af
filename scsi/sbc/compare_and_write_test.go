package sbc

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/scsi"
)

func compareAndWrite(flags byte, lba uint64, blocks byte) []byte {
	c := make([]byte, 16)
	c[0], c[1], c[13] = 0x89, flags, blocks
	binary.BigEndian.PutUint64(c[2:], lba)
	return c
}

func TestCompareAndWrite_SBC3_5_2(t *testing.T) {
	bothSizes(t, func(t *testing.T, r *rig) {
		size := r.device.blockSize
		for _, blocks := range []int{1, 2, 7, 255} {
			n := blocks * size
			for _, lba := range []uint64{3, r.blocks - uint64(blocks)} {
				old, next := pattern(n, byte(lba)), pattern(n, 0xa0)
				r.good(cdb(form16, 0x8a, 0, lba, uint64(blocks)), old)
				r.good(compareAndWrite(0, lba, byte(blocks)), slices.Concat(old, next))
				r.wantContent(lba, next)
				// Wherever one byte differs, nothing is written and INFORMATION says where.
				for _, at := range []int{0, 1, size - 1, n / 2, n - 1} {
					wrong := bytes.Clone(next)
					wrong[at] ^= 1
					a := r.refused(compareAndWrite(0, lba, byte(blocks)), slices.Concat(wrong, old), scsi.KeyMiscompare, scsi.ASCMiscompareDuringVerifyOperation)
					if a.information() != int64(at) {
						t.Errorf("%d blocks: INFORMATION %d, want %d", blocks, a.information(), at)
					}
				}
				r.wantContent(lba, next)
			}
		}
	})
}

func TestCompareAndWrite_Refusals_SBC3_5_2(t *testing.T) {
	bothSizes(t, func(t *testing.T, r *rig) {
		size := r.device.blockSize
		zeros := make([]byte, 8*size)
		next := pattern(size, 9)
		// Data-Out that is not twice the blocks, none of them, or too many for the CDB's byte.
		for _, c := range []struct{ blocks, out int }{{1, 0}, {1, size}, {1, 2*size - 1}, {1, 2*size + 1}, {1, 4 * size}, {3, 4 * size}, {0, 2 * size}} {
			a := r.refused(compareAndWrite(0, 0, byte(c.blocks)), zeros[:c.out], scsi.KeyIllegalRequest, scsi.ASCInvalidFieldInCDB)
			a.wantField(t, 13, -1)
		}
		r.good(compareAndWrite(0, 5, 0), nil)
		r.good(compareAndWrite(0, r.blocks-1, 0), nil)
		for lba, blocks := range map[uint64]byte{r.blocks: 1, r.blocks - 1: 2, 1 << 63: 1, ^uint64(0): 255} {
			a := r.refused(compareAndWrite(0, lba, blocks), make([]byte, 2*int(blocks)*size), scsi.KeyIllegalRequest, scsi.ASCLogicalBlockAddressOutOfRange)
			a.wantField(t, 2, -1)
		}
		r.refused(compareAndWrite(0, r.blocks, 0), nil, scsi.KeyIllegalRequest, scsi.ASCLogicalBlockAddressOutOfRange)
		// WRPROTECT asks for protection information, which there is none of.
		for protect := byte(1); protect < 8; protect++ {
			a := r.refused(compareAndWrite(protect<<5, 0, 1), slices.Concat(zeros[:size], next), scsi.KeyIllegalRequest, scsi.ASCInvalidFieldInCDB)
			if at, _ := a.field(); at != 1 {
				t.Errorf("WRPROTECT %d: the field pointer names byte %d", protect, at)
			}
		}
		r.wantContent(0, zeros)
	})
	protected := newRig(t, func(o *Options, _ *recorder) { o.ReadOnly = true })
	protected.refused(compareAndWrite(0, 0, 1), make([]byte, 1024), scsi.KeyDataProtect, scsi.ASCWriteProtected)
}

// FUA and WCE=0 make the write durable before it is answered; neither does a comparison that fails.
func TestCompareAndWrite_Durability(t *testing.T) {
	both := slices.Concat(make([]byte, 512), pattern(512, 1))
	back := slices.Concat(pattern(512, 1), make([]byte, 512))
	r := newRig(t, nil)
	r.good(compareAndWrite(flagDPO, 0, 1), both)
	r.wantNoted("write")
	r.good(compareAndWrite(flagDPO|flagFUA, 0, 1), back)
	r.wantNoted("write through")
	r.refused(compareAndWrite(flagFUA, 0, 1), back, scsi.KeyMiscompare, scsi.ASCMiscompareDuringVerifyOperation)
	r.wantNoted()
	through := newRig(t, func(o *Options, _ *recorder) { o.WriteCache = false })
	through.good(compareAndWrite(0, 0, 1), both)
	through.wantNoted("write through")
}

func TestCompareAndWrite_MediumErrors(t *testing.T) {
	fail := ""
	r := newRig(t, func(_ *Options, s *recorder) {
		s.fail = func(op string, off, n int64) error {
			if op == fail {
				return &backstore.Error{Op: op, Offset: off, Length: n, Err: fmt.Errorf("test")}
			}
			return nil
		}
	})
	fail = "read"
	if a := r.refused(compareAndWrite(0, 7, 1), make([]byte, 1024), scsi.KeyMediumError, scsi.ASCUnrecoveredReadError); a.information() != 7 {
		t.Errorf("INFORMATION %d", a.information())
	}
	fail = "write"
	if a := r.refused(compareAndWrite(0, 7, 1), make([]byte, 1024), scsi.KeyMediumError, scsi.ASCWriteError); a.information() != 7 {
		t.Errorf("INFORMATION %d", a.information())
	}
}

// A sharedStore is one that other hosts use too: it compares and writes itself.
type sharedStore struct{ *recorder }

func (s sharedStore) Features() backstore.Features { return s.features | backstore.CanCompare }

func (s sharedStore) CompareAndWriteAt(old, next []byte, off int64) (int, error) {
	if err := s.note("compare and write", off, int64(len(old))); err != nil {
		return 0, err
	}
	held := make([]byte, len(old))
	if _, err := s.Store.ReadAt(held, off); err != nil {
		return 0, err
	}
	if i := difference(held, old); i >= 0 {
		return i, nil
	}
	_, err := s.Store.WriteAt(next, off)
	return -1, err
}

func TestCompareAndWrite_InTheStore(t *testing.T) {
	r := newRig(t, nil)
	r.device.Swap(backstore.Bind(sharedStore{r.store}))
	next := pattern(512, 1)
	r.good(compareAndWrite(0, 1, 1), slices.Concat(make([]byte, 512), next))
	r.wantNoted("compare and write")
	r.wantContent(1, next)
	a := r.refused(compareAndWrite(flagFUA, 1, 1), make([]byte, 1024), scsi.KeyMiscompare, scsi.ASCMiscompareDuringVerifyOperation)
	if want := int64(difference(next, make([]byte, 512))); a.information() != want {
		t.Errorf("INFORMATION %d, want %d", a.information(), want)
	}
	r.wantNoted("compare and write")
	r.good(compareAndWrite(flagFUA, 1, 1), slices.Concat(next, make([]byte, 512)))
	r.wantNoted("compare and write", "sync")
	r.store.fail = func(op string, off, n int64) error { return backstore.ErrNoSpace }
	r.refused(compareAndWrite(0, 1, 1), make([]byte, 1024), scsi.KeyDataProtect, scsi.ASCSpaceAllocationFailedWriteProtect)
}

// A counter that many nexuses raise with COMPARE AND WRITE, while others write and
// unmap the blocks beside it, is exact.
func TestCompareAndWrite_IsOneStep(t *testing.T) {
	r := newRig(t, nil)
	const workers, rounds, lba = 4, 100, 9
	var all sync.WaitGroup
	for w := range workers {
		n := r.attach(fmt.Sprintf("iqn.2026-11.test:worker%d", w))
		all.Go(func() {
			for range rounds {
				for !r.raise(n, lba) {
				}
				beside := cdb(form10, 0x2a, 0, lba+1+uint64(w), 1)
				if a := r.start(n, beside, pattern(512, byte(w)), 0).answer(); a.status != scsi.Good {
					t.Errorf("%s", a.describe())
				}
			}
		})
	}
	all.Wait()
	if got := binary.BigEndian.Uint64(r.content(lba, 1)); got != workers*rounds {
		t.Errorf("the counter is %d, want %d", got, workers*rounds)
	}
}

// raise reads the counter at lba and raises it; false: another nexus came between.
func (r *rig) raise(n *scsi.Nexus, lba uint64) bool {
	held := r.start(n, cdb(form10, 0x28, 0, lba, 1), nil, 512).answer().in
	next := bytes.Clone(held)
	binary.BigEndian.PutUint64(next, binary.BigEndian.Uint64(held)+1)
	a := r.start(n, compareAndWrite(0, lba, 1), slices.Concat(held, next), 0).answer()
	if a.status != scsi.Good && a.key() != scsi.KeyMiscompare {
		r.t.Errorf("%s", a.describe())
		return true
	}
	return a.status == scsi.Good
}

// An abort that comes while the data are awaited leaves the blocks as they were.
func TestCompareAndWrite_Aborted(t *testing.T) {
	r := newRig(t, nil)
	x := &exchange{out: slices.Concat(make([]byte, 512), pattern(512, 1)), done: make(chan struct{}), abort: make(chan struct{}), wait: make(chan struct{})}
	r.send(r.nexus, x, compareAndWrite(0, 0, 1))
	if got := r.unit.Manage(scsi.AbortTaskSet, r.nexus, 0); got != scsi.FunctionComplete {
		t.Fatalf("ABORT TASK SET: %v", got)
	}
	if a := x.answer(); !a.silent {
		t.Errorf("the aborted command answered: %v", a)
	}
	r.wantContent(0, make([]byte, 512))
}
