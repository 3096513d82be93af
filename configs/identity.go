package configs

import (
	"encoding/hex"
	"fmt"
	"strings"
)

// A Designator is a binary name of a disk, as hexadecimal digits in lower case: one that it
// had at another target, in place of the one that its serial makes. NoDesignator:
// initiators are told none.
type Designator string

// NoDesignator is written for a name that a disk does not have.
const NoDesignator Designator = "none"

// UnmarshalText reads hexadecimal digits, or "none". What other programs write before
// and between them ("0x", "naa.", colons) is left out.
func (d *Designator) UnmarshalText(text []byte) error {
	word := strings.ToLower(string(text))
	if word == "" || word == string(NoDesignator) {
		*d = Designator(word)
		return nil
	}
	digits := strings.ReplaceAll(word, ":", "")
	for _, before := range []string{"0x", "naa.", "eui."} {
		digits = strings.TrimPrefix(digits, before)
	}
	if _, err := hex.DecodeString(digits); err != nil || digits == "" {
		return fmt.Errorf(`%q is not a binary name; write its hexadecimal digits, or "none"`, text)
	}
	*d = Designator(digits)
	return nil
}

// Bytes are those that initiators are told; empty for "none", nil where nothing is written.
func (d Designator) Bytes() []byte {
	switch d {
	case "":
		return nil
	case NoDesignator:
		return []byte{}
	}
	b, _ := hex.DecodeString(string(d)) // it was read by UnmarshalText
	return b
}

// identity checks the names of a LUN. seen are those of the others.
func (k checker) identity(seen map[string]string, l *LUN, at string) {
	if strings.Trim(l.Serial, " ") != l.Serial {
		k.fail(at+".serial", "%q cannot be a serial; it begins or ends with a blank", l.Serial)
	}
	for _, f := range []struct {
		key, value string
		length     int
		unique     bool
	}{
		{"serial", l.Serial, 64, true}, {"t10", l.T10, 128, true}, {"vendor", l.Vendor, 8, false}, {"product", l.Product, 16, false}, {"revision", l.Revision, 4, false},
	} {
		switch path := at + "." + f.key; {
		case f.value == "":
		case len(f.value) > f.length || strings.ContainsFunc(f.value, func(r rune) bool { return r < ' ' || r > '~' }):
			k.fail(path, "%q cannot be a %s; use up to %d printable ASCII characters", f.value, f.key, f.length)
		case f.unique:
			once(k, seen, f.key+" "+f.value, path, fmt.Sprintf("the %s %q", f.key, f.value))
		}
	}
	if l.T10 != "" && len(l.T10) <= 8 {
		k.fail(at+".t10", "%q is not a T10 name; it has eight characters of the vendor, filled with blanks, and more behind them", l.T10)
	}
	k.designator(seen, l.NAA, at, "naa", 16, 32)
	k.designator(seen, l.EUI64, at, "eui64", 16, 24, 32)
	if naa := string(l.NAA); naa != "" && l.NAA != NoDesignator {
		if want := map[byte]int{'2': 16, '3': 16, '5': 16, '6': 32}[naa[0]]; want != len(naa) && (len(naa) == 16 || len(naa) == 32) {
			k.fail(at+".naa", "%q is not a NAA name; one of 16 digits begins with 2, 3 or 5, one of 32 with 6 (SPC-4 7.8.6.6)", naa)
		}
	}
}

// designator checks that a binary name has one of the lengths, and is that of one LUN.
func (k checker) designator(seen map[string]string, d Designator, at, key string, lengths ...int) {
	if d == "" || d == NoDesignator {
		return
	}
	var words []string
	for _, n := range lengths {
		if len(d) == n {
			once(k, seen, key+" "+string(d), at+"."+key, fmt.Sprintf("the %s %q", key, d))
			return
		}
		words = append(words, fmt.Sprint(n))
	}
	k.fail(at+"."+key, "%q has %d digits; it wants %s", d, len(d), strings.Join(words, " or "))
}
