package iscsi

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestParseText_RFC7143_6_1(t *testing.T) {
	text := []byte("InitiatorName=iqn.1993-08.org.debian:01:3f2a\x00SessionType=Normal\x00\x00X-org.example.a@b+c_d=\x00TargetAlias=a = b=c\x00X#NodeArchitecture=linux")
	want := []KeyValue{
		{"InitiatorName", "iqn.1993-08.org.debian:01:3f2a"}, {"SessionType", "Normal"},
		{"X-org.example.a@b+c_d", ""}, {"TargetAlias", "a = b=c"}, {"X#NodeArchitecture", "linux"},
	}
	got, err := ParseText(text, TextLimits{})
	if err != nil || !slices.Equal(got, want) {
		t.Fatalf("%q, %v\nwant %q", got, err, want)
	}
	again, err := ParseText(AppendText(nil, want...), TextLimits{})
	if err != nil || !slices.Equal(again, want) {
		t.Errorf("%q, %v", again, err)
	}
	for _, empty := range []string{"", "\x00", "\x00\x00\x00"} {
		if got, err := ParseText([]byte(empty), TextLimits{}); err != nil || len(got) != 0 {
			t.Errorf("%q: %q, %v", empty, got, err)
		}
	}
}

func TestParseTextRefuses_RFC7143_6_1(t *testing.T) {
	for name, c := range map[string]struct {
		text   string
		limits TextLimits
		offset int
		reason string
	}{
		"no equals":          {"a=b\x00SessionType\x00", TextLimits{}, 4, `no "="`},
		"no key":             {"=Normal\x00", TextLimits{}, 0, "without a key"},
		"space in key":       {"Session Type=Normal\x00", TextLimits{}, 0, "byte 20h"},
		"control in key":     {"a=b\x00a\x01=c\x00", TextLimits{}, 4, "byte 01h"},
		"key of 64 bytes":    {strings.Repeat("K", 64) + "=v\x00", TextLimits{}, 0, "63 bytes"},
		"endless key":        {strings.Repeat("K", 5000), TextLimits{}, 0, "63 bytes"},
		"value of 256 bytes": {"SessionType=" + strings.Repeat("v", 256) + "\x00", TextLimits{}, 0, "more than 255"},
		"value of 8193":      {"X-a=" + strings.Repeat("v", 8193) + "\x00", TextLimits{}, 0, "more than 8192"},
		"control in value":   {"TargetAlias=a\nb\x00", TextLimits{}, 0, "control character 0Ah"},
		"delete in value":    {"TargetAlias=a\x7f\x00", TextLimits{}, 0, "control character 7Fh"},
		"not UTF-8":          {"TargetAlias=\xff\x00", TextLimits{}, 0, "UTF-8"},
		"too many pairs":     {"a=1\x00b=2\x00c=3\x00", TextLimits{Pairs: 2}, 8, "more than 2 pairs"},
		"too many bytes":     {"a=1\x00b=2\x00", TextLimits{Bytes: 7}, 7, "more than 7 bytes"},
		"default pairs":      {strings.Repeat("a=1\x00", 257), TextLimits{}, 1024, "more than 256 pairs"},
		"default bytes":      {strings.Repeat("\x00", 65537), TextLimits{}, 65536, "more than 65536 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseText([]byte(c.text), c.limits)
			var e *TextError
			if !errors.As(err, &e) || got != nil || e.Offset != c.offset || !strings.Contains(e.Error(), c.reason) {
				t.Errorf("%q, %v; want an error at %d with %q", got, err, c.offset, c.reason)
			}
			if err != nil && len(err.Error()) > 300 {
				t.Errorf("the peer fills the log with an error of %d bytes", len(err.Error()))
			}
		})
	}
}

// What a key allows by its rule is taken, one byte more is not.
func TestParseTextLengths_RFC7143_6_1(t *testing.T) {
	for _, rule := range KeyRules() {
		n := rule.MaxValueLength()
		if _, err := ParseText(AppendText(nil, KeyValue{rule.Name, strings.Repeat("1", n)}), TextLimits{}); err != nil {
			t.Errorf("%s with %d bytes: %v", rule.Name, n, err)
		}
		if _, err := ParseText(AppendText(nil, KeyValue{rule.Name, strings.Repeat("1", n+1)}), TextLimits{}); err == nil {
			t.Errorf("%s with %d bytes was taken", rule.Name, n+1)
		}
	}
	if _, err := ParseText(AppendText(nil, KeyValue{strings.Repeat("K", MaxKeyLength), "v"}), TextLimits{}); err != nil {
		t.Errorf("a key of 63 bytes: %v", err)
	}
}

func FuzzParseText(f *testing.F) {
	f.Add([]byte("InitiatorName=iqn.1993-08.org.debian:01:3f2a\x00SessionType=Normal\x00"))
	f.Add([]byte("CHAP_A=5\x00CHAP_I=7\x00CHAP_C=0x0123\x00"))
	f.Add([]byte("a=b"))
	f.Add([]byte("\x00\x00=\x00"))
	f.Fuzz(func(t *testing.T, p []byte) {
		pairs, err := ParseText(p, TextLimits{})
		if err != nil {
			var e *TextError
			if !errors.As(err, &e) || pairs != nil || e.Offset > len(p) {
				t.Fatalf("%v beside %q", err, pairs)
			}
			return
		}
		for _, kv := range pairs {
			if kv.Key == "" || len(kv.Key) > MaxKeyLength || len(kv.Value) > 8192 || strings.ContainsAny(kv.Key+kv.Value, "\x00\r\n") || strings.Contains(kv.Key, "=") {
				t.Fatalf("%q", kv)
			}
		}
		again, err := ParseText(AppendText(nil, pairs...), TextLimits{Bytes: len(p) + 1})
		if err != nil || !slices.Equal(again, pairs) {
			t.Fatalf("%q came back as %q, %v", pairs, again, err)
		}
	})
}
