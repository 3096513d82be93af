package sbc

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/scsi"
)

func writeAtomic(flags byte, lba uint64, blocks uint16) []byte {
	c := make([]byte, 16)
	c[0], c[1] = 0x9c, flags
	binary.BigEndian.PutUint64(c[2:], lba)
	binary.BigEndian.PutUint16(c[12:], blocks)
	return c
}

func promising(atomic int) func(*Options, *recorder) {
	return func(_ *Options, s *recorder) { s.geometry = func(g *backstore.Geometry) { g.Atomic = atomic } }
}

// What VPD page B0h says of atomic writes is what the store promises, and what the command does.
func TestWriteAtomic_SBC4_5_48(t *testing.T) {
	bothSizes(t, func(t *testing.T, r *rig) {
		size := r.device.blockSize
		most := uint16(min(MaximumTransferLength/size, int(r.blocks)))
		limits := r.vpd(0xb0)[44:64]
		if got := binary.BigEndian.Uint32(limits); got != uint32(MaximumTransferLength/size) {
			t.Errorf("MAXIMUM ATOMIC TRANSFER LENGTH %d", got)
		}
		if !backstore.IsZero(limits[4:]) {
			t.Errorf("alignment, granularity, boundary: % x", limits[4:])
		}
		for _, blocks := range []uint16{1, 3, most - 1} {
			p := pattern(int(blocks)*size, byte(blocks))
			r.good(writeAtomic(0, 1, blocks), p)
			r.wantContent(1, p)
		}
		r.store.forget()
		r.good(writeAtomic(flagDPO|flagFUA, 0, 2), pattern(2*size, 77))
		r.wantNoted("write through")
		r.good(writeAtomic(0, 0, 0), nil)
		r.wantNoted()
	})
}

func TestWriteAtomic_Refusals_SBC4_5_48(t *testing.T) {
	r := newRig(t, promising(4096))
	limits := r.vpd(0xb0)[44:64]
	if want := []byte{0, 0, 0, 8, 0, 0, 0, 8}; !slices.Equal(limits[:8], want) || !backstore.IsZero(limits[8:]) {
		t.Errorf("limits of 4096 bytes: % x", limits)
	}
	r.good(writeAtomic(0, 8, 8), pattern(4096, 1))
	r.good(writeAtomic(0, 16, 3), pattern(1536, 2))
	r.store.forget()
	for _, c := range []struct {
		cdb    []byte
		out    int
		at     int
		code   scsi.SenseCode
		reason string
	}{
		{writeAtomic(0, 8, 9), 9, 12, scsi.ASCInvalidFieldInCDB, "longer than the store promises"},
		{writeAtomic(0, 9, 1), 1, 2, scsi.ASCInvalidFieldInCDB, "not aligned"},
		{writeAtomic(0x20, 8, 1), 1, 1, scsi.ASCInvalidFieldInCDB, "WRPROTECT"},
		{writeAtomic(0, r.blocks, 1), 1, 2, scsi.ASCLogicalBlockAddressOutOfRange, "beyond the end"},
		{writeAtomic(0, r.blocks, 0), 0, 2, scsi.ASCLogicalBlockAddressOutOfRange, "no blocks beyond the end"},
		{slices.Replace(writeAtomic(0, 8, 1), 11, 12, 1), 1, 11, scsi.ASCInvalidFieldInCDB, "an atomic boundary"},
	} {
		a := r.refused(c.cdb, make([]byte, c.out*512), scsi.KeyIllegalRequest, c.code)
		if at, _ := a.field(); at != c.at {
			t.Errorf("%s: the field pointer names byte %d, want %d", c.reason, at, c.at)
		}
	}
	// Of an initiator that promises less than the CDB asks for, nothing is written.
	r.refused(writeAtomic(0, 8, 8), make([]byte, 7*512), scsi.KeyIllegalRequest, scsi.ASCInvalidFieldInCommandInformationUnit)
	r.wantNoted()
	r.wantContent(8, pattern(4096, 1))

	protected := newRig(t, func(o *Options, _ *recorder) { o.ReadOnly = true })
	protected.refused(writeAtomic(0, 0, 1), make([]byte, 512), scsi.KeyDataProtect, scsi.ASCWriteProtected)
}

// A store that promises less than a block has no WRITE ATOMIC, and says so.
func TestWriteAtomic_WithoutPromise(t *testing.T) {
	for _, promise := range []int{0, 256} {
		r := newRig(t, promising(promise))
		r.refused(writeAtomic(0, 0, 1), make([]byte, 512), scsi.KeyIllegalRequest, scsi.ASCInvalidCommandOperationCode)
		if p := r.vpd(0xb0); !backstore.IsZero(p[44:64]) {
			t.Errorf("limits: % x", p[44:64])
		}
	}
	// Nor does one that is swapped in let anything through that it does not promise.
	r := newRig(t, nil)
	less := newRecorder(t, 4*mib)
	promising(0)(nil, less)
	r.device.Swap(backstore.Bind(less))
	r.refused(writeAtomic(0, 0, 1), make([]byte, 512), scsi.KeyIllegalRequest, scsi.ASCInvalidFieldInCDB)
}
