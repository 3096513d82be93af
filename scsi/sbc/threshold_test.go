package sbc

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/backstore/file"
	"github.com/isantarget/isantarget/scsi"
)

// thin makes a rig upon a pool of 10 GiB of which 3 GiB are left and 1 GiB is its own.
func thin(t *testing.T, change func(*Options, *recorder)) *rig {
	return newRig(t, func(o *Options, s *recorder) {
		s.features |= backstore.TellsSpace
		s.space = func() (backstore.Space, error) {
			return backstore.Space{Pool: "p", Used: 1 << 30, Available: 3<<30 + 4096, Capacity: 10 << 30}, nil
		}
		if change != nil {
			change(o, s)
		}
	})
}

func logSenseOf(page byte, pointer uint16, length byte) []byte {
	return []byte{0x4d, 0, 0x40 | page, 0, 0, byte(pointer >> 8), byte(pointer), 0, length, 0}
}

// The Logical Block Provisioning log page (SBC-3 6.4), in sets of 2^exponent blocks.
func TestProvisioningLog_SBC3_6_4(t *testing.T) {
	for _, size := range []int{512, 4096} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			r := thin(t, func(o *Options, _ *recorder) { o.BlockSize = size })
			if p := r.vpd(0xb2); 1<<p[4]*size != 1<<20 {
				t.Errorf("THRESHOLD EXPONENT %d: sets of %d bytes", p[4], 1<<p[4]*size)
			}
			if p := r.good(logSenseOf(0, 0, 255), nil); !bytes.Equal(p, []byte{0, 0, 0, 3, 0, 0x0c, 0x2f}) {
				t.Errorf("supported log pages: % x", p)
			}
			available := []byte{0, 1, 3, 8, 0, 0, 0x0c, 0, 2, 0, 0, 0}
			used := []byte{0, 2, 3, 8, 0, 0, 4, 0, 1, 0, 0, 0}
			head := func(n byte) []byte { return []byte{0x8c, 0, 0, n} }
			if p := r.good(logSenseOf(0x0c, 0, 255), nil); !bytes.Equal(p, append(append(head(24), available...), used...)) {
				t.Errorf("% x", p)
			}
			if p := r.good(logSenseOf(0x0c, 2, 255), nil); !bytes.Equal(p, append(head(12), used...)) {
				t.Errorf("from parameter 2 on: % x", p)
			}
			r.refused(logSenseOf(0x0c, 3, 255), nil, scsi.KeyIllegalRequest, scsi.ASCInvalidFieldInCDB)
			r.store.space = func() (backstore.Space, error) { return backstore.Space{}, backstore.ErrGone }
			r.refused(logSenseOf(0x0c, 0, 255), nil, scsi.KeyNotReady, scsi.ASCLogicalUnitNotReadyManualInterventionRequired)
		})
	}
}

// The Logical Block Provisioning mode page (SBC-3 6.5) shows the thresholds of the moment, and refuses others.
func TestProvisioningPage_SBC3_6_5(t *testing.T) {
	r := thin(t, nil)
	sense := func(control byte) []byte {
		return r.good([]byte{0x5a, 0x08, control<<6 | 0x1c, 0x02, 0, 0, 0, 0, 255, 0}, nil)[8:]
	}
	want := func(control byte, available, used uint32) {
		t.Helper()
		p := make([]byte, 32)
		copy(p, []byte{0x5c, 2, 0, 28})
		p[17], p[25] = 1, 2
		for at, v := range map[int]uint32{16: available, 24: used} {
			if v > 0 {
				p[at] = 0x80
			}
			binary.BigEndian.PutUint32(p[at+4:], v)
		}
		p[24] |= 1 // armed increasing
		if got := sense(control); !bytes.Equal(got, p) {
			t.Errorf("PC %d:\n% x, want\n% x", control, got, p)
		}
	}
	want(0, 0, 0)
	if r.device.SetThresholds(Thresholds{Available: 2 << 30, Used: 3 << 20}) {
		t.Error("the first thresholds pass for a change")
	}
	want(0, 2048, 3)
	want(2, 2048, 3)
	if !r.device.SetThresholds(Thresholds{Available: 2 << 30}) || r.device.SetThresholds(Thresholds{Available: 2 << 30}) {
		t.Error("a change is not told from none")
	}
	want(0, 2048, 0)
	if p := sense(1); !bytes.Equal(p[4:], make([]byte, 28)) {
		t.Errorf("changeable: % x", p)
	}
	same := append(make([]byte, 8), sense(0)...)
	r.good([]byte{0x55, 0x10, 0, 0, 0, 0, 0, 0, byte(len(same)), 0}, same)
	same[8+23]++
	r.refused([]byte{0x55, 0x10, 0, 0, 0, 0, 0, 0, byte(len(same)), 0}, same, scsi.KeyIllegalRequest, scsi.ASCInvalidFieldInParameterList)
}

// LBPERE says whether somebody wants to hear of thresholds.
func TestErrorReporting_SBC3_6_5(t *testing.T) {
	r := thin(t, nil)
	page := r.good([]byte{0x5a, 0x08, 0x01, 0, 0, 0, 0, 0, 255, 0}, nil)[8:]
	if page[7] != 0x80 || !r.device.TellsThresholds() {
		t.Fatalf("the default: % x, %v", page, r.device.TellsThresholds())
	}
	page[7] = 0
	r.good([]byte{0x55, 0x10, 0, 0, 0, 0, 0, 0, 20, 0}, append(make([]byte, 8), page...))
	if r.device.TellsThresholds() {
		t.Error("LBPERE=0, and it tells of thresholds")
	}
}

// Who does not know his space has no thresholds: neither page nor exponent.
func TestNoThresholds(t *testing.T) {
	for name, r := range map[string]*rig{
		"unknown": newRig(t, nil),
		"thick":   thin(t, func(o *Options, _ *recorder) { o.Thin = false }),
	} {
		if p := r.vpd(0xb2); p[4] != 0 {
			t.Errorf("%s: THRESHOLD EXPONENT %d", name, p[4])
		}
		r.refused(logSenseOf(0x0c, 0, 255), nil, scsi.KeyIllegalRequest, scsi.ASCInvalidFieldInCDB)
		r.refused([]byte{0x5a, 0, 0x1c, 0x02, 0, 0, 0, 0, 255, 0}, nil, scsi.KeyIllegalRequest, scsi.ASCInvalidFieldInCDB)
		if p := r.good([]byte{0x5a, 0x08, 0x01, 0, 0, 0, 0, 0, 255, 0}, nil); p[8+7] != 0 || r.device.TellsThresholds() {
			t.Errorf("%s: LBPERE: % x", name, p)
		}
	}
}

// What the log page tells is what the image takes: written, and given back.
func TestProvisioningLogOfAFile(t *testing.T) {
	s, err := file.Open(file.Options{Path: filepath.Join(t.TempDir(), "image"), Create: true, Size: 64 * mib})
	if err != nil {
		t.Fatal(err)
	}
	m := backstore.Bind(s)
	d, err := New(Options{Medium: m, BlockSize: 512, WriteCache: true, Thin: true, DetectZeroes: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close(); _ = m.Close() })
	unit, err := scsi.NewLogicalUnit(scsi.Identity{Name: "test", Serial: "0123456789abcdef"}, d, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, unit: unit, device: d, blocks: 64 * mib / 512}
	r.nexus = r.attach("iqn.2026-11.test:one")
	used := func() uint32 { return binary.BigEndian.Uint32(r.good(logSenseOf(0x0c, 2, 255), nil)[8:]) }
	if n := used(); n != 0 {
		t.Errorf("a new image has %d sets", n)
	}
	for at := uint64(0); at < 8; at++ {
		r.good(write10(at*2048, 2048), pattern(mib, 1))
	}
	r.good([]byte{0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0}, nil) // with delayed allocation it takes nothing until then
	if n := used(); n < 8 || n > 9 {
		t.Errorf("after 8 MiB it has %d sets of 1 MiB", n)
	}
	for at := uint64(0); at < 4; at++ { // half of it by zeros that are written
		r.good(write10(at*2048, 2048), make([]byte, mib))
	}
	if n := used(); n < 4 || n > 5 {
		t.Errorf("after 4 MiB of zeros it has %d sets", n)
	}
	if got := r.good(read10(2048, 8), nil); !bytes.Equal(got, make([]byte, 4096)) {
		t.Error("zeros that were written do not read as zeros")
	}
	r.good(cdb(form16, 0x93, flagUNMAP|flagNDOB, 0, 8*2048), nil)
	if n := used(); n != 0 {
		t.Errorf("after it was given back it has %d sets", n)
	}
}
