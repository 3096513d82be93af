package spc

import (
	"bytes"
	"testing"
	"time"

	"github.com/isantarget/isantarget/scsi"
)

// grouped is a rig with three ports in two groups; nexus a comes through port 0102h.
func grouped(t *testing.T) *rig {
	t.Helper()
	r := newRig(t, nil)
	groups := []scsi.PortGroup{
		{ID: 0x0201, Ports: []*scsi.TargetPort{r.a.TargetPort, {Device: "iqn.x", Group: 2, RelativeID: 0x0103}}, Preferred: true},
		{ID: 0x0202, Ports: []*scsi.TargetPort{{Device: "iqn.y", Group: 1, RelativeID: 0x0105}}, State: scsi.ActiveNonOptimized},
	}
	if err := r.lu.SetPortGroups(groups); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestReportTargetPortGroups_SPC4_6_37(t *testing.T) {
	r := grouped(t)
	const groups = "80 8F 0201 00 00 00 02 0000 0102 0000 0103  01 8F 0202 00 00 00 01 0000 0105"
	wantData(t, r.do(t, "A3 0A 0000 0000 00000100 00 00"), "0000001C"+groups)
	// The extended header tells how long an implicit transition may take.
	r.lu.HangBound = 10*time.Second + 1
	wantData(t, r.do(t, "A3 2A 0000 0000 00000100 00 00"), "00000020 10 0D 0000"+groups)
	wantData(t, r.do(t, "A3 2A 0000 0000 00000006 00 00"), "00000020 10 0D")
	wantData(t, r.do(t, "A3 0A 0000 0000 00000000 00 00"), "")
	r.lu.HangBound = time.Hour
	if c := r.do(t, "A3 2A 0000 0000 00000100 00 00"); c.DataIn[5] != 0xff {
		t.Errorf("IMPLICIT TRANSITION TIME %d", c.DataIn[5])
	}
	for _, format := range []string{"4A", "6A", "EA"} {
		wantError(t, r.do(t, "A3"+format+"0000 0000 00000100 00 00"), scsi.InvalidFieldInCDB(1, 7))
	}
	// A unit without ports that are known has no groups, and says so in INQUIRY.
	bare := newRig(t, nil)
	wantData(t, bare.do(t, "A3 0A 0000 0000 00000100 00 00"), "00000000")
	if c := bare.do(t, "12 00 00 0060 00"); c.DataIn[5] != 0 {
		t.Errorf("TPGS of a unit without groups: %02X", c.DataIn[5])
	}
}

func TestSetTargetPortGroups_SPC4_6_45(t *testing.T) {
	r := grouped(t)
	wantError(t, r.out(t, "A4 0A 0000 0000 0000000C 00 00", "00000000 02 00 0202 00 00 0201"), nil)
	wantData(t, r.do(t, "A3 0A 0000 0000 00000100 00 00"),
		"0000001C 80 8F 0201 00 00 00 02 0000 0102 0000 0103  02 8F 0202 00 01 00 01 0000 0105")
	// Reserved bits are not looked at.
	wantError(t, r.out(t, "A4 0A 0000 0000 00000008 00 00", "FFFFFFFF F1 FF 0202"), nil)
	// Nothing asked for is nothing done.
	wantError(t, r.out(t, "A4 0A 0000 0000 00000000 00 00", ""), nil)
	wantError(t, r.out(t, "A4 0A 0000 0000 00000004 00 00", "00000000"), nil)
	const after = "0000001C 80 8F 0201 00 00 00 02 0000 0102 0000 0103  01 8F 0202 00 01 00 01 0000 0105"
	for _, c := range []struct {
		length, list string
		err          error
	}{
		{"00000005", "00000000 00", scsi.IllegalRequest(scsi.ASCParameterListLengthError)},
		{"00000002", "0000", scsi.IllegalRequest(scsi.ASCParameterListLengthError)},
		{"0000000A", "00000000 00000202 0000", scsi.IllegalRequest(scsi.ASCParameterListLengthError)},
		{"00000008", "00000000", scsi.IllegalRequest(scsi.ASCParameterListLengthError)},
		{"7FFFFFFF", "00000000", scsi.InvalidFieldInCDB(6, scsi.WholeByte)},
		{"0000000C", "00000000 03000201 03000999", scsi.InvalidFieldInParameterList(10, scsi.WholeByte)},
		{"0000000C", "00000000 03000201 02000201", scsi.InvalidFieldInParameterList(10, scsi.WholeByte)},
		{"0000000C", "00000000 03000201 04000202", scsi.InvalidFieldInParameterList(8, 3)},
		{"00000008", "00000000 0E000202", scsi.InvalidFieldInParameterList(4, 3)},
		{"00000008", "00000000 0F000202", scsi.InvalidFieldInParameterList(4, 3)},
	} {
		wantError(t, r.out(t, "A4 0A 0000 0000"+c.length+"00 00", c.list), c.err)
		wantData(t, r.do(t, "A3 0A 0000 0000 00000100 00 00"), after)
	}
	if s := r.lu.TakeAttention(r.a); s != nil {
		t.Errorf("the nexus that changes states is told %v", s)
	}
	if s := r.lu.TakeAttention(r.b); s == nil || s.Code != scsi.ASCAsymmetricAccessStateChanged {
		t.Errorf("another nexus is told %v", s)
	}
}

// INQUIRY names the port and its group, says that states can be changed both ways,
// and that a unit behind an unavailable port is not connected.
func TestInquiry_TargetPortGroups(t *testing.T) {
	r := grouped(t)
	for _, c := range []struct {
		state      scsi.AccessState
		peripheral byte
	}{{scsi.ActiveOptimized, 0}, {scsi.ActiveNonOptimized, 0}, {scsi.Standby, 0}, {scsi.Unavailable, 0x20}, {scsi.Transitioning, 0}} {
		if err := r.lu.SetAccessState(0x0201, c.state); err != nil {
			t.Fatal(err)
		}
		if in := r.do(t, "12 00 00 0060 00").DataIn; in[0] != c.peripheral || in[5] != 0x30 {
			t.Errorf("%v: standard INQUIRY data %X", c.state, in[:6])
		}
		page := r.do(t, "12 01 83 00FF 00").DataIn
		names := unhex(t, "51 94 00 04 0000 0102  51 95 00 04 0000 0201")
		if page[0] != c.peripheral || !bytes.Contains(page, names) {
			t.Errorf("%v: VPD page 83h has no port and group:\n%X", c.state, page)
		}
	}
}
