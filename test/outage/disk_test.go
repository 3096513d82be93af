package outage

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

func newDisk(t *testing.T, size, unit int64) *Disk {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "disk"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	d, err := NewDisk(f, unit)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestDisk_Cut: a cut leaves what was flushed or written through, and of the rest, unit
// by unit, nothing or one of the things that were written.
func TestDisk_Cut(t *testing.T) {
	const unit, units = 512, 64
	d := newDisk(t, unit*units, unit)
	chances := rand.New(rand.NewPCG(1, 2))
	all := func(v byte) []byte { return bytes.Repeat([]byte{v}, unit*units) }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	read := func() []byte {
		t.Helper()
		p := make([]byte, unit*units)
		if _, err := d.ReadAt(p, 0); err != nil {
			t.Fatal(err)
		}
		return p
	}
	must(d.WriteAt(all(1), 0, false))
	must(d.Flush())
	must(d.WriteAt(all(2), 0, false))
	must(d.WriteAt(all(3), 0, false))
	must(d.WriteAt(all(4)[:unit], 0, true))
	if p := read(); p[0] != 4 || p[unit-1] != 4 || !bytes.Equal(p[unit:], all(3)[unit:]) {
		t.Fatal("what was written last is not read")
	}
	part := make([]byte, 100)
	if _, err := d.ReadAt(part, unit-50); err != nil || part[49] != 4 || part[50] != 3 {
		t.Fatalf("a read across units: %v, %v", part[49:51], err)
	}
	must(d.Cut(chances, 0.5))
	seen := map[byte]int{}
	p := read()
	if p[0] != 4 {
		t.Error("what was written through is lost")
	}
	for at := unit; at < len(p); at += unit {
		if !bytes.Equal(p[at:at+unit], all(p[at])[:unit]) {
			t.Fatalf("the unit at %d is a mixture", at)
		}
		seen[p[at]]++
	}
	if len(seen) != 3 || seen[1] == 0 || seen[2] == 0 || seen[3] == 0 {
		t.Errorf("units by what they hold: %v", seen)
	}
	must(d.WriteAt(all(9), 0, false))
	must(d.Cut(chances, 0))
	if bytes.ContainsRune(read(), 9) {
		t.Error("something survived that should not")
	}
	must(d.WriteAt(all(7)[:unit], unit/2, true)) // parts of two units
	if p := read(); p[0] != 4 || p[unit/2] != 7 || p[unit*3/2-1] != 7 || p[unit*3/2] == 7 {
		t.Error("a write of parts of units")
	}
	for _, bad := range []int64{-unit, unit * units, unit*units - 1} {
		if err := d.WriteAt(all(0)[:unit], bad, false); err == nil {
			t.Errorf("a write at %d", bad)
		}
	}
	gone := d.Strike(2)
	must(d.WriteAt(all(0)[:unit], 0, false))
	if err := d.Flush(); err == nil {
		t.Error("a flush when the power went was acknowledged")
	}
	<-gone
	if _, err := d.ReadAt(part, 0); err == nil {
		t.Error("a read without power")
	}
	must(d.Cut(chances, 0))
	if p := read(); p[0] != 4 {
		t.Error("the flush that was not acknowledged was carried out")
	}
}
