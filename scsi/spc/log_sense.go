package spc

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/isantarget/isantarget/scsi"
)

// The log pages (SPC-4 7.3) that every unit has.
const (
	supportedLogPages          = 0x00
	informationalExceptionsLog = 0x2f
)

// logSense is LOG SENSE (SPC-4 6.8). The values of every PC are the same, for
// nothing counts and nothing has a threshold of that kind.
func logSense(c *scsi.Command) error {
	code, subcode := c.CDB.Byte(2)&0x3f, c.CDB.Byte(3)
	pages := logPages(c.Unit())
	if code == supportedLogPages {
		return supportedLogs(c, pages, subcode)
	}
	i := slices.IndexFunc(pages, func(p scsi.LogPage) bool { return p.Code == code })
	switch {
	case i < 0:
		return scsi.InvalidFieldInCDB(2, 5)
	case subcode != 0:
		return scsi.InvalidFieldInCDB(3, scsi.WholeByte)
	case !c.MayBlock && code != informationalExceptionsLog:
		return scsi.ErrWouldBlock
	}
	parameters, err := pages[i].Parameters()
	if err != nil {
		return err
	}
	first := c.CDB.Uint16(5) // PARAMETER POINTER
	if len(parameters) == 0 && first > 0 || len(parameters) > 0 && first > parameters[len(parameters)-1].Code {
		return scsi.InvalidFieldInCDB(5, scsi.WholeByte)
	}
	var data []byte
	for _, p := range parameters {
		if p.Code >= first {
			const binaryList = 0x03 // FORMAT AND LINKING
			data = append(data, byte(p.Code>>8), byte(p.Code), binaryList, byte(len(p.Value)))
			data = append(data, p.Value...)
		}
	}
	const disableSave = 0x80 // DS: values are not saved
	return returnLog(c, []byte{code | disableSave, 0, 0, 0}, data)
}

// returnLog puts the length of the data into the header of a log page.
func returnLog(c *scsi.Command, header, data []byte) error {
	binary.BigEndian.PutUint16(header[2:], uint16(len(data)))
	return c.ReturnData(append(header, data...), int(c.CDB.Uint16(7)))
}

// supportedLogs are the pages that list the log pages (SPC-4 7.3.17 and 7.3.18).
func supportedLogs(c *scsi.Command, pages []scsi.LogPage, subcode byte) error {
	if c.CDB.Uint16(5) != 0 {
		return scsi.InvalidFieldInCDB(5, scsi.WholeByte) // there are no parameters
	}
	switch subcode {
	case 0:
		data := []byte{supportedLogPages}
		for _, p := range pages {
			data = append(data, p.Code)
		}
		return returnLog(c, make([]byte, 4), data)
	case allSubpages:
		const subpageFormat = 0x40 // SPF
		data := []byte{supportedLogPages, 0, supportedLogPages, allSubpages}
		for _, p := range pages {
			data = append(data, p.Code, 0)
		}
		return returnLog(c, []byte{supportedLogPages | subpageFormat, allSubpages, 0, 0}, data)
	}
	return scsi.InvalidFieldInCDB(3, scsi.WholeByte)
}

// logPages are those of every unit and those of its device server, ascending.
func logPages(lu *scsi.LogicalUnit) []scsi.LogPage {
	pages := []scsi.LogPage{{Code: informationalExceptionsLog, Parameters: informationalExceptions}}
	if device, ok := lu.Device.(scsi.Logger); ok {
		pages = append(pages, device.LogPages()...)
	}
	slices.SortFunc(pages, func(a, b scsi.LogPage) int { return cmp.Compare(a.Code, b.Code) })
	return pages
}

// informationalExceptions is the log page of that name (SPC-4 7.3): no exception,
// and temperatures nobody knows.
func informationalExceptions() ([]scsi.LogParameter, error) {
	return []scsi.LogParameter{{Code: 0x0000, Value: []byte{0x00, 0x00, 0xff, 0xff}}}, nil
}
