package sbc

import (
	"bytes"
	"errors"
	"testing"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/scsi"
)

const (
	bytchk01 = 0x02
	bytchk10 = 0x04
	bytchk11 = 0x06
)

func TestVerify_Compares(t *testing.T) {
	bothSizes(t, func(t *testing.T, r *rig) {
		size := r.device.blockSize
		// More than one piece of work, and not a multiple of it.
		blocks := uint64(2*scratchSize/size + 3)
		data := pattern(int(blocks)*size, 7)
		r.good(cdb(form16, 0x8a, 0, 5, blocks), data)
		for f, code := range verifyForms {
			a := r.run(cdb(f, code, bytchk01, 5, blocks), data)
			if a.status != scsi.Good || a.length != len(data) {
				t.Errorf("form %d: %v, length %d", f, a.status, a.length)
			}
			for _, at := range []int{0, 1, size, scratchSize - 1, scratchSize, len(data) - 1} {
				wrong := bytes.Clone(data)
				wrong[at] ^= 0x10
				a := r.refused(cdb(f, code, bytchk01, 5, blocks), wrong, scsi.KeyMiscompare, scsi.ASCMiscompareDuringVerifyOperation)
				if a.information() != int64(at) {
					t.Errorf("form %d: information %d, want the offset %d", f, a.information(), at)
				}
				// Without byte check the data are not even asked for.
				if a := r.run(cdb(f, code, 0, 5, blocks), wrong); a.status != scsi.Good || a.length != 0 {
					t.Errorf("form %d: medium verification: %v, length %d", f, a.status, a.length)
				}
			}
		}
	})
}

func TestVerify_OneBlock(t *testing.T) {
	bothSizes(t, func(t *testing.T, r *rig) {
		size := r.device.blockSize
		blocks := uint64(scratchSize/size + 9)
		block := pattern(size, 3)
		r.good(cdb(form16, 0x8a, 0, 0, blocks), bytes.Repeat(block, int(blocks)))
		for f, code := range verifyForms {
			a := r.run(cdb(f, code, bytchk11, 0, blocks), block)
			if a.status != scsi.Good || a.length != size {
				t.Errorf("form %d: %v, length %d, %s", f, a.status, a.length, a.describe())
			}
			at := int64(scratchSize + 5*size + 17)
			if _, err := r.store.Store.WriteAt([]byte{block[17] ^ 1}, at); err != nil {
				t.Fatal(err)
			}
			a = r.refused(cdb(f, code, bytchk11, 0, blocks), block, scsi.KeyMiscompare, scsi.ASCMiscompareDuringVerifyOperation)
			if a.information() != at {
				t.Errorf("form %d: information %d, want %d", f, a.information(), at)
			}
			if _, err := r.store.Store.WriteAt([]byte{block[17]}, at); err != nil {
				t.Fatal(err)
			}
			r.refused(cdb(f, code, bytchk11, 0, blocks), nil, scsi.KeyIllegalRequest, scsi.ASCInvalidFieldInCommandInformationUnit)
			if a := r.run(cdb(f, code, bytchk11, 0, 0), nil); a.status != scsi.Good || a.length != 0 {
				t.Errorf("form %d, no blocks: %v, length %d", f, a.status, a.length)
			}
			r.refused(cdb(f, code, bytchk10, 0, 1), block, scsi.KeyIllegalRequest, scsi.ASCInvalidFieldInCDB).
				wantField(t, f.flagsByte(), 2)
		}
	})
}

// The initiator promises less than the CDB says: what it promised is compared.
func TestVerify_PromisesLess(t *testing.T) {
	r := newRig(t, nil)
	data := pattern(4*512, 1)
	r.good(write10(0, 4), data)
	if a := r.run(cdb(form10, 0x2f, bytchk01, 0, 4), data[:1024]); a.status != scsi.Good || a.length != 2048 {
		t.Errorf("%v, length %d", a.status, a.length)
	}
	r.refused(cdb(form10, 0x2f, bytchk01, 0, 4), data[:1000], scsi.KeyIllegalRequest, scsi.ASCInvalidFieldInCommandInformationUnit)
}

// Medium verification reads what is mapped, tells which block cannot be read, and
// leaves out what is not mapped.
func TestVerify_ReadsMedium(t *testing.T) {
	r := newRig(t, nil)
	r.good(cdb(form16, 0x8a, 0, 1024, 128), pattern(128*512, 1)) // one granule at 512 KiB
	r.store.fail = func(op string, off, n int64) error {
		if off != 1024*512 || n > 128*512 {
			t.Errorf("read %d bytes at %d: that is not mapped", n, off)
		}
		return nil
	}
	r.good(cdb(form10, 0x2f, 0, 0, 8192), nil)
	if r.store.reads.Load() == 0 {
		t.Error("nothing was read")
	}
	r.store.fail = func(op string, off, n int64) error {
		return &backstore.Error{Op: op, Offset: 1100*512 + 77, Length: 20, Err: errors.New("scratch")}
	}
	a := r.refused(cdb(form10, 0x2f, 0, 0, 8192), nil, scsi.KeyMediumError, scsi.ASCUnrecoveredReadError)
	if a.information() != 1100 {
		t.Errorf("information %d, want block 1100", a.information())
	}
}

func TestWriteAndVerify(t *testing.T) {
	bothSizes(t, func(t *testing.T, r *rig) {
		size := r.device.blockSize
		for f, code := range writeAndVerifyForms {
			data := pattern(9*size, byte(f))
			r.good(cdb(f, code, bytchk01, 2, 9), data)
			r.wantContent(2, data)
			r.good(cdb(f, code, flagDPO, 2, 9), data)
			for _, reserved := range []byte{bytchk10, bytchk11} {
				r.refused(cdb(f, code, reserved, 2, 9), data, scsi.KeyIllegalRequest, scsi.ASCInvalidFieldInCDB).
					wantField(t, f.flagsByte(), 2)
			}
		}
		// A medium that does not hold what was written.
		r.device.Swap(backstore.Bind(liar{r.store}))
		for f, code := range writeAndVerifyForms {
			a := r.refused(cdb(f, code, bytchk01, 2, 9), pattern(9*size, 1), scsi.KeyMiscompare, scsi.ASCMiscompareDuringVerifyOperation)
			if a.information() != 5 {
				t.Errorf("information %d, want 5", a.information())
			}
			r.good(cdb(f, code, 0, 2, 9), pattern(9*size, 1))
		}
	})
}

// liar flips a bit of byte 5 of each write.
type liar struct{ *recorder }

func (s liar) WriteThroughAt(p []byte, off int64) (int, error) {
	p = bytes.Clone(p)
	p[5] ^= 1
	return s.recorder.WriteThroughAt(p, off)
}

func TestOrwrite(t *testing.T) {
	bothSizes(t, func(t *testing.T, r *rig) {
		size := r.device.blockSize
		blocks := uint64(scratchSize/size + 2)
		old, mask := pattern(int(blocks)*size, 0x11), pattern(int(blocks)*size, 0x77)
		r.good(cdb(form16, 0x8a, 0, 1, blocks), old)
		a := r.run(cdb(form16, 0x8b, 0, 1, blocks), mask)
		if a.status != scsi.Good || a.length != len(mask) {
			t.Errorf("%v, length %d", a.status, a.length)
		}
		for i := range old {
			old[i] |= mask[i]
		}
		r.wantContent(1, old)
	})
}
