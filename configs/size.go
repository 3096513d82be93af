package configs

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"

	"github.com/dustin/go-humanize"
)

// A Size is a number of bytes. It is written with its unit: "10GiB", "500GB",
// or as a plain number of bytes.
type Size int64

// UnmarshalText reads a size. A unit that some programs take for powers of ten
// and others for powers of two ("10G") is refused.
func (s *Size) UnmarshalText(text []byte) error {
	word := strings.TrimSpace(string(text))
	number := strings.TrimRightFunc(word, func(r rune) bool { return unicode.IsLetter(r) || r == ' ' })
	unit := strings.TrimSpace(word[len(number):])
	if n, err := strconv.ParseInt(number, 10, 64); err == nil && unit == "" && n >= 0 {
		*s = Size(n)
		return nil
	}
	if len(unit) == 1 && strings.ContainsAny(unit, "kKmMgGtTpPeE") {
		u := strings.ToUpper(unit)
		return fmt.Errorf("%q may mean powers of two or of ten; write %s%siB or %s%sB", word, number, u, number, u)
	}
	n, err := humanize.ParseBytes(word)
	if err != nil || n > math.MaxInt64 {
		return fmt.Errorf("%q is not a size; write a number and its unit, as 10GiB or 500GB", word)
	}
	*s = Size(n)
	return nil
}

// MarshalText writes what UnmarshalText reads.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// String is the size in the largest unit that says it exactly.
func (s Size) String() string {
	units := []string{"", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	n, unit := int64(s), 0
	for n != 0 && n%1024 == 0 && unit < len(units)-1 {
		n /= 1024
		unit++
	}
	return strconv.FormatInt(n, 10) + units[unit]
}
