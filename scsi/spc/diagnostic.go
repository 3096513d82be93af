package spc

import (
	"encoding/binary"

	"github.com/isantarget/isantarget/scsi"
)

// supportedDiagnosticPages is the code of the one diagnostic page (SPC-4 7.2.4).
const supportedDiagnosticPages = 0x00

// sendDiagnostic is SEND DIAGNOSTIC (SPC-4 6.42). The default self-test asks
// whether the unit is ready, which the logical unit has found before it comes here.
// Short and extended self-tests are refused: there is no log page to keep their
// results in.
func sendDiagnostic(c *scsi.Command) error {
	test, code, n := c.CDB.Bit(1, 2), c.CDB.Byte(1)>>5, int(c.CDB.Uint16(3))
	switch {
	case code != 0:
		return scsi.InvalidFieldInCDB(1, 7)
	case test && n != 0:
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
	return checkDiagnosticPage(list)
}

// checkDiagnosticPage accepts the request for the list of diagnostic pages. A page
// that the parameter list length cuts is a fault of the CDB (SPC-4 table 320).
func checkDiagnosticPage(page []byte) error {
	switch {
	case page[0] != supportedDiagnosticPages:
		return scsi.InvalidFieldInParameterList(0, scsi.WholeByte)
	case len(page) < 4 || len(page) < 4+int(binary.BigEndian.Uint16(page[2:])):
		return scsi.InvalidFieldInCDB(3, scsi.WholeByte)
	case binary.BigEndian.Uint16(page[2:]) != 0:
		return scsi.InvalidFieldInParameterList(2, scsi.WholeByte)
	}
	return nil
}

// receiveDiagnosticResults is RECEIVE DIAGNOSTIC RESULTS (SPC-4 6.28): the list
// of diagnostic pages, asked for by its code (PCV) or by the SEND DIAGNOSTIC before.
func receiveDiagnosticResults(c *scsi.Command) error {
	if c.CDB.Bit(1, 0) && c.CDB.Byte(2) != supportedDiagnosticPages {
		return scsi.InvalidFieldInCDB(2, scsi.WholeByte)
	}
	page := []byte{supportedDiagnosticPages, 0, 0, 1, supportedDiagnosticPages}
	return c.ReturnData(page, int(c.CDB.Uint16(3)))
}
