package scsi

import "fmt"

// A LUN is a logical unit number in the eight bytes of SAM-5 4.7, the first
// byte the most significant.
type LUN uint64

// NewLUN is the single level LUN of number n (0 to 16383): peripheral device
// addressing below 256 (SAM-5 4.7.7.2), flat space addressing above (4.7.7.3).
func NewLUN(n int) LUN {
	if n < 256 {
		return LUN(n) << 48
	}
	return LUN(0x4000|n&0x3fff) << 48
}

// Number is n of NewLUN; ok is false for a LUN of any other format.
func (l LUN) Number() (n int, ok bool) {
	if l&0x0000ffffffffffff != 0 {
		return 0, false
	}
	switch top := int(l >> 48); top >> 14 {
	case 0:
		return top, top < 256
	case 1:
		return top & 0x3fff, true
	}
	return 0, false
}

// String is the number, or sixteen hexadecimal digits.
func (l LUN) String() string {
	if n, ok := l.Number(); ok {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%016x", uint64(l))
}
