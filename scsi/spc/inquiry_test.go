package spc

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/isantarget/isantarget/scsi"
)

const standard = "00 00 06 12 5b 00 10 02" +
	"4953414e54524754 5649525455414c2d4449534b20202020 302e3120" + // ISANTRGT VIRTUAL-DISK 0.1
	"0000000000000000000000000000000000000000 0000" +
	"00a0 0960 0460 04c0 0000 0000 0000 0000" +
	"00000000000000000000000000000000000000000000"

func TestStandardInquiryData_SPC4_6_6_2(t *testing.T) {
	r := newRig(t, nil)
	wantData(t, r.do(t, "12 00 00 00ff 00"), standard)
	wantData(t, r.do(t, "12 00 00 0005 00"), "00 00 06 12 5b")
	wantData(t, r.do(t, "12 00 00 0000 00"), "")
	r.removable = true
	wantData(t, r.do(t, "12 00 00 0002 00"), "00 80")
}

func TestInquiryRefuses_SPC4_6_6_1(t *testing.T) {
	r := newRig(t, nil)
	wantError(t, r.do(t, "12 00 80 00ff 00"), scsi.InvalidFieldInCDB(2, scsi.WholeByte))
	wantError(t, r.do(t, "12 01 b2 00ff 00"), scsi.InvalidFieldInCDB(2, scsi.WholeByte))
	wantError(t, r.do(t, "12 02 00 00ff 00"), scsi.InvalidFieldInCDB(1, 1)) // CMDDT
	wantError(t, r.do(t, "12 00 00 00ff 04"), scsi.InvalidFieldInCDB(5, 2)) // NACA
}

func TestVitalProductData_SPC4_7_8(t *testing.T) {
	r := newRig(t, nil)
	wantData(t, r.do(t, "12 01 00 00ff 00"), "00 00 0006 00 80 83 86 b0 b1")
	wantData(t, r.do(t, "12 01 80 00ff 00"), "00 80 0010 30313233343536373839616263646566")
	wantData(t, r.do(t, "12 01 80 0003 00"), "00 80 00")
	wantData(t, r.do(t, "12 01 b0 00ff 00"), "00 b0 0003 010203")
	wantData(t, r.do(t, "12 01 86 0010 00"), "00 86 003c 00 07 01 01 00 00 00 00 00 28 00 00")
	if got := len(r.do(t, "12 01 86 00ff 00").DataIn); got != 64 {
		t.Errorf("the extended INQUIRY data page has %d bytes", got)
	}
}

func TestDeviceIdentification_SPC4_7_8_6(t *testing.T) {
	r := newRig(t, nil)
	name := func(s string, length int) string {
		return fmt.Sprintf("%X", append([]byte(s), make([]byte, length-len(s))...))
	}
	want := "01 03 00 10 6024953f9f5111f7b27a781f1f1ddde5" +
		"01 02 00 10 2b796bfc7365c9c20249538b548e5641" +
		"02 01 00 28" + name("ISANTRGTVIRTUAL-DISK    0123456789abcdef", 40) +
		"03 08 00 28" + name("naa.6024953f9f5111f7b27a781f1f1ddde5", 40) +
		"51 94 00 04 00000102" +
		"53 98 00 28" + name("iqn.2026-11.com.example:disk,t,0x0001", 40) +
		"53 a8 00 20" + name("iqn.2026-11.com.example:disk", 32)
	wantData(t, r.do(t, "12 01 83 0400 00"), fmt.Sprintf("00 83 %04x", len(unhex(t, want)))+want)
	r.a.TargetPort = nil
	if got := r.do(t, "12 01 83 0400 00"); bytes.Contains(got.DataIn, []byte("iqn")) {
		t.Error("a name of a port that nobody knows")
	}
}

func TestAbsentUnit_SAM5_5_12(t *testing.T) {
	r := newRig(t, nil)
	absent := r.units.Find(scsi.NewLUN(7))
	send := func(cdb string) *scsi.Command { return r.send(absent, r.a, nil, unhex(t, cdb)) }
	wantData(t, send("12 00 00 0003 00"), "7f 00 06")
	wantData(t, send("12 01 00 00ff 00"), "7f 00 0001 00")
	wantError(t, send("12 01 83 00ff 00"), scsi.InvalidFieldInCDB(2, scsi.WholeByte))
	wantData(t, send("a0 00 00 000000 00000040 00 00"), "00000010 00000000 0000000000000000 412c000000000000")
	wantData(t, send("03 00 00 00 ff 00"), "70 00 05 00000000 0a 00000000 2500 00 000000")
	for _, cdb := range []string{"00 00 00 00 00 00", "28 00 00 00 00 00 00 00 00 00", "c0 00 00 00 00 00", "a3 0c 00 00 00 00 00 00 00 ff 00 00"} {
		wantError(t, send(cdb), scsi.IllegalRequest(scsi.ASCLogicalUnitNotSupported))
	}
}
