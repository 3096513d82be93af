package iscsi

import (
	"bytes"
	"math"
	"strings"
	"testing"
)

func TestParseNumber_RFC7143_6_1(t *testing.T) {
	for s, want := range map[string]uint64{
		"0": 0, "1": 1, "262144": 262144, "0x0": 0, "0x1F": 31, "0X1f": 31, "0x0001": 1,
		"18446744073709551615": math.MaxUint64, "0xffffffffffffffff": math.MaxUint64,
	} {
		if got, err := ParseNumber(s); err != nil || got != want {
			t.Errorf("%q: %d, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "x", "0x", "0xg", "-1", "+1", "0x-1", "0x+1", "00", "010", " 1", "1 ", "1_000", "0x1_0", "1e3", "1.0", "0b1",
		"18446744073709551616", "0x10000000000000000", "Yes"} {
		if got, err := ParseNumber(s); err == nil || got != 0 {
			t.Errorf("%q taken as %d", s, got)
		}
	}
}

func TestParseBoolean_RFC7143_6_1(t *testing.T) {
	for _, want := range []bool{true, false} {
		if got, err := ParseBoolean(FormatBoolean(want)); err != nil || got != want {
			t.Errorf("%v came back as %v, %v", want, got, err)
		}
	}
	for _, s := range []string{"", "yes", "YES", "no", "1", "true", "Yes ", "Yes,No"} {
		if _, err := ParseBoolean(s); err == nil {
			t.Errorf("%q was taken", s)
		}
	}
}

func TestParseRange_RFC7143_6_1(t *testing.T) {
	if low, high, err := ParseRange("512~0x1000"); err != nil || low != 512 || high != 4096 {
		t.Errorf("%d~%d, %v", low, high, err)
	}
	if low, high, err := ParseRange("7~7"); err != nil || low != 7 || high != 7 {
		t.Errorf("%d~%d, %v", low, high, err)
	}
	for _, s := range []string{"", "~", "1~", "~1", "1", "2~1", "1~2~3", "1-2", "a~b"} {
		if low, high, err := ParseRange(s); err == nil {
			t.Errorf("%q taken as %d~%d", s, low, high)
		}
	}
}

func TestParseList_RFC7143_6_1(t *testing.T) {
	if got, err := ParseList("CRC32C,None", 2); err != nil || len(got) != 2 || got[0] != "CRC32C" || got[1] != "None" {
		t.Errorf("%q, %v", got, err)
	}
	for _, s := range []string{"", ",", "a,", ",a", "a,,b", "a,b,c"} {
		if got, err := ParseList(s, 2); err == nil {
			t.Errorf("%q taken as %q", s, got)
		}
	}
}

func TestParseBinary_RFC7143_6_1(t *testing.T) {
	for s, want := range map[string]string{
		"0x00": "\x00", "0xfF01": "\xff\x01", "0XABC": "\x0a\xbc", "0x0": "\x00",
		"0bAAE=": "\x00\x01", "0BAAE=": "\x00\x01", "0bAAE": "\x00\x01", "0bAQIDBA==": "\x01\x02\x03\x04", "0bAQID": "\x01\x02\x03", "0b/+8=": "\xff\xef",
	} {
		if got, err := ParseBinary(s, 16); err != nil || string(got) != want {
			t.Errorf("%q: %x, %v, want %x", s, got, err, want)
		}
	}
	for _, s := range []string{"", "0x", "0b", "00", "12", "0xg0", "0x 1", "0bA", "0bA===", "0bAA=A", "0bAQ=", "0b=", "0bAR==", "0b-_8=", "0bAA\nE=",
		"0x" + strings.Repeat("0", 34), "0b" + strings.Repeat("A", 24), "abc"} {
		if got, err := ParseBinary(s, 16); err == nil || got != nil {
			t.Errorf("%q taken as %x", s, got)
		}
	}
}

func FuzzParseBinary(f *testing.F) {
	f.Add("0x0123")
	f.Add("0bAQIDBA==")
	f.Add("0xabc")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParseBinary(s, 1024)
		if err != nil {
			if p != nil {
				t.Fatal("bytes beside an error")
			}
			return
		}
		if len(p) == 0 || len(p) > 1024 {
			t.Fatalf("%d bytes", len(p))
		}
		for _, again := range []string{FormatHex(p), FormatBase64(p)} {
			if q, err := ParseBinary(again, len(p)); err != nil || !bytes.Equal(p, q) {
				t.Fatalf("%q became %x, %q became %x, %v", s, p, again, q, err)
			}
			if _, err := ParseBinary(again, len(p)-1); err == nil {
				t.Fatalf("%d bytes passed a bound of one less", len(p))
			}
		}
	})
}

func FuzzParseNumber(f *testing.F) {
	for _, s := range []string{"0", "65536", "0xffff", "18446744073709551616"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseNumber(s)
		if err != nil {
			return
		}
		if again, err := ParseNumber(FormatNumber(n)); err != nil || again != n {
			t.Fatalf("%q is %d and then %d, %v", s, n, again, err)
		}
		if strings.Trim(s, "0123456789abcdefABCDEFxX") != "" {
			t.Fatalf("%q taken as %d", s, n)
		}
	})
}

func FuzzParseRange(f *testing.F) {
	f.Add("512~65536")
	f.Fuzz(func(t *testing.T, s string) {
		low, high, err := ParseRange(s)
		if err != nil {
			return
		}
		l, h, err := ParseRange(FormatNumber(low) + "~" + FormatNumber(high))
		if err != nil || l != low || h != high || low > high {
			t.Fatalf("%q: %d~%d, then %d~%d, %v", s, low, high, l, h, err)
		}
	})
}
