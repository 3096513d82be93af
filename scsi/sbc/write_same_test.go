package sbc

import (
	"bytes"
	"testing"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/scsi"
)

func TestWriteSame_Repeats(t *testing.T) {
	bothSizes(t, func(t *testing.T, r *rig) {
		size := r.device.blockSize
		for f, code := range writeSameForms {
			for _, blocks := range []uint64{1, 2, 3, uint64(scratchSize/size) + 5} {
				old := bytes.Repeat([]byte{0xee}, int(r.store.size))
				if _, err := r.store.Store.WriteAt(old, 0); err != nil {
					t.Fatal(err)
				}
				for _, flags := range []byte{0, flagUNMAP} { // not zeros: written all the same
					block := pattern(size, byte(f)+flags)
					a := r.run(cdb(f, code, flags, 4, blocks), block)
					if a.status != scsi.Good || a.length != size {
						t.Fatalf("form %d: %v, length %d, %s", f, a.status, a.length, a.describe())
					}
					copy(old[4*size:], bytes.Repeat(block, int(blocks)))
					r.wantContent(0, old)
				}
			}
		}
	})
}

// Zeros are zeroed by the store; with UNMAP the space comes back, without it stays.
func TestWriteSame_Zeros(t *testing.T) {
	bothSizes(t, func(t *testing.T, r *rig) {
		size := uint64(r.device.blockSize)
		granule := uint64(r.store.Geometry().Unmap) / size
		for f, code := range writeSameForms {
			for _, flags := range []byte{0, flagUNMAP, flagNDOB, flagNDOB | flagUNMAP} {
				block := make([]byte, size)
				if flags&flagNDOB != 0 {
					if block = nil; f == form10 {
						continue
					}
				}
				data := pattern(int(4*granule*size), 1)
				r.good(cdb(form16, 0x8a, 0, 0, 4*granule), data)
				a := r.run(cdb(f, code, flags, 1, 3*granule), block)
				if a.status != scsi.Good || a.length != len(block) {
					t.Fatalf("form %d, flags %#x: %v, length %d, %s", f, flags, a.status, a.length, a.describe())
				}
				clear(data[size : (1+3*granule)*size])
				r.wantContent(0, data)
				want := backstore.Mapped
				if flags&flagUNMAP != 0 {
					want = backstore.Deallocated
				}
				if got := r.state(granule); got != want {
					t.Errorf("form %d, flags %#x: block %d is %v, want %v", f, flags, granule, got, want)
				}
			}
		}
	})
}

// WSNZ=0: no blocks means all up to the end.
func TestWriteSame_ZeroBlocks(t *testing.T) {
	bothSizes(t, func(t *testing.T, r *rig) {
		size := r.device.blockSize
		for f, code := range writeSameForms {
			block := pattern(size, byte(f))
			r.good(cdb(f, code, 0, r.blocks-5, 0), block)
			r.wantContent(r.blocks-5, bytes.Repeat(block, 5))
		}
	})
}

func TestWriteSame_MoreThanMaximum(t *testing.T) {
	r := newRig(t, func(_ *Options, s *recorder) { *s = *newRecorder(t, 2<<30) })
	most := uint64(maximumWriteSameLength / 512)
	r.good(cdb(form16, 0x93, flagNDOB|flagUNMAP, 0, most), nil)
	r.store.forget()
	for _, blocks := range []uint64{most + 1, 0} {
		r.refused(cdb(form16, 0x93, flagNDOB, 0, blocks), nil, scsi.KeyIllegalRequest, scsi.ASCInvalidFieldInCDB).wantField(t, 10, -1)
	}
	r.wantNoted()
}

// The Data-Out is one block, no more and no less.
func TestWriteSame_DataOutLength(t *testing.T) {
	bothSizes(t, func(t *testing.T, r *rig) {
		size := r.device.blockSize
		for f, code := range writeSameForms {
			for _, promised := range []int{0, 1, size / 2, size - 1, size + 1, 2 * size} {
				r.refused(cdb(f, code, flagUNMAP, 0, 8), make([]byte, promised), scsi.KeyIllegalRequest, scsi.ASCInvalidFieldInCommandInformationUnit)
			}
		}
		r.wantNoted()
	})
}

func TestWriteSame_AnchorIsRefused(t *testing.T) {
	r := newRig(t, nil)
	for f, code := range writeSameForms {
		r.refused(cdb(f, code, 0x10|flagUNMAP, 0, 8), make([]byte, 512), scsi.KeyIllegalRequest, scsi.ASCInvalidFieldInCDB).
			wantField(t, f.flagsByte(), 4)
	}
	r.refused(cdb(form10, 0x41, flagNDOB, 0, 8), make([]byte, 512), scsi.KeyIllegalRequest, scsi.ASCInvalidFieldInCDB).wantField(t, 1, 0)
}
