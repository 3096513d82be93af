package iscsi

// A SerialNumber is a CmdSN, StatSN, DataSN or R2TSN: it wraps at 2**32 and is
// compared by RFC 1982 arithmetic with SERIAL_BITS = 32 (RFC 7143 4.2.2.1).
//
// Two numbers exactly 2**31 apart are neither less nor greater than one another.
type SerialNumber uint32

// Less reports whether s comes before t.
func (s SerialNumber) Less(t SerialNumber) bool {
	d := t - s
	return d != 0 && d < 1<<31
}

// LessEqual reports whether s comes before t or is t.
func (s SerialNumber) LessEqual(t SerialNumber) bool { return s == t || s.Less(t) }

// InWindow reports whether s lies in the window from first to last, both in it. A
// window with last = first-1 is empty: a target closes its command window that way
// (RFC 7143 4.2.2.1). The window holds less than 2**31 numbers.
func (s SerialNumber) InWindow(first, last SerialNumber) bool {
	width := last - first + 1
	return width < 1<<31 && s-first < width
}
