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

	r.units = scsi.NewUnitMap(NewAbsent("0.1"), nil)
	wantData(t, r.do(t, "a0 00 00 000000 00000040 00 00"), "00000000 00000000")
	wantData(t, r.do(t, "a0 00 02 000000 00000040 00 00"), "00000008 00000000 0000000000000000")
}

// TestInventoryAttentionIsToldOnce: told by one unit, or known by REPORT LUNS, it is
// cleared on the others (LUICLR).
func TestInventoryAttentionIsToldOnce_SPC4_7_8_7(t *testing.T) {
	r, other := newRig(t, nil), newRig(t, nil)
	other.lu.Attach(r.a)
	other.lu.TakeAttention(r.a)
	r.units = scsi.NewUnitMap(NewAbsent("0.1"), map[scsi.LUN]*scsi.LogicalUnit{0: r.lu, scsi.NewLUN(1): other.lu})
	for _, cdb := range []string{"00 00 00 00 00 00", "03 00 00 00 ff 00", "a0 00 00 000000 00000040 00 00"} {
		for _, lu := range []*scsi.LogicalUnit{r.lu, other.lu} {
			lu.Attention(scsi.ASCReportedLUNsDataHasChanged, nil, nil)
		}
		r.do(t, cdb)
		if _, depth := other.lu.PendingAttention(r.a); depth != 0 {
			t.Errorf("after %s the other unit tells it again", cdb)
		}
		r.do(t, "00 00 00 00 00 00")
	}
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
