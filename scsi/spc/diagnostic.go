package spc

import "github.com/isantarget/isantarget/scsi"

// The SELF-TEST CODE values of SEND DIAGNOSTIC that are done (SPC-4 table 267).
const (
	noSelfTest         = 0
	foregroundShort    = 5
	foregroundExtended = 6
)

// sendDiagnostic is SEND DIAGNOSTIC (SPC-4 6.42). Every self-test is the default
// self-test: the unit must be ready, and the logical unit has found it so before
// it comes here. Background self-tests are refused, for there is no log page of
// their results. The one diagnostic page is the list of pages.
func sendDiagnostic(c *scsi.Command) error {
	test, code, n := c.CDB.Bit(1, 2), c.CDB.Byte(1)>>5, int(c.CDB.Uint16(3))
	switch {
	case test && code != noSelfTest:
		return scsi.InvalidFieldInCDB(1, 7)
	case code != noSelfTest && code != foregroundShort && code != foregroundExtended:
		return scsi.InvalidFieldInCDB(1, 7)
	case (test || code != noSelfTest) && n != 0:
		return scsi.InvalidFieldInCDB(3, scsi.WholeByte)
	case n == 0:
		return nil
	case !c.CDB.Bit(1, 4):
		return scsi.InvalidFieldInCDB(1, 4) // PF: another format than SPC-4's
	}
	list, err := c.ParameterList(n)
	if err != nil {
		return err
	}
	switch {
	case list[0] != supportedDiagnosticPages:
		return scsi.InvalidFieldInParameterList(0, scsi.WholeByte)
	case len(list) < 4:
		return scsi.IllegalRequest(scsi.ASCParameterListLengthError)
	case list[2] != 0 || list[3] != 0:
		return scsi.InvalidFieldInParameterList(2, scsi.WholeByte)
	}
	return nil
}

// supportedDiagnosticPages is the code of that diagnostic page (SPC-4 7.2.4).
const supportedDiagnosticPages = 0x00

// receiveDiagnosticResults is RECEIVE DIAGNOSTIC RESULTS (SPC-4 6.32): the list
// of diagnostic pages, asked for by its code (PCV) or by the SEND DIAGNOSTIC before.
func receiveDiagnosticResults(c *scsi.Command) error {
	if c.CDB.Bit(1, 0) && c.CDB.Byte(2) != supportedDiagnosticPages {
		return scsi.InvalidFieldInCDB(2, scsi.WholeByte)
	}
	page := []byte{supportedDiagnosticPages, 0, 0, 1, supportedDiagnosticPages}
	return c.ReturnData(page, int(c.CDB.Uint16(3)))
}
