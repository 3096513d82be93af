package iscsi

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxNameLength is the most bytes an iSCSI name has (RFC 7143 4.2.7.1).
const MaxNameLength = 223

// A Name is an iSCSI node name in its normal form (RFC 7143 4.2.7): two names are
// of the same node exactly when they are equal. ParseName makes one.
type Name string

// ParseName reads an iSCSI name of type iqn., eui. or naa. and folds it to lower
// case, the part of the stringprep profile (RFC 3722) that concerns ASCII. Letters
// beyond ASCII are taken and folded too, but not composed as NFKC would: names
// written in different compositions are different names here.
//
// RFC 3722 allows only letters, digits, "-", "." and ":". An underscore is taken as
// well, since host names with one are common in the names of initiators.
func ParseName(s string) (Name, error) {
	switch {
	case s == "":
		return "", nameError(s, "is empty")
	case len(s) > MaxNameLength:
		return "", nameError(s[:32]+"...", fmt.Sprintf("has %d bytes, more than %d", len(s), MaxNameLength))
	case !utf8.ValidString(s):
		return "", nameError(s, "is not UTF-8")
	}
	for i, r := range s {
		if !nameRune(r) {
			return "", nameError(s, fmt.Sprintf("has %q at byte %d; letters, digits and - . : are allowed", r, i))
		}
	}
	s = strings.ToLower(s)
	if len(s) > MaxNameLength { // folding may lengthen a letter beyond ASCII
		return "", nameError(s[:32]+"...", fmt.Sprintf("has %d bytes in lower case, more than %d", len(s), MaxNameLength))
	}
	kind, rest, _ := strings.Cut(s, ".")
	var reason string
	switch kind {
	case "iqn":
		reason = checkIQN(rest)
	case "eui":
		reason = checkHexName(rest, 16, 16)
	case "naa":
		reason = checkHexName(rest, 16, 32)
	default:
		reason = `begins with none of "iqn.", "eui." and "naa."`
	}
	if reason != "" {
		return "", nameError(s, reason)
	}
	return Name(s), nil
}

func nameError(s, reason string) error {
	return fmt.Errorf("iSCSI name %q %s (RFC 7143 4.2.7)", s, reason)
}

func nameRune(r rune) bool {
	switch {
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
		return true
	case r == '-', r == '.', r == ':', r == '_':
		return true
	}
	return r >= utf8.RuneSelf && r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r))
}

// checkIQN judges what follows "iqn.": a date, a reversed domain name, and after a
// colon whatever its owner likes (RFC 7143 4.2.7.4). It returns what is wrong.
func checkIQN(s string) string {
	date, rest, ok := strings.Cut(s, ".")
	if !ok {
		return `wants "iqn.yyyy-mm.reversed.domain"`
	}
	if len(date) != 7 || date[4] != '-' || !allDigits(date[:4]) || !allDigits(date[5:]) || date[5:] < "01" || date[5:] > "12" {
		return fmt.Sprintf(`has the date %q; it wants "yyyy-mm", a month in which its owner held the domain`, date)
	}
	domain, _, _ := strings.Cut(rest, ":")
	for label := range strings.SplitSeq(domain, ".") {
		if label == "" {
			return "has an empty label in its domain"
		}
	}
	return ""
}

// checkHexName judges what follows "eui." or "naa.".
func checkHexName(s string, short, long int) string {
	if len(s) != short && len(s) != long {
		if short == long {
			return fmt.Sprintf("wants %d hexadecimal digits after its type", short)
		}
		return fmt.Sprintf("wants %d or %d hexadecimal digits after its type", short, long)
	}
	if strings.Trim(s, "0123456789abcdef") != "" {
		return "has a digit that is not hexadecimal"
	}
	return ""
}

func allDigits(s string) bool { return strings.Trim(s, "0123456789") == "" }
