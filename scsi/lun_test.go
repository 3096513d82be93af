package scsi

import (
	"slices"
	"testing"
)

func TestLUN_SAM5_4_7_7(t *testing.T) {
	for _, test := range []struct {
		number int
		lun    LUN
	}{{0, 0}, {1, 0x0001 << 48}, {255, 0x00ff << 48}, {256, 0x4100 << 48}, {16383, 0x7fff << 48}} {
		if got := NewLUN(test.number); got != test.lun {
			t.Errorf("LUN %d is %016x, want %016x", test.number, uint64(got), uint64(test.lun))
		}
		if n, ok := test.lun.Number(); !ok || n != test.number {
			t.Errorf("%016x is LUN %d, %v", uint64(test.lun), n, ok)
		}
	}
	// A bus, the second level, and what is reserved.
	for _, l := range []LUN{0x0100 << 48, 0x0001_0001 << 32, 0x8000 << 48, 0xc101 << 48} {
		if n, ok := l.Number(); ok {
			t.Errorf("%016x is taken for LUN %d", uint64(l), n)
		}
		if got := l.String(); len(got) != 16 {
			t.Errorf("%016x is written %q", uint64(l), got)
		}
	}
	if got := NewLUN(300).String(); got != "300" {
		t.Errorf("LUN 300 is written %q", got)
	}
}

func TestUnitMap_SAM5_4_5_7(t *testing.T) {
	absent, one, two := &LogicalUnit{}, &LogicalUnit{}, &LogicalUnit{}
	given := map[LUN]*LogicalUnit{NewLUN(300): two, NewLUN(1): one}
	m := NewUnitMap(absent, given)
	given[NewLUN(2)] = two // the map is a copy
	if m.Find(NewLUN(1)) != one || m.Find(NewLUN(300)) != two || m.Find(NewLUN(2)) != absent {
		t.Error("a LUN finds the wrong unit")
	}
	if !m.Has(NewLUN(1)) || m.Has(NewLUN(2)) {
		t.Error("Has is wrong")
	}
	var luns []LUN
	m.Units(func(l LUN, lu *LogicalUnit) {
		if lu != m.Find(l) {
			t.Errorf("LUN %v comes with another unit", l)
		}
		luns = append(luns, l)
	})
	if want := []LUN{NewLUN(1), NewLUN(300)}; !slices.Equal(luns, want) || !slices.Equal(m.LUNs(), want) {
		t.Errorf("LUNs %v and %v, want %v", luns, m.LUNs(), want)
	}
}
