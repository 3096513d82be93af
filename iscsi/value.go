package iscsi

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// ParseNumber reads a number of a text: decimal without leading zeros, or
// hexadecimal after 0x or 0X (RFC 7143 6.1). It has at most 64 bits.
func ParseNumber(s string) (uint64, error) {
	digits, base := s, 10
	if hexDigits, ok := cutPrefixFold(s, "0x"); ok {
		digits, base = hexDigits, 16
	} else if len(s) > 1 && s[0] == '0' {
		return 0, fmt.Errorf("%q is no number: a decimal constant does not begin with 0", s)
	}
	if digits == "" || digits[0] == '+' || digits[0] == '-' {
		return 0, fmt.Errorf("%q is no number", s)
	}
	n, err := strconv.ParseUint(digits, base, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is no number of at most 64 bits", s)
	}
	return n, nil
}

// FormatNumber writes n in decimal.
func FormatNumber(n uint64) string { return strconv.FormatUint(n, 10) }

// ParseBoolean reads "Yes" or "No", written exactly so (RFC 7143 6.1).
func ParseBoolean(s string) (bool, error) {
	switch s {
	case "Yes":
		return true, nil
	case "No":
		return false, nil
	}
	return false, fmt.Errorf(`%q is neither "Yes" nor "No"`, s)
}

// FormatBoolean writes "Yes" or "No".
func FormatBoolean(yes bool) string {
	if yes {
		return "Yes"
	}
	return "No"
}

// ParseRange reads "low~high", both numbers, low not above high (RFC 7143 6.1).
func ParseRange(s string) (low, high uint64, err error) {
	a, b, ok := strings.Cut(s, "~")
	if !ok {
		return 0, 0, fmt.Errorf(`%q is no range: it wants "low~high"`, s)
	}
	if low, err = ParseNumber(a); err != nil {
		return 0, 0, err
	}
	if high, err = ParseNumber(b); err != nil {
		return 0, 0, err
	}
	if low > high {
		return 0, 0, fmt.Errorf("%q is no range: it runs downwards", s)
	}
	return low, high, nil
}

// ParseList splits a list of values at its commas (RFC 7143 6.1). Errors: an empty
// value, more than limit values.
func ParseList(s string, limit int) ([]string, error) {
	if n := strings.Count(s, ",") + 1; n > limit {
		return nil, fmt.Errorf("a list of %d values: at most %d are taken", n, limit)
	}
	values := strings.Split(s, ",")
	for _, v := range values {
		if v == "" {
			return nil, fmt.Errorf("%q has an empty value", s)
		}
	}
	return values, nil
}

// ParseBinary reads bytes from hexadecimal after 0x or base64 after 0b, in upper or
// lower case (RFC 7143 6.1); at most limit bytes. An odd number of hexadecimal
// digits has a zero before it, and the padding of base64 may be left out.
func ParseBinary(s string, limit int) ([]byte, error) {
	if digits, ok := cutPrefixFold(s, "0x"); ok && digits != "" {
		if (len(digits)+1)/2 > limit {
			return nil, fmt.Errorf("a value of %d bytes: at most %d are taken", (len(digits)+1)/2, limit)
		}
		if len(digits)%2 == 1 {
			digits = "0" + digits
		}
		p, err := hex.DecodeString(digits)
		if err != nil {
			return nil, fmt.Errorf("a value after 0x is not hexadecimal: %w", err)
		}
		return p, nil
	}
	if digits, ok := cutPrefixFold(s, "0b"); ok && digits != "" {
		digits = trimBase64Padding(digits)
		if base64.RawStdEncoding.DecodedLen(len(digits)) > limit {
			return nil, fmt.Errorf("a value of %d bytes: at most %d are taken", base64.RawStdEncoding.DecodedLen(len(digits)), limit)
		}
		// Strict: every value has one encoding. Line breaks, which the decoder would
		// skip, cannot occur in a text.
		p, err := base64.RawStdEncoding.Strict().DecodeString(digits)
		if err != nil || strings.ContainsAny(digits, "\r\n") {
			return nil, fmt.Errorf("a value after 0b is not base64: %q", clip(digits))
		}
		return p, nil
	}
	return nil, fmt.Errorf("%q is no binary value: it wants digits after 0x or 0b", clip(s))
}

// FormatHex writes p in hexadecimal after 0x.
func FormatHex(p []byte) string { return "0x" + hex.EncodeToString(p) }

// FormatBase64 writes p in base64 after 0b.
func FormatBase64(p []byte) string { return "0b" + base64.StdEncoding.EncodeToString(p) }

// trimBase64Padding takes the right number of "=" from the end of s, or none.
func trimBase64Padding(s string) string {
	if len(s)%4 != 0 {
		return s
	}
	if t, ok := strings.CutSuffix(s, "=="); ok {
		return t
	}
	return strings.TrimSuffix(s, "=")
}

func cutPrefixFold(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

// clip shortens a value for an error message.
func clip(s string) string {
	if len(s) > 40 {
		return s[:40] + "..."
	}
	return s
}
