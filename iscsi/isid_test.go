package iscsi

import "testing"

func TestISID_RFC7143_11_12_5(t *testing.T) {
	id := ISID{0x00, 0x02, 0x3d, 0x00, 0x12, 0x34}
	if got := id.String(); got != "0x00023d001234" {
		t.Errorf("String is %q", got)
	}
	if got := id.Qualifier(); got != 0x1234 {
		t.Errorf("Qualifier is %#x", got)
	}
	for first, want := range map[byte]ISIDType{0x00: ISIDOUI, 0x3f: ISIDOUI, 0x40: ISIDEnterprise, 0x80: ISIDRandom, 0xbf: ISIDRandom, 0xc0: ISIDReserved} {
		if got := (ISID{first}).Type(); got != want {
			t.Errorf("type of %02x... is %d, want %d", first, got, want)
		}
	}
}

func TestParseISID(t *testing.T) {
	for _, s := range []string{"0x00023d001234", "0X00023D001234"} {
		if id, err := ParseISID(s); err != nil || id != (ISID{0, 2, 0x3d, 0, 0x12, 0x34}) {
			t.Errorf("%q: %v, %v", s, id, err)
		}
	}
	for _, s := range []string{"", "0x", "00023d001234", "0x00023d00123", "0x00023d0012345", "0x00023d00123g"} {
		if id, err := ParseISID(s); err == nil || id != (ISID{}) {
			t.Errorf("%q: %v, %v", s, id, err)
		}
	}
}
