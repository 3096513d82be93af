package iscsi

import (
	"strings"
	"testing"
)

func TestParseName_RFC7143_4_2_7(t *testing.T) {
	for in, want := range map[string]Name{
		"iqn.1993-08.org.debian:01:3f2a":                                   "iqn.1993-08.org.debian:01:3f2a",
		"iqn.1991-05.com.microsoft:WIN-HOST.Example.ORG":                   "iqn.1991-05.com.microsoft:win-host.example.org",
		"IQN.1998-01.com.vmware:esx01-4f6e":                                "iqn.1998-01.com.vmware:esx01-4f6e",
		"iqn.2001-04.com.example":                                          "iqn.2001-04.com.example",
		"iqn.2001-04.com.example:":                                         "iqn.2001-04.com.example:",
		"iqn.2001-04.com.example:host_1":                                   "iqn.2001-04.com.example:host_1",
		"iqn.2001-04.com.example:größe":                                    "iqn.2001-04.com.example:größe",
		"iqn.2001-04.com.example:GRÖSSE":                                   "iqn.2001-04.com.example:grösse",
		"eui.02004567A425678D":                                             "eui.02004567a425678d",
		"naa.52004567BA64678D":                                             "naa.52004567ba64678d",
		"naa.62004567BA64678D0123456789ABCDEF":                             "naa.62004567ba64678d0123456789abcdef",
		"iqn.2001-04.com.example:" + strings.Repeat("a", MaxNameLength-24): Name("iqn.2001-04.com.example:" + strings.Repeat("a", MaxNameLength-24)),
	} {
		got, err := ParseName(in)
		if err != nil || got != want {
			t.Errorf("%q: %q, %v, want %q", in, got, err, want)
		}
		if again, err := ParseName(string(got)); err != nil || again != got {
			t.Errorf("%q is not in normal form: %q, %v", got, again, err)
		}
	}
}

func TestParseNameRefuses_RFC7143_4_2_7(t *testing.T) {
	for in, reason := range map[string]string{
		"":                                    "is empty",
		"disk":                                "begins with none",
		"iqn":                                 `wants "iqn.yyyy-mm`,
		"iqn.":                                `wants "iqn.yyyy-mm`,
		"iqn.2001-04":                         `wants "iqn.yyyy-mm`,
		"iqn.2001-13.com.example":             "date",
		"iqn.2001-00.com.example":             "date",
		"iqn.2001-4.com.example":              "date",
		"iqn.20x1-04.com.example":             "date",
		"iqn.com.example:disk":                "date",
		"iqn.2001-04.":                        "empty label",
		"iqn.2001-04..com":                    "empty label",
		"iqn.2001-04.com.:x":                  "empty label",
		"iqn.2001-04.com.example:a b":         "' ' at byte 25",
		"iqn.2001-04.com.example:a\x00":       "at byte 25",
		"iqn.2001-04.com.example:a\nb":        "at byte 25",
		"iqn.2001-04.com.example:a,b":         "',' at byte 25",
		"iqn.2001-04.com.example:a\u00a0":     "at byte 25",
		"iqn.2001-04.com.example:a\u200b":     "at byte 25",
		"iqn.2001-04.com.example:\xff":        "not UTF-8",
		"eui.02004567A425678":                 "16 hexadecimal digits",
		"eui.02004567A425678D0":               "16 hexadecimal digits",
		"eui.02004567A425678G":                "not hexadecimal",
		"naa.52004567BA64678":                 "16 or 32",
		"naa.62004567BA64678D0123456789ABCDE": "16 or 32",
		"iqn.2001-04.com.example:" + strings.Repeat("a", MaxNameLength-23): "224 bytes",
	} {
		got, err := ParseName(in)
		if err == nil || got != "" || !strings.Contains(err.Error(), reason) {
			t.Errorf("%q: %q, %v; want an error with %q", in, got, err, reason)
		}
	}
}

func FuzzParseName(f *testing.F) {
	for _, s := range []string{"iqn.1993-08.org.debian:01:3f2a", "EUI.02004567A425678D", "naa.52004567ba64678d", "iqn.2001-04.com.example:GRÖSSE", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name, err := ParseName(s)
		if err != nil {
			if name != "" {
				t.Fatalf("%q: a name beside an error", s)
			}
			return
		}
		if len(name) == 0 || len(name) > MaxNameLength || strings.ContainsAny(string(name), " \t\r\n\x00,=;") {
			t.Fatalf("%q became %q", s, name)
		}
		if again, err := ParseName(string(name)); err != nil || again != name {
			t.Fatalf("%q became %q became %q, %v", s, name, again, err)
		}
		if upper, err := ParseName(strings.ToUpper(string(name))); isASCII(string(name)) && (err != nil || upper != name) {
			t.Fatalf("%q in upper case is %q, %v", name, upper, err)
		}
	})
}

func isASCII(s string) bool {
	for _, r := range s {
		if r > 0x7f {
			return false
		}
	}
	return true
}
