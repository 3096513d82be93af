package iscsi

import "testing"

func TestSerialNumber_RFC7143_4_2_2_1(t *testing.T) {
	for _, c := range []struct {
		s, t      SerialNumber
		less, leq bool
	}{
		{1, 1, false, true},
		{1, 2, true, true},
		{2, 1, false, false},
		{0xffffffff, 0, true, true},
		{0, 0xffffffff, false, false},
		{0xfffffff0, 0x10, true, true},
		{0, 0x7fffffff, true, true},
		{0x7fffffff, 0, false, false},
		{0, 0x80000000, false, false}, // neither is less: RFC 1982 3.2 leaves it undefined
		{0x80000000, 0, false, false},
		{0x80000001, 0, true, true},
	} {
		if got := c.s.Less(c.t); got != c.less {
			t.Errorf("%#x.Less(%#x) = %v", uint32(c.s), uint32(c.t), got)
		}
		if got := c.s.LessEqual(c.t); got != c.leq {
			t.Errorf("%#x.LessEqual(%#x) = %v", uint32(c.s), uint32(c.t), got)
		}
	}
}

func TestSerialNumberInWindow_RFC7143_4_2_2_1(t *testing.T) {
	for _, c := range []struct {
		s, first, last SerialNumber
		want           bool
	}{
		{5, 5, 5, true},
		{4, 5, 5, false},
		{6, 5, 5, false},
		{5, 5, 4, false}, // a closed window holds nothing
		{4, 5, 4, false},
		{0xffffffff, 0xfffffffe, 3, true},
		{0, 0xfffffffe, 3, true},
		{3, 0xfffffffe, 3, true},
		{4, 0xfffffffe, 3, false},
		{0xfffffffd, 0xfffffffe, 3, false},
		{0, 0, 0xffffffff, false}, // closed as well: last = first-1
		{10, 20, 5, false},        // "last" far below first is no window
	} {
		if got := c.s.InWindow(c.first, c.last); got != c.want {
			t.Errorf("%#x in [%#x, %#x]: %v", uint32(c.s), uint32(c.first), uint32(c.last), got)
		}
	}
}

// Of two different numbers less than 2**31 apart exactly one is less, wherever zero lies.
func FuzzSerialNumber(f *testing.F) {
	f.Add(uint32(0xffffffff), uint32(1))
	f.Add(uint32(0), uint32(0x7fffffff))
	f.Fuzz(func(t *testing.T, base, distance uint32) {
		distance &= 0x7fffffff
		s, next := SerialNumber(base), SerialNumber(base+distance)
		if s.Less(next) != (distance != 0) || next.Less(s) || !s.LessEqual(next) {
			t.Fatalf("%#x and %#x", base, base+distance)
		}
		if distance < 1<<31-1 && (!s.InWindow(s, next) || !next.InWindow(s, next) || (next+1).InWindow(s, next) || (s-1).InWindow(s, next)) {
			t.Fatalf("window [%#x, %#x]", base, base+distance)
		}
	})
}
