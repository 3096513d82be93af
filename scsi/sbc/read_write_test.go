package sbc

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/scsi"
)

// The families in all their forms: the code of each form is the operation code,
// or the service action in the 32-byte form.
var (
	readForms           = map[form]byte{form6: 0x08, form10: 0x28, form12: 0xa8, form16: 0x88, form32: 0x09}
	writeForms          = map[form]byte{form6: 0x0a, form10: 0x2a, form12: 0xaa, form16: 0x8a, form32: 0x0b}
	writeAndVerifyForms = map[form]byte{form10: 0x2e, form12: 0xae, form16: 0x8e, form32: 0x0c}
	verifyForms         = map[form]byte{form10: 0x2f, form12: 0xaf, form16: 0x8f, form32: 0x0a}
	writeSameForms      = map[form]byte{form10: 0x41, form16: 0x93, form32: 0x0d}
)

func TestReadWrite_EachForm(t *testing.T) {
	bothSizes(t, func(t *testing.T, r *rig) {
		for f, code := range writeForms {
			for rf, readCode := range readForms {
				seed := byte(f)*7 + byte(rf)
				data := pattern(5*r.device.blockSize, seed)
				r.good(cdb(f, code, 0, 3, 5), data)
				r.wantContent(3, data)
				if got := r.good(cdb(rf, readCode, 0, 3, 5), nil); !bytes.Equal(got, data) {
					t.Errorf("written with %d-byte CDB, read with %d-byte CDB: other data", f, rf)
				}
			}
		}
	})
}

func TestReadWrite_SixByteZeroMeans256(t *testing.T) {
	r := newRig(t, nil)
	data := pattern(256*512, 9)
	r.good(cdb(form6, 0x0a, 0, 1, 0), data)
	r.wantContent(1, data)
	a := r.run(cdb(form6, 0x08, 0, 1, 0), nil)
	if a.length != 256*512 || !bytes.Equal(a.in, data) {
		t.Errorf("READ (6) of 0 blocks: %d bytes, want 256 blocks", a.length)
	}
}

func TestReadWrite_ZeroBlocks(t *testing.T) {
	r := newRig(t, nil)
	for f, code := range readForms {
		if f != form6 {
			if a := r.run(cdb(f, code, 0, 7, 0), nil); a.status != scsi.Good || a.length != 0 || a.in != nil {
				t.Errorf("read of no blocks: %+v", a)
			}
		}
	}
	for f, code := range writeForms {
		if f != form6 {
			r.good(cdb(f, code, 0, 7, 0), nil)
		}
	}
	r.wantNoted()
}

// Each command of blocks refuses what lies beyond the end, names the first block
// that is not there, and touches nothing (SBC-3 4.18).
func TestOutOfRange_SBC3_4_18(t *testing.T) {
	bothSizes(t, func(t *testing.T, r *rig) {
		fill := bytes.Repeat([]byte{0xa5}, int(r.store.size))
		if _, err := r.store.Store.WriteAt(fill, 0); err != nil {
			t.Fatal(err)
		}
		type family struct {
			forms map[form]byte
			flags byte
		}
		for name, fam := range map[string]family{
			"READ": {readForms, 0}, "WRITE": {writeForms, 0}, "WRITE AND VERIFY": {writeAndVerifyForms, 2},
			"VERIFY": {verifyForms, 2}, "WRITE SAME": {writeSameForms, 0}, "ORWRITE": {map[form]byte{form16: 0x8b}, 0},
			"SYNCHRONIZE CACHE": {map[form]byte{form10: 0x35, form16: 0x91}, 0},
			"PRE-FETCH":         {map[form]byte{form10: 0x34, form16: 0x90}, 0},
		} {
			for f, code := range fam.forms {
				for _, at := range []struct{ lba, blocks, first uint64 }{
					{r.blocks - 1, 2, r.blocks}, {r.blocks, 1, r.blocks}, {r.blocks + 5, 1, r.blocks + 5},
					{r.blocks - 1, 255, r.blocks}, {r.blocks, 0, r.blocks}, {1<<32 - 1, 1, 1<<32 - 1},
					{1<<64 - 1, 255, 1<<64 - 1}, {1<<63 + 1, 1, 1<<63 + 1},
				} {
					if f == form6 && at.lba > 1<<21-1 || f < form16 && at.lba > 1<<32-1 {
						continue
					}
					a := r.refused(cdb(f, code, fam.flags, at.lba, at.blocks), make([]byte, 255*r.device.blockSize),
						scsi.KeyIllegalRequest, scsi.ASCLogicalBlockAddressOutOfRange)
					a.wantField(t, f.lbaByte(), -1)
					if at.first < 1<<32 && a.information() != int64(at.first) {
						t.Errorf("%s (%d): information %d, want %d", name, f, a.information(), at.first)
					}
				}
			}
		}
		if !bytes.Equal(r.content(0, r.blocks), fill) {
			t.Error("a refused command changed the medium")
		}
	})
}

func TestTransferLength_AboveMaximum(t *testing.T) {
	r := newRig(t, func(_ *Options, s *recorder) { *s = *newRecorder(t, 16*mib) })
	most := uint64(MaximumTransferLength / 512)
	r.good(cdb(form16, 0x88, 0, 0, most), nil)
	for _, forms := range []map[form]byte{readForms, writeForms, writeAndVerifyForms, {form16: 0x8b}} {
		for f, code := range forms {
			if f != form6 {
				a := r.refused(cdb(f, code, 0, 0, most+1), make([]byte, (most+1)*512), scsi.KeyIllegalRequest, scsi.ASCInvalidFieldInCDB)
				a.wantField(t, f.blocksByte(), -1)
			}
		}
	}
	for f, code := range verifyForms {
		r.good(cdb(f, code, 0, 0, most+1), nil) // moves nothing
		a := r.refused(cdb(f, code, 2, 0, most+1), make([]byte, (most+1)*512), scsi.KeyIllegalRequest, scsi.ASCInvalidFieldInCDB)
		a.wantField(t, f.blocksByte(), -1)
	}
}

// Without protection information the protection field must be zero, in every form.
func TestProtectionField_SBC3_4_22(t *testing.T) {
	r := newRig(t, nil)
	for _, forms := range []map[form]byte{readForms, writeForms, writeAndVerifyForms, verifyForms, writeSameForms, {form16: 0x8b}} {
		for f, code := range forms {
			for protect := byte(1); protect < 8 && f != form6; protect++ {
				r.refused(cdb(f, code, protect<<5, 0, 1), make([]byte, 512), scsi.KeyIllegalRequest, scsi.ASCInvalidFieldInCDB)
			}
		}
	}
	r.wantNoted()
}

// The initiator's expected data transfer length against the CDB's: what is moved,
// and the length from which the port computes the residual.
func TestRead_ExpectsLess(t *testing.T) {
	bothSizes(t, func(t *testing.T, r *rig) {
		size := r.device.blockSize
		data := pattern(2*size, 3)
		r.good(write10(0, 2), data)
		for _, expected := range []int{0, 1, 200, size, size + 7, 2 * size, 3 * size} {
			a := r.start(r.nexus, read10(0, 2), nil, expected).answer()
			if a.status != scsi.Good || a.length != 2*size || !bytes.Equal(a.in, data[:min(expected, 2*size)]) {
				t.Errorf("expecting %d bytes: %v, length %d, %d bytes", expected, a.status, a.length, len(a.in))
			}
		}
	})
}

func TestWrite_PromisesLess(t *testing.T) {
	bothSizes(t, func(t *testing.T, r *rig) {
		size := r.device.blockSize
		old := bytes.Repeat([]byte{0xaa}, 4*size)
		for _, forms := range []map[form]byte{writeForms, writeAndVerifyForms, {form16: 0x8b}} {
			for f, code := range forms {
				for _, promised := range []int{0, size, 2 * size, 3 * size} {
					if _, err := r.store.Store.WriteAt(old, 0); err != nil {
						t.Fatal(err)
					}
					data := bytes.Repeat([]byte{0xff}, promised)
					a := r.run(cdb(f, code, 0, 0, 2), data)
					if a.status != scsi.Good || a.length != 2*size {
						t.Errorf("form %d, %d bytes promised: %v, length %d, %s", f, promised, a.status, a.length, a.describe())
					}
					written := min(promised, 2*size)
					r.wantContent(0, append(bytes.Clone(data[:written]), old[written:]...))
				}
			}
		}
	})
}

// A part of a block cannot be written: nothing is, and the initiator hears of it.
func TestWrite_PromisesPartOfBlock(t *testing.T) {
	bothSizes(t, func(t *testing.T, r *rig) {
		size := r.device.blockSize
		old := bytes.Repeat([]byte{0xaa}, 4*size)
		r.good(write10(0, 4), old)
		r.store.forget()
		for _, promised := range []int{200, size - 1, size + 1} {
			a := r.refused(write10(0, 2), make([]byte, promised), scsi.KeyIllegalRequest, scsi.ASCInvalidFieldInCommandInformationUnit)
			if a.length != 2*size {
				t.Errorf("length %d, want %d for the residual", a.length, 2*size)
			}
		}
		r.wantNoted()
		r.wantContent(0, old)
	})
}

func TestFUA_ReachesStore(t *testing.T) {
	r := newRig(t, nil)
	data := pattern(512, 1)
	for f, code := range writeForms {
		if f == form6 {
			r.good(cdb(f, code, 0, 0, 1), data)
			r.wantNoted("write") // its operation code has the bit at which others have FUA
			continue
		}
		r.good(cdb(f, code, 0, 0, 1), data)
		r.wantNoted("write")
		r.good(cdb(f, code, flagDPO, 0, 1), data)
		r.wantNoted("write")
		r.good(cdb(f, code, flagFUA, 0, 1), data)
		r.wantNoted("write through")
	}
	for f, code := range readForms {
		if f != form6 {
			r.good(cdb(f, code, flagFUA, 0, 1), nil)
			r.wantNoted("sync")
		}
		r.good(cdb(f, code, 0, 0, 1), nil)
		r.wantNoted()
	}
	r.good(cdb(form16, 0x8b, flagFUA, 0, 1), data)
	r.wantNoted("write", "sync")
	for f, code := range writeAndVerifyForms {
		r.good(cdb(f, code, 0, 0, 1), data)
		r.wantNoted("write through")
	}
}

// FUA_NV and RARC are not in the usage data.
func TestRead_ObsoleteBits(t *testing.T) {
	r := newRig(t, nil)
	for bit := range 3 {
		a := r.refused(cdb(form10, 0x28, 1<<bit, 0, 1), nil, scsi.KeyIllegalRequest, scsi.ASCInvalidFieldInCDB)
		a.wantField(t, 1, bit)
	}
}

func TestWriteCacheOff_EveryWriteIsDurable(t *testing.T) {
	r := newRig(t, func(o *Options, _ *recorder) { o.WriteCache = false })
	r.store.forget()
	data := pattern(512, 1)
	for f, code := range writeForms {
		r.good(cdb(f, code, 0, 0, 1), data)
		r.wantNoted("write through")
	}
	r.good(cdb(form10, 0x41, 0, 0, 4), data)
	r.wantNoted("write", "sync")
	r.good(cdb(form10, 0x41, 0, 0, 4), make([]byte, 512))
	r.wantNoted("zero", "sync")
	r.good(unmapCDB(24), unmapParameters([2]uint64{0, 8}))
	r.wantNoted("unmap", "sync")
	r.good(cdb(form16, 0x8b, 0, 0, 1), data)
	r.wantNoted("write", "sync")
}

// MODE SELECT turns the cache off: what is in it is written first, and if that
// fails it stays on.
func TestWriteCache_TurnedOff(t *testing.T) {
	r := newRig(t, nil)
	page := r.device.caching()
	off, on := make([]byte, 20), bytes.Clone(page.Default)
	if on[2] != 4 || page.Changeable[2] != 4 {
		t.Fatalf("WCE: default %#x, changeable %#x", on[2], page.Changeable[2])
	}
	r.good(write10(0, 1), pattern(512, 1))
	r.wantNoted("write")
	broken := fmt.Errorf("the cable is out")
	r.store.fail = func(op string, _, _ int64) error { return broken }
	if err := page.Apply(off); err == nil {
		t.Error("the cache could not be written, but was turned off")
	}
	r.store.fail = nil
	r.wantNoted("sync")
	if err := r.device.Trust(); err != nil { // what was written before may be lost
		t.Fatal(err)
	}
	r.wantNoted("sync")
	r.good(write10(0, 1), pattern(512, 1))
	r.wantNoted("write")
	if err := page.Apply(off); err != nil {
		t.Error(err)
	}
	r.wantNoted("sync")
	r.good(write10(0, 1), pattern(512, 1))
	r.wantNoted("write through")
	if err := page.Apply(on); err != nil {
		t.Error(err)
	}
	r.good(write10(0, 1), pattern(512, 1))
	r.wantNoted("write")
}

func TestReadOnly(t *testing.T) {
	for name, change := range map[string]func(*Options, *recorder){
		"option": func(o *Options, _ *recorder) { o.ReadOnly = true },
		"medium": func(_ *Options, s *recorder) {
			s.geometry = func(g *backstore.Geometry) { g.ReadOnly = true }
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, change)
			if r.device.ModeParameterHeader() != 0x90 {
				t.Errorf("device-specific parameter %#x: want WP and DPOFUA", r.device.ModeParameterHeader())
			}
			block := make([]byte, 512)
			for _, c := range [][]byte{
				cdb(form6, 0x0a, 0, 0, 1), write10(0, 1), cdb(form16, 0x8a, 0, 0, 1), cdb(form10, 0x2e, 0, 0, 1),
				cdb(form10, 0x41, 0, 0, 1), cdb(form16, 0x93, 9, 0, 1), cdb(form16, 0x8b, 0, 0, 1), unmapCDB(24), {4, 0, 0, 0, 0, 0},
			} {
				r.refused(c, block, scsi.KeyDataProtect, scsi.ASCWriteProtected)
			}
			r.good(read10(0, 1), nil)
			r.good(cdb(form10, 0x35, 0, 0, 0), nil)
			for _, op := range r.store.noted() {
				if op != "sync" {
					t.Errorf("a read-only store was asked to %s", op)
				}
			}
		})
	}
}

// A read that only copies a little is done by whoever calls Execute; a long one
// does not keep it from the next command.
func TestLongReadsLeaveTheCaller(t *testing.T) {
	r := newRig(t, nil)
	r.fill(7, 0, mib)
	for _, blocks := range []uint64{8, longRead/512 - 1, longRead / 512, longRead/512 + 1} {
		x := r.start(r.nexus, read10(3, blocks), nil, MaximumTransferLength)
		a := x.answer()
		if a.status != scsi.Good || !bytes.Equal(a.in, r.content(3, blocks)) {
			t.Errorf("%d blocks: %v, %d bytes", blocks, a.status, len(a.in))
		}
		if alone, want := x.command.MayBlock, blocks*512 >= longRead; alone != want {
			t.Errorf("%d blocks: on a goroutine of its own: %v, want %v", blocks, alone, want)
		}
	}
}
