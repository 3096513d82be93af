package sbc

import (
	"encoding/binary"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/backstore/file"
)

// The Third-party Copy VPD page holds its descriptors in ascending order, each a
// multiple of four bytes, and names exactly the commands that the table has.
func TestThirdPartyCopyPage_SPC4_7_8_17(t *testing.T) {
	r := newRig(t, nil)
	page := slices.Clone(r.good([]byte{0x12, 1, 0x8f, 4, 0, 0}, nil))
	if int(binary.BigEndian.Uint16(page[2:]))+4 != len(page) {
		t.Fatalf("PAGE LENGTH %d of %d bytes", binary.BigEndian.Uint16(page[2:]), len(page))
	}
	found := map[uint16][]byte{}
	last := -1
	for p := page[4:]; len(p) > 0; {
		kind, n := binary.BigEndian.Uint16(p), int(binary.BigEndian.Uint16(p[2:]))
		if int(kind) <= last || n%4 != 0 {
			t.Errorf("descriptor %04X after %04X, with %d bytes", kind, last, n)
		}
		found[kind], p, last = p[4:4+n], p[4+n:], int(kind)
	}
	for kind, n := range map[uint16]int{0x0000: 32, 0x0001: 12, 0x0004: 28, 0x0008: 4, 0x000c: 4, 0x0106: 92, 0x0108: 196, 0x8001: 32} {
		if len(found[kind]) != n {
			t.Errorf("descriptor %04X has %d bytes, want %d", kind, len(found[kind]), n)
		}
	}
	var told, there []uint16
	for p := found[0x0001][1 : 1+found[0x0001][0]]; len(p) > 0; p = p[2+p[1]:] {
		for _, action := range p[2 : 2+p[1]] {
			told = append(told, uint16(p[0])<<8|uint16(action))
		}
	}
	for _, op := range r.unit.Operations() {
		if op.Opcode == 0x83 || op.Opcode == 0x84 {
			there = append(there, uint16(op.Opcode)<<8|op.ServiceAction)
		}
	}
	if !slices.Equal(told, there) {
		t.Errorf("the page names %04X, the table has %04X", told, there)
	}
	if inquiry := r.good([]byte{0x12, 0, 0, 0, 96, 0}, nil); inquiry[5]&0x08 == 0 {
		t.Error("3PC is not set")
	}
}

// Copies between image files take no more space than their source.
func TestCopyOfImageFiles(t *testing.T) {
	dir := t.TempDir()
	const size = 32 * mib
	open := func(name string) *file.Store {
		s, err := file.Open(file.Options{Path: filepath.Join(dir, name), Create: true, Size: size, Provisioning: file.Sparse})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s
	}
	cr := newCopyRig(t, 2, nil)
	for i, name := range []string{"a", "b"} {
		m := backstore.Bind(open(name))
		cr.rigs[i].device.Swap(m)
	}
	source, target := cr.rigs[0].device.Medium(), cr.rigs[1].device.Medium()
	data := pattern(mib, 3)
	for _, off := range []int64{0, 9 * mib, 31 * mib} {
		if _, err := source.WriteAt(data, off); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := target.WriteAt(pattern(8*mib, 7), 4*mib); err != nil {
		t.Fatal(err)
	}
	wantGood(t, cr.copies(cr.list(1, move{0, 1, 0, 0, 32768}, move{0, 1, 32768, 32768, 32768})))
	a, b := make([]byte, size), make([]byte, size)
	for _, x := range []struct {
		m *backstore.Medium
		p []byte
	}{{source, a}, {target, b}} {
		if _, err := x.m.ReadAt(x.p, 0); err != nil {
			t.Fatal(err)
		}
	}
	if i := difference(a, b); i >= 0 {
		t.Fatalf("the copy differs from byte %d on", i)
	}
	if err := target.Sync(); err != nil {
		t.Fatal(err)
	}
	var st syscall.Stat_t
	if err := syscall.Stat(filepath.Join(dir, "b"), &st); err != nil {
		t.Fatal(err)
	}
	if !target.Features().Has(backstore.CanUnmap) {
		t.Skip("this file system cannot give space back")
	}
	if held := st.Blocks * 512; held > 4*mib {
		t.Errorf("the copy of 3 MiB in 32 MiB holds %d KiB", held>>10)
	}
}
