package scsi

import (
	"fmt"
	"strings"
	"testing"
)

func TestIdentityComesFromTheSerialAlone(t *testing.T) {
	a := Identity{Name: "a", Serial: "0123456789abcdef", Revision: "0001"}
	b := Identity{Name: "b", Serial: a.Serial, Revision: "0002"}
	if a.SerialNAA() != b.SerialNAA() || a.SerialEUI64() != b.SerialEUI64() || a.String() != b.String() {
		t.Error("names differ for one serial")
	}
	// Known values: they must never change, or every initiator loses its disks.
	if got := fmt.Sprintf("%s %X", a, a.SerialEUI64()); got != "naa.6024953f9f5111f7b27a781f1f1ddde5 2B796BFC7365C9C20249538B548E5641" {
		t.Errorf("SCSI name string and EUI-64 %s", got)
	}
	naa, eui := a.SerialNAA(), a.SerialEUI64()
	if naa[0]>>4 != 6 {
		t.Errorf("NAA is %X: not type 6", naa)
	}
	company := uint32(naa[0]&0xf)<<20 | uint32(naa[1])<<12 | uint32(naa[2])<<4 | uint32(naa[3])>>4
	if company != companyID || company>>16&0x03 != 0x02 {
		t.Errorf("company id %06X: want U/L set and I/G clear", company)
	}
	if got := uint32(eui[8])<<16 | uint32(eui[9])<<8 | uint32(eui[10]); got != companyID {
		t.Errorf("company id of the EUI-64: %06X", got)
	}
	if c := (Identity{Serial: "0123456789abcdee"}); c.SerialNAA() == a.SerialNAA() || c.SerialEUI64() == a.SerialEUI64() {
		t.Error("names are equal for two serials")
	}
}

func TestIdentityIsChecked(t *testing.T) {
	for _, serial := range []string{"", strings.Repeat("x", 65), " a", "a ", "a\n", "é"} {
		if _, err := NewLogicalUnit(Identity{Serial: serial}, &fakeDevice{}, nil); err == nil {
			t.Errorf("the serial %q is accepted", serial)
		}
	}
	for what, id := range map[string]Identity{
		"a long vendor": {Vendor: "123456789"}, "a long product": {Product: "12345678901234567"}, "a NAA name of 12 bytes": {NAA: make([]byte, 12)},
		"an EUI-64 name of 4 bytes": {EUI64: make([]byte, 4)}, "a T10 name with a zero": {T10: "IET     1\x00"},
	} {
		id.Serial = "1"
		if _, err := NewLogicalUnit(id, &fakeDevice{}, nil); err == nil {
			t.Errorf("%s is accepted", what)
		}
	}
	one, two := NewSerial(), NewSerial()
	if one == two || len(one) != 16 {
		t.Errorf("NewSerial made %q and %q", one, two)
	}
}

func TestNamesOfPorts_RFC7143_10_2(t *testing.T) {
	id := TransportID{Name: "iqn.2026-11.example:a", ISID: [6]byte{0x40, 0, 1, 0x37, 0, 2}}
	if got := id.String(); got != "iqn.2026-11.example:a,i,0x400001370002" {
		t.Error(got)
	}
	port := TargetPort{Device: "iqn.2026-11.example:t", Group: 0x1a}
	if got := fmt.Sprint(&port); got != "iqn.2026-11.example:t,t,0x001a" {
		t.Error(got)
	}
}
