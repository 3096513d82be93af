package spc

import (
	"testing"

	"github.com/isantarget/isantarget/scsi"
)

const (
	caching    = "08 12 04 0000000000000000000000000000000000"
	control    = "0a 0a 00 10 00 40 0000 0000 0000"
	exceptions = "1c 0a 00 06 00000000 00000000"
)

func TestModeSense_SPC4_6_13(t *testing.T) {
	r := newRig(t, nil)
	const short, long = "00000009 00 000200", "0000000000000009 00000000 00000200"
	wantData(t, r.do(t, "1a 00 3f 00 ff 00"), "37 00 00 08"+short+caching+control+exceptions)
	wantData(t, r.do(t, "1a 00 3f ff ff 00"), "37 00 00 08"+short+caching+control+exceptions)
	wantData(t, r.do(t, "1a 00 00 00 ff 00"), "0b 00 00 08"+short)
	wantData(t, r.do(t, "5a 08 00 00 000000 00ff 00"), "0006 00 00 00 00 0000")
	wantData(t, r.do(t, "1a 08 0a 00 ff 00"), "0f 00 00 00"+control)
	wantData(t, r.do(t, "1a 00 0a 00 06 00"), "17 00 00 08 0000")
	wantData(t, r.do(t, "1a 08 4a 00 ff 00"), "0f 00 00 00"+"0a 0a 04 00 08 40 0000 0000 0000")
	wantData(t, r.do(t, "1a 08 8a 00 ff 00"), "0f 00 00 00"+control)
	wantData(t, r.do(t, "5a 00 0a 00 000000 00ff 00"), "001a 00 00 00 00 0008"+short+control)
	wantData(t, r.do(t, "5a 10 0a 00 000000 00ff 00"), "0022 00 00 01 00 0010"+long+control)
	wantData(t, r.do(t, "5a 18 0a 00 000000 00ff 00"), "0012 00 00 00 00 0000"+control)

	wantError(t, r.do(t, "1a 00 ca 00 ff 00"), scsi.IllegalRequest(scsi.ASCSavingParametersNotSupported))
	wantError(t, r.do(t, "1a 00 01 00 ff 00"), scsi.InvalidFieldInCDB(2, 5))
	wantError(t, r.do(t, "1a 00 0a 01 ff 00"), scsi.InvalidFieldInCDB(3, scsi.WholeByte))
	wantError(t, r.do(t, "1a 00 3f 01 ff 00"), scsi.InvalidFieldInCDB(3, scsi.WholeByte))
	wantError(t, r.do(t, "1a 00 40 00 ff 00"), scsi.InvalidFieldInCDB(2, 5))
	wantError(t, r.do(t, "1a 10 3f 00 ff 00"), scsi.InvalidFieldInCDB(1, 4)) // LLBAA is of MODE SENSE (10)

	r.header = 0x10
	wantData(t, r.do(t, "1a 08 0a 00 04 00"), "0f 00 10 00")
	r.header = 0x90
	wantData(t, r.do(t, "1a 08 0a 00 04 00"), "0f 00 90 00")
}

func TestModeSenseOfSavedValues_SPC4_6_13(t *testing.T) {
	r := newRig(t, keeper{})
	const saved = "8a 0a 00 10 00 40 0000 0000 0000" // PS
	wantData(t, r.do(t, "1a 08 ca 00 ff 00"), "0f 00 00 00"+saved)
	// MODE SELECT with SP, then another without.
	wantError(t, r.out(t, "15 11 00 00 10 00", "00 00 00 00 0a 0a 00 10 08 40 0000 0000 0000"), nil)
	wantError(t, r.out(t, "15 10 00 00 10 00", "00 00 00 00 8a 0a 04 10 00 40 0000 0000 0000"), nil)
	wantData(t, r.do(t, "1a 08 ca 00 ff 00"), "0f 00 00 00 8a 0a 00 10 08 40 0000 0000 0000")
	wantData(t, r.do(t, "1a 08 0a 00 ff 00"), "0f 00 00 00 8a 0a 04 10 00 40 0000 0000 0000")
}

func TestModeSelect_SPC4_6_11(t *testing.T) {
	r := newRig(t, nil)
	const swp = "0a 0a 00 10 08 40 0000 0000 0000"
	tests := []struct {
		name, cdb, list string
		want            error
	}{
		{"six", "15 10 00 00 10 00", "00 00 00 00" + swp, nil},
		{"ten", "55 10 00 00 00 00 00 0014 00", "0000 00 00 00 00 0000" + swp, nil},
		{"with block descriptor", "15 10 00 00 18 00", "00 00 00 08 00000009 00 000200" + swp, nil},
		{"with block descriptor, no change", "15 10 00 00 18 00", "00 00 00 08 00000000 00 000200" + swp, nil},
		{"with block descriptor, all of it", "15 10 00 00 18 00", "00 00 00 08 ffffffff 00 000200" + swp, nil},
		{"with long block descriptor", "55 10 00 00 00 00 00 0024 00", "0000 00 00 01 00 0010 0000000000000009 00000000 00000200" + swp, nil},
		{"two pages", "15 10 00 00 24 00", "00 00 00 00" + swp + caching, nil},
		{"nothing", "15 10 00 00 00 00", "", nil},
		{"header alone", "15 10 00 00 04 00", "00 00 00 00", nil},
		{"block descriptor alone", "15 10 00 00 0c 00", "00 00 00 08 00000009 00 000200", nil},

		{"not PF", "15 00 00 00 10 00", "00 00 00 00" + swp, scsi.InvalidFieldInCDB(1, 4)},
		{"SP without a keeper", "15 11 00 00 10 00", "00 00 00 00" + swp, scsi.InvalidFieldInCDB(1, 0)},
		{"half a header", "15 10 00 00 03 00", "00 00 00", scsi.IllegalRequest(scsi.ASCParameterListLengthError)},
		{"half a block descriptor", "15 10 00 00 08 00", "00 00 00 08 00000009", scsi.IllegalRequest(scsi.ASCParameterListLengthError)},
		{"half a page", "15 10 00 00 0f 00", "00 00 00 00 0a 0a 00 10 08 40 0000 0000 00", scsi.IllegalRequest(scsi.ASCParameterListLengthError)},
		{"a byte of a page", "15 10 00 00 05 00", "00 00 00 00 0a", scsi.IllegalRequest(scsi.ASCParameterListLengthError)},
		{"half a subpage header", "15 10 00 00 07 00", "00 00 00 00 4a 01 00", scsi.IllegalRequest(scsi.ASCParameterListLengthError)},
		{"less than promised", "15 10 00 00 10 00", "00 00 00 00", scsi.IllegalRequest(scsi.ASCParameterListLengthError)},
		{"medium type", "15 10 00 00 04 00", "00 01 00 00", scsi.InvalidFieldInParameterList(1, scsi.WholeByte)},
		{"medium type of ten", "55 10 00 00 00 00 00 0008 00", "0000 01 00 00 00 0000", scsi.InvalidFieldInParameterList(2, scsi.WholeByte)},
		{"odd descriptor length", "15 10 00 00 10 00", "00 00 00 04" + swp, scsi.InvalidFieldInParameterList(3, scsi.WholeByte)},
		{"short descriptor called long", "55 10 00 00 00 00 00 0010 00", "0000 00 00 01 00 0008 00000009 00 000200", scsi.InvalidFieldInParameterList(6, scsi.WholeByte)},
		{"another capacity", "15 10 00 00 0c 00", "00 00 00 08 00000008 00 000200", scsi.InvalidFieldInParameterList(4, scsi.WholeByte)},
		{"another block length", "15 10 00 00 0c 00", "00 00 00 08 00000009 00 001000", scsi.InvalidFieldInParameterList(9, scsi.WholeByte)},
		{"another block length, long", "55 10 00 00 00 00 00 0018 00", "0000 00 00 01 00 0010 0000000000000009 00000000 00001000", scsi.InvalidFieldInParameterList(20, scsi.WholeByte)},
		{"unchangeable", "15 10 00 00 10 00", "00 00 00 00 0a 0a 00 00 00 40 0000 0000 0000", scsi.InvalidFieldInParameterList(7, 4)},
		{"unknown page", "15 10 00 00 06 00", "00 00 00 00 01 00", scsi.InvalidFieldInParameterList(4, 5)},
		{"page length", "15 10 00 00 0a 00", "00 00 00 00 0a 04 00 10 00 40", scsi.InvalidFieldInParameterList(5, scsi.WholeByte)},
		{"second page wrong", "15 10 00 00 12 00", "00 00 00 00" + swp + "01 00", scsi.InvalidFieldInParameterList(16, 5)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := r.out(t, test.cdb, test.list)
			wantError(t, c, test.want)
			changed := test.want == nil && len(test.list) > 40
			if r.lu.WriteProtected() != changed {
				t.Errorf("write protected: %v", r.lu.WriteProtected())
			}
			r.out(t, "15 10 00 00 10 00", "00 00 00 00"+control)
		})
	}
	if code, depth := r.lu.PendingAttention(r.b); code != scsi.ASCModeParametersChanged || depth != 1 {
		t.Errorf("the other nexus has %d attentions, first %v", depth, code)
	}
}
