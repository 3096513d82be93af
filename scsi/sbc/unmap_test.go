package sbc

import (
	"encoding/binary"
	"testing"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/scsi"
)

func unmapCDB(listLength int) []byte {
	c := make([]byte, 10)
	c[0] = 0x42
	binary.BigEndian.PutUint16(c[7:], uint16(listLength))
	return c
}

// unmapParameters is a parameter list of {LBA, blocks} each.
func unmapParameters(ranges ...[2]uint64) []byte {
	p := make([]byte, 8)
	binary.BigEndian.PutUint16(p, uint16(6+16*len(ranges)))
	binary.BigEndian.PutUint16(p[2:], uint16(16*len(ranges)))
	for _, r := range ranges {
		p = binary.BigEndian.AppendUint64(p, r[0])
		p = binary.BigEndian.AppendUint32(p, uint32(r[1]))
		p = append(p, 0, 0, 0, 0)
	}
	return p
}

// state is the provisioning of one block of the store.
func (r *rig) state(lba uint64) backstore.ExtentState {
	r.t.Helper()
	e, err := r.store.ExtentAt(r.device.offset(lba), int64(r.device.blockSize))
	if err != nil {
		r.t.Fatal(err)
	}
	return e.State
}

func TestUnmap_GivesBackAndZeroes(t *testing.T) {
	bothSizes(t, func(t *testing.T, r *rig) {
		size := uint64(r.device.blockSize)
		granule := uint64(r.store.Geometry().Unmap) / size
		data := pattern(int(8*granule*size), 5)
		r.good(cdb(form16, 0x8a, 0, 0, 8*granule), data)
		// A whole granule, one that begins and ends within granules, and nothing.
		list := unmapParameters([2]uint64{0, granule}, [2]uint64{2*granule + 3, 2 * granule}, [2]uint64{1, 0})
		r.good(unmapCDB(len(list)), list)
		clear(data[:granule*size])
		clear(data[(2*granule+3)*size : (4*granule+3)*size])
		r.wantContent(0, data)
		for lba, want := range map[uint64]backstore.ExtentState{
			0: backstore.Deallocated, granule: backstore.Mapped, 2*granule + 3: backstore.Mapped,
			3 * granule: backstore.Deallocated, 4 * granule: backstore.Mapped,
		} {
			if got := r.state(lba); got != want {
				t.Errorf("block %d is %v, want %v", lba, got, want)
			}
		}
	})
}

// The parameter list (SBC-3 5.28.2): what is incomplete is ignored.
func TestUnmap_ParameterList_SBC3_5_28_2(t *testing.T) {
	r := newRig(t, nil)
	whole := unmapParameters([2]uint64{0, 128}, [2]uint64{256, 128})
	withLength := func(n int) []byte {
		p := append([]byte(nil), whole...)
		binary.BigEndian.PutUint16(p[2:], uint16(n))
		return p
	}
	fill := func() {
		r.good(cdb(form16, 0x8a, 0, 0, 512), pattern(512*512, 1))
		r.store.unmaps.Store(0)
	}
	for name, c := range map[string]struct {
		list   []byte
		length int
		unmaps int64
	}{
		"nothing":                      {nil, 0, 0},
		"a header":                     {withLength(0), 8, 0},
		"both":                         {whole, len(whole), 2},
		"length not a multiple of 16":  {withLength(31), len(whole), 1},
		"length beyond the list":       {withLength(0xfff0), len(whole), 2},
		"list cut in the second":       {whole, 39, 1},
		"length of one":                {withLength(16), len(whole), 1},
		"list cut before the first":    {whole, 23, 0},
		"descriptor length of nothing": {withLength(0), len(whole), 0},
	} {
		fill()
		r.good(unmapCDB(c.length), c.list)
		if got := r.store.unmaps.Load(); got != c.unmaps {
			t.Errorf("%s: %d descriptors, want %d", name, got, c.unmaps)
		}
	}
	r.refused(unmapCDB(7), whole, scsi.KeyIllegalRequest, scsi.ASCParameterListLengthError)
	r.refused(unmapCDB(40), whole[:30], scsi.KeyIllegalRequest, scsi.ASCParameterListLengthError)
}

func TestUnmap_ChecksAllBeforeAny(t *testing.T) {
	r := newRig(t, nil)
	data := pattern(4*mib, 1)
	if _, err := r.store.Store.WriteAt(data, 0); err != nil {
		t.Fatal(err)
	}
	list := unmapParameters([2]uint64{0, 128}, [2]uint64{r.blocks - 1, 2})
	a := r.refused(unmapCDB(len(list)), list, scsi.KeyIllegalRequest, scsi.ASCLogicalBlockAddressOutOfRange)
	a.wantField(t, -24, -1)
	if a.information() != int64(r.blocks) {
		t.Errorf("information %d, want %d", a.information(), r.blocks)
	}
	for _, lba := range []uint64{r.blocks + 1, 1 << 31, 1<<64 - 1} {
		list := unmapParameters([2]uint64{lba, 0})
		r.refused(unmapCDB(len(list)), list, scsi.KeyIllegalRequest, scsi.ASCLogicalBlockAddressOutOfRange)
	}
	list = unmapParameters([2]uint64{r.blocks, 0})
	r.good(unmapCDB(len(list)), list) // nothing, right behind the last block
	r.wantContent(0, data)
	r.wantNoted()
	anchor := unmapCDB(24)
	anchor[1] = 1
	r.refused(anchor, list, scsi.KeyIllegalRequest, scsi.ASCInvalidFieldInCDB).wantField(t, 1, 0)
}

func TestUnmap_MoreThanMaximum(t *testing.T) {
	r := newRig(t, func(_ *Options, s *recorder) { *s = *newRecorder(t, 8<<30) })
	most := uint64(maximumUnmapLength / 512)
	list := unmapParameters([2]uint64{0, most})
	r.good(unmapCDB(len(list)), list)
	list = unmapParameters([2]uint64{0, most}, [2]uint64{0, 1})
	r.store.forget()
	a := r.refused(unmapCDB(len(list)), list, scsi.KeyIllegalRequest, scsi.ASCInvalidFieldInParameterList)
	a.wantField(t, -32, -1)
	r.wantNoted()
}

// A store that cannot give back the space is overwritten, for LBPRZ was told.
func TestUnmap_SwappedMediumCannot(t *testing.T) {
	r := newRig(t, nil)
	other := newRecorder(t, 4*mib)
	other.features &^= backstore.CanUnmap | backstore.CanZero
	if old := r.device.Swap(backstore.Bind(other)); old == nil {
		t.Fatal("Swap did not give back the medium before")
	}
	r.store = other
	data := pattern(16*512, 1)
	r.good(write10(0, 16), data)
	list := unmapParameters([2]uint64{3, 5})
	r.good(unmapCDB(len(list)), list)
	clear(data[3*512 : 8*512])
	r.wantContent(0, data)
}

// A sparse image that is opened read-only cannot unmap, but is thin all the same:
// it has holes, and UNMAP is refused because it is write protected.
func TestThin_ReadOnlyMedium(t *testing.T) {
	r := newRig(t, func(_ *Options, s *recorder) {
		s.features &^= backstore.CanUnmap | backstore.CanZero
		s.geometry = func(g *backstore.Geometry) { g.ReadOnly, g.Unmap = true, 0 }
	})
	list := unmapParameters([2]uint64{0, 8})
	r.refused(unmapCDB(len(list)), list, scsi.KeyDataProtect, scsi.ASCWriteProtected)
	r.refused(cdb(form16, 0x93, flagUNMAP, 0, 8), make([]byte, 512), scsi.KeyDataProtect, scsi.ASCWriteProtected)
	if p := r.good(getLBAStatusCDB(0, 24), nil); p[20] != 1 {
		t.Errorf("GET LBA STATUS: % x: want the hole", p)
	}
	if p := r.device.logicalBlockProvisioning(); p[1] != 0xe4 || p[2] != 2 {
		t.Errorf("VPD page B2h: % x", p)
	}
}

func TestThick_HasNoUnmap(t *testing.T) {
	for name, change := range map[string]func(*Options, *recorder){
		"option": func(o *Options, _ *recorder) { o.Thin = false },
		"medium": func(_ *Options, s *recorder) { s.features &^= backstore.CanUnmap },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, change)
			list := unmapParameters([2]uint64{0, 8})
			r.refused(unmapCDB(len(list)), list, scsi.KeyIllegalRequest, scsi.ASCInvalidCommandOperationCode)
			for f, code := range writeSameForms {
				r.refused(cdb(f, code, flagUNMAP, 0, 8), make([]byte, 512), scsi.KeyIllegalRequest, scsi.ASCInvalidFieldInCDB).
					wantField(t, f.flagsByte(), 3)
			}
			r.wantNoted()
			if p := r.device.logicalBlockProvisioning(); p[1] != 0 || p[2] != 0 {
				t.Errorf("VPD page B2h of a thick unit: % x", p)
			}
			p := r.good([]byte{0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0}, nil)
			if p[14] != 0 {
				t.Errorf("READ CAPACITY (16) of a thick unit: byte 14 is %#x", p[14])
			}
			p = r.good(getLBAStatusCDB(0, 1000), nil)
			if len(p) != 24 || binary.BigEndian.Uint32(p[16:]) != uint32(r.blocks) || p[20] != 0 {
				t.Errorf("GET LBA STATUS of a thick unit: % x", p)
			}
		})
	}
}
