package sbc

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/scsi"
)

func (r *rig) vpd(code byte) []byte {
	r.t.Helper()
	p := r.good([]byte{0x12, 1, code, 1, 0, 0}, nil)
	if p[1] != code || int(binary.BigEndian.Uint16(p[2:]))+4 != len(p) {
		r.t.Fatalf("VPD page %02Xh: % x", code, p)
	}
	return p
}

func TestBlockLimits(t *testing.T) {
	bothSizes(t, func(t *testing.T, r *rig) {
		size := r.device.blockSize
		p := r.vpd(0xb0)
		if len(p) != 64 {
			t.Errorf("%d bytes, want 64", len(p))
		}
		for at, want := range map[int]int{
			8: MaximumTransferLength / size, 16: 0, 20: maximumUnmapLength / size, 24: 4094 + 1,
			28: r.store.Geometry().Unmap / size, 32: 1 << 31, 36: 0, 40: maximumWriteSameLength / size,
		} {
			if got := int(binary.BigEndian.Uint32(p[at:])); got != want {
				t.Errorf("byte %d: %d, want %d", at, got, want)
			}
		}
		if p[4] != 0 || p[5] != 255 {
			t.Errorf("WSNZ %d, MAXIMUM COMPARE AND WRITE LENGTH %d: want 0 and 255", p[4], p[5])
		}
	})
	thick := newRig(t, func(o *Options, s *recorder) {
		o.Thin = false
		s.geometry = func(g *backstore.Geometry) { g.Physical, g.Optimal = 4096, 1<<20 }
	})
	p := thick.vpd(0xb0)
	if !bytes.Equal(p[20:36], make([]byte, 16)) {
		t.Errorf("UNMAP limits of a thick unit: % x", p[20:36])
	}
	if p[7] != 8 || binary.BigEndian.Uint32(p[12:]) != 2048 {
		t.Errorf("optimal transfer: granularity %d, length %d", p[7], binary.BigEndian.Uint32(p[12:]))
	}
}

func TestBlockDeviceCharacteristics(t *testing.T) {
	p := newRig(t, nil).vpd(0xb1)
	if len(p) != 64 || p[4] != 0 || p[5] != 1 || p[8] != 0x03 {
		t.Errorf("% x", p)
	}
	p = newRig(t, func(_ *Options, s *recorder) {
		s.geometry = func(g *backstore.Geometry) { g.Rotational = true }
	}).vpd(0xb1)
	if p[4] != 0 || p[5] != 0 {
		t.Errorf("a disk that turns: rotation rate %d", p[5])
	}
}

func TestLogicalBlockProvisioning(t *testing.T) {
	if p := newRig(t, nil).vpd(0xb2); !bytes.Equal(p[4:], []byte{0, 0xe4, 2, 0}) {
		t.Errorf("thin: % x", p)
	}
	noisy := newRig(t, func(_ *Options, s *recorder) { s.features &^= backstore.ReadsZeros })
	if p := noisy.vpd(0xb2); !bytes.Equal(p[4:], []byte{0, 0xe0, 2, 0}) {
		t.Errorf("unmapped blocks do not read as zeros: % x", p)
	}
}

func TestReadCapacity(t *testing.T) {
	capacity10 := []byte{0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	capacity16 := func(allocation byte) []byte {
		return []byte{0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, allocation, 0, 0}
	}
	for _, c := range []struct {
		size                int64
		block, physical     int
		last                uint64
		last32              uint32
		exponent, provision byte
		change              func(*recorder)
	}{
		{4 * mib, 512, 0, 8191, 8191, 0, 0xc0, nil},
		{4 * mib, 512, 4096, 8191, 8191, 3, 0xc0, nil},
		{4 * mib, 4096, 4096, 1023, 1023, 0, 0xc0, nil},
		{4*mib + 513, 512, 512, 8192, 8192, 0, 0xc0, nil}, // what is no block is not told
		{512 << 32, 512, 512, 1<<32 - 1, 1<<32 - 1, 0, 0xc0, nil},
		{64 << 40, 512, 512, 1<<37 - 1, 1<<32 - 1, 0, 0xc0, nil},
		{4 * mib, 512, 0, 8191, 8191, 5, 0x80, func(s *recorder) {
			s.features &^= backstore.ReadsZeros
			s.geometry = func(g *backstore.Geometry) { g.Physical = 16384 }
		}},
		{4 * mib, 4096, 0, 1023, 1023, 0, 0xc0, func(s *recorder) {
			s.geometry = func(g *backstore.Geometry) { g.Physical = 512 }
		}},
	} {
		r := newRig(t, func(o *Options, s *recorder) {
			*s = *newRecorder(t, c.size)
			o.BlockSize, o.PhysicalBlockSize = c.block, c.physical
			if c.change != nil {
				c.change(s)
			}
		})
		p := r.good(capacity10, nil)
		if len(p) != 8 || binary.BigEndian.Uint32(p) != c.last32 || binary.BigEndian.Uint32(p[4:]) != uint32(c.block) {
			t.Errorf("READ CAPACITY (10) of %d bytes: % x", c.size, p)
		}
		p = r.good(capacity16(255), nil)
		if len(p) != 32 || binary.BigEndian.Uint64(p) != c.last || binary.BigEndian.Uint32(p[8:]) != uint32(c.block) ||
			p[12] != 0 || p[13] != c.exponent || p[14] != c.provision || p[15] != 0 {
			t.Errorf("READ CAPACITY (16) of %d bytes: % x", c.size, p)
		}
		for _, allocation := range []byte{0, 1, 12, 31, 32} {
			if got := r.good(capacity16(allocation), nil); !bytes.Equal(got, p[:allocation]) {
				t.Errorf("allocation length %d: % x", allocation, got)
			}
		}
		bytes10, bytes16 := r.device.BlockDescriptor(false), r.device.BlockDescriptor(true)
		if n := binary.BigEndian.Uint32(bytes10); n != uint32(min(c.last+1, 1<<32-1)) || binary.BigEndian.Uint32(bytes10[4:]) != uint32(c.block) {
			t.Errorf("short block descriptor: % x", bytes10)
		}
		if binary.BigEndian.Uint64(bytes16) != c.last+1 || binary.BigEndian.Uint32(bytes16[12:]) != uint32(c.block) {
			t.Errorf("long block descriptor: % x", bytes16)
		}
	}
}

func TestReadDefectData(t *testing.T) {
	r := newRig(t, nil)
	for format := byte(0); format < 7; format++ {
		want := []byte{0, 0x18 | format, 0, 0, 0, 0, 0, 0}
		if p := r.good([]byte{0x37, 0, 0x18 | format, 0, 0, 0, 0, 0, 200, 0}, nil); !bytes.Equal(p, want[:4]) {
			t.Errorf("READ DEFECT DATA (10): % x", p)
		}
		if p := r.good([]byte{0xb7, 0x18 | format, 0, 0, 0, 0, 0, 0, 0, 200, 0, 0}, nil); !bytes.Equal(p, want) {
			t.Errorf("READ DEFECT DATA (12): % x", p)
		}
	}
	r.refused([]byte{0x37, 0, 7, 0, 0, 0, 0, 0, 200, 0}, nil, scsi.KeyIllegalRequest, scsi.ASCInvalidFieldInCDB).wantField(t, 2, 2)
	r.refused([]byte{0xb7, 7, 0, 0, 0, 0, 0, 0, 0, 200, 0, 0}, nil, scsi.KeyIllegalRequest, scsi.ASCInvalidFieldInCDB).wantField(t, 1, 2)
}

func TestModeSense_Caching(t *testing.T) {
	for _, on := range []bool{true, false} {
		r := newRig(t, func(o *Options, _ *recorder) { o.WriteCache = on })
		p := r.good([]byte{0x1a, 0x08, 0x08, 0, 255, 0}, nil)
		if wce := p[4+2]&4 != 0; wce != on || p[4] != 0x08 || p[5] != 18 {
			t.Errorf("WCE %v: % x", on, p)
		}
		if p[2] != 0x10 {
			t.Errorf("device-specific parameter %#x, want DPOFUA", p[2])
		}
	}
}

func TestNew_Refuses(t *testing.T) {
	small := backstore.Bind(newRecorder(t, 511))
	for name, o := range map[string]Options{
		"no block size":          {},
		"odd block size":         {BlockSize: 520},
		"physical below logical": {BlockSize: 4096, PhysicalBlockSize: 512},
		"physical no power":      {BlockSize: 512, PhysicalBlockSize: 1536},
		"physical out of reach":  {BlockSize: 512, PhysicalBlockSize: 512 << 16},
		"medium too small":       {BlockSize: 512, Medium: small},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
