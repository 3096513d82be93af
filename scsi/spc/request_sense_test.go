package spc

import (
	"testing"

	"github.com/isantarget/isantarget/scsi"
)

func TestRequestSense_SPC4_6_39(t *testing.T) {
	r := newRig(t, nil)
	wantData(t, r.do(t, "03 00 00 00 ff 00"), "70 00 00 00000000 0a 00000000 0000 00 000000")
	wantData(t, r.do(t, "03 01 00 00 ff 00"), "72 00 0000 000000 00")
	wantData(t, r.do(t, "03 00 00 00 04 00"), "70 00 00 00")
	wantData(t, r.do(t, "03 00 00 00 00 00"), "")

	r.lu.Attention(scsi.ASCModeParametersChanged, r.a, nil)
	wantData(t, r.do(t, "03 00 00 00 ff 00"), "70 00 06 00000000 0a 00000000 2a01 00 000000")
	wantData(t, r.do(t, "03 00 00 00 ff 00"), "70 00 00 00000000 0a 00000000 0000 00 000000")

	half := uint16(0x8000)
	r.notReady = &scsi.Sense{Key: scsi.KeyNotReady, Code: scsi.ASCLogicalUnitNotReadyFormatInProgress, Progress: &half}
	wantData(t, r.do(t, "03 01 00 00 ff 00"), "72 02 0404 000000 08 0206 0000 808000 00")
	wantError(t, r.do(t, "00 00 00 00 00 00"), r.notReady)

	// A unit that is not ready comes first, and leaves the attention.
	r.lu.Attention(scsi.ASCModeParametersChanged, r.a, nil)
	wantData(t, r.do(t, "03 01 00 00 02 00"), "72 02")
	r.notReady = nil
	wantError(t, r.do(t, "03 04 00 00 ff 00"), scsi.InvalidFieldInCDB(1, 2)) // clears nothing
	wantData(t, r.do(t, "03 01 00 00 02 00"), "72 06")
	wantData(t, r.do(t, "03 01 00 00 02 00"), "72 00")
}

func TestTestUnitReady_SPC4_6_47(t *testing.T) {
	r := newRig(t, nil)
	wantError(t, r.do(t, "00 00 00 00 00 00"), scsi.Good)
	wantError(t, r.do(t, "00 01 00 00 00 00"), scsi.InvalidFieldInCDB(1, 0))
	r.notReady = scsi.NotReady(scsi.ASCMediumNotPresent)
	wantError(t, r.do(t, "00 00 00 00 00 00"), r.notReady)
	r.lu.Attention(scsi.ASCModeParametersChanged, r.a, nil)
	wantError(t, r.do(t, "00 00 00 00 00 00"), &scsi.Sense{Key: scsi.KeyUnitAttention, Code: scsi.ASCModeParametersChanged})
}
