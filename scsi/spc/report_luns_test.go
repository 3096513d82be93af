package spc

import (
	"testing"

	"github.com/isantarget/isantarget/scsi"
)

func TestReportLUNs_SPC4_6_33(t *testing.T) {
	r := newRig(t, nil)
	const all = "00000010 00000000 0000000000000000 412c000000000000"
	wantData(t, r.do(t, "a0 00 00 000000 00000040 00 00"), all)
	wantData(t, r.do(t, "a0 00 02 000000 ffffffff 00 00"), all)
	wantData(t, r.do(t, "a0 00 01 000000 00000040 00 00"), "00000000 00000000")
	wantData(t, r.do(t, "a0 00 00 000000 00000010 00 00"), "00000010 00000000 0000000000000000")
	wantError(t, r.do(t, "a0 00 03 000000 00000040 00 00"), scsi.InvalidFieldInCDB(2, scsi.WholeByte))
}

func TestReportLUNsClearsItsAttention_SPC4_6_33(t *testing.T) {
	r := newRig(t, nil)
	r.lu.Attention(scsi.ASCReportedLUNsDataHasChanged, nil, nil)
	r.lu.Attention(scsi.ASCCapacityDataHasChanged, nil, nil)
	r.do(t, "a0 00 09 000000 00000040 00 00") // refused: it tells nothing
	if _, depth := r.lu.PendingAttention(r.a); depth != 2 {
		t.Errorf("%d attentions after a refused REPORT LUNS", depth)
	}
	r.do(t, "a0 00 00 000000 00000040 00 00")
	if code, depth := r.lu.PendingAttention(r.a); depth != 1 || code != scsi.ASCCapacityDataHasChanged {
		t.Errorf("%d attentions, first %v", depth, code)
	}
	if _, depth := r.lu.PendingAttention(r.b); depth != 2 {
		t.Error("the attention of another nexus was cleared")
	}
}
