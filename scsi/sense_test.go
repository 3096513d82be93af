package scsi

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
)

func TestSense_SPC4_4_5(t *testing.T) {
	five, big, half := uint64(5), uint64(1)<<32, uint16(0x8000)
	tests := []struct {
		name              string
		sense             Sense
		fixed, descriptor string
	}{
		{"key and code", Sense{Key: KeyNotReady, Code: ASCMediumNotPresent},
			"70 00 02 00000000 0a 00000000 3a00 00 000000", "72 02 3a00 000000 00"},
		{"deferred", Sense{Key: KeyMediumError, Code: ASCWriteError, Deferred: true},
			"71 00 03 00000000 0a 00000000 0c00 00 000000", "73 03 0c00 000000 00"},
		{"information", Sense{Key: KeyMediumError, Code: ASCUnrecoveredReadError, Information: &five},
			"f0 00 03 00000005 0a 00000000 1100 00 000000", "72 03 1100 000000 0c 000a8000 0000000000000005"},
		{"information of more than 32 bits", Sense{Key: KeyMediumError, Code: ASCUnrecoveredReadError, Information: &big},
			"70 00 03 00000000 0a 00000000 1100 00 000000", "72 03 1100 000000 0c 000a8000 0000000100000000"},
		{"command specific", Sense{Key: KeyIllegalRequest, Code: ASCInvalidFieldInCDB, CommandSpecific: &five},
			"70 00 05 00000000 0a 00000005 2400 00 000000", "72 05 2400 000000 0c 010a0000 0000000000000005"},
		{"field of the CDB", *InvalidFieldInCDB(2, 5),
			"70 00 05 00000000 0a 00000000 2400 00 cd0002", "72 05 2400 000000 08 0206 0000 cd0002 00"},
		{"whole byte of the parameter list", *InvalidFieldInParameterList(0x102, WholeByte),
			"70 00 05 00000000 0a 00000000 2600 00 800102", "72 05 2600 000000 08 0206 0000 800102 00"},
		{"progress", Sense{Key: KeyNotReady, Code: ASCLogicalUnitNotReadyFormatInProgress, Progress: &half},
			"70 00 02 00000000 0a 00000000 0404 00 808000", "72 02 0404 000000 08 0206 0000 808000 00"},
		{"everything", Sense{Key: KeyMiscompare, Code: ASCMiscompareDuringVerifyOperation, Information: &five, CommandSpecific: &five, Field: &FieldPointer{}},
			"f0 00 0e 00000005 0a 00000005 1d00 00 800000", "72 0e 1d00 000000 20 000a8000 0000000000000005 010a0000 0000000000000005 0206 0000 800000 00"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for format, want := range []string{test.fixed, test.descriptor} {
				w, err := hex.DecodeString(strings.ReplaceAll(want, " ", ""))
				if err != nil {
					t.Fatal(err)
				}
				got := test.sense.Append([]byte("x"), format == 1)
				if !bytes.Equal(got[1:], w) || got[0] != 'x' {
					t.Errorf("descriptor format %d:\n%X, want\n%X", format, got[1:], w)
				}
				if len(w) > MaxSenseLength {
					t.Errorf("%d bytes are more than MaxSenseLength", len(w))
				}
			}
		})
	}
}

func TestSenseError(t *testing.T) {
	got := InvalidFieldInCDB(2, 5).Error()
	if want := "ILLEGAL REQUEST, INVALID FIELD IN CDB (24/00) (byte 2 bit 5 of the CDB)"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := (&Sense{Code: 0x1234, Deferred: true}).Error(); got != "deferred NO SENSE, 12/34" {
		t.Errorf("%q for an unknown code", got)
	}
}

func TestMiscompare_SBC3_5_30(t *testing.T) {
	s := Miscompare(513)
	if s.Key != KeyMiscompare || s.Code != ASCMiscompareDuringVerifyOperation || *s.Information != 513 {
		t.Error(s)
	}
}
