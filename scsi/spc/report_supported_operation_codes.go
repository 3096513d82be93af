package spc

import (
	"encoding/binary"

	"github.com/isantarget/isantarget/scsi"
)

// The REPORTING OPTIONS of REPORT SUPPORTED OPERATION CODES (SPC-4 table 292;
// SPC-5 adds the last).
const (
	reportAll            = 0
	reportOperationCode  = 1 // of a command without service actions
	reportServiceAction  = 2 // of a command with service actions
	reportEither         = 3
	timeoutsDescriptor   = 12
	commandDescriptorLen = 8
)

// reportSupportedOperationCodes is SPC-4 6.35, read off the table of the unit.
func reportSupportedOperationCodes(c *scsi.Command) error {
	options, timeouts := c.CDB.Byte(2)&0x07, c.CDB.Bit(2, 7)
	rows := c.Unit().Operations()
	var data []byte
	if options == reportAll {
		data = allCommands(rows, timeouts)
	} else {
		row, err := requestedRow(rows, options, c.CDB.Byte(3), c.CDB.Uint16(4))
		if err != nil {
			return err
		}
		data = oneCommand(row, timeouts)
	}
	return c.ReturnData(data, int(c.CDB.Uint32(6)))
}

// allCommands is the all_commands format (SPC-4 6.35.2).
func allCommands(rows []scsi.Operation, timeouts bool) []byte {
	b := make([]byte, 4, 4+len(rows)*(commandDescriptorLen+timeoutsDescriptor))
	for i := range rows {
		row := &rows[i]
		var flags byte
		if row.HasServiceAction {
			flags |= 0x01 // SERVACTV
		}
		if timeouts {
			flags |= 0x02 // CTDP
		}
		b = append(b, row.Opcode, 0)
		b = binary.BigEndian.AppendUint16(b, row.ServiceAction)
		b = append(b, 0, flags)
		b = binary.BigEndian.AppendUint16(b, uint16(len(row.Usage)))
		if timeouts {
			b = appendTimeouts(b, row.Timeouts)
		}
	}
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return b
}

// requestedRow finds the row that a request for one command means; nil if it is
// not supported.
func requestedRow(rows []scsi.Operation, options, opcode byte, action uint16) (*scsi.Operation, error) {
	for i := range rows {
		row := &rows[i]
		if row.Opcode != opcode {
			continue
		}
		switch {
		case options == reportOperationCode && row.HasServiceAction, options == reportServiceAction && !row.HasServiceAction:
			// The command is there, but not of the kind the option asks for.
			return nil, scsi.InvalidFieldInCDB(2, 2)
		case options > reportEither:
			return nil, scsi.InvalidFieldInCDB(2, 2)
		case options == reportOperationCode, row.ServiceAction == action:
			return row, nil
		}
	}
	if options > reportEither {
		return nil, scsi.InvalidFieldInCDB(2, 2)
	}
	return nil, nil
}

// oneCommand is the one_command format (SPC-4 6.35.3).
func oneCommand(row *scsi.Operation, timeouts bool) []byte {
	if row == nil {
		return []byte{0, 0x01, 0, 0} // SUPPORT 001b: not supported
	}
	b := []byte{0, 0x03, 0, 0} // SUPPORT 011b: as the standard has it
	binary.BigEndian.PutUint16(b[2:], uint16(len(row.Usage)))
	b = append(b, row.Usage...)
	if timeouts {
		b[1] |= 0x80 // CTDP
		b = appendTimeouts(b, row.Timeouts)
	}
	return b
}

// appendTimeouts adds a command timeouts descriptor (SPC-4 6.35.4).
func appendTimeouts(b []byte, t scsi.CommandTimeouts) []byte {
	b = append(b, 0, timeoutsDescriptor-2, 0, 0)
	b = binary.BigEndian.AppendUint32(b, t.Nominal)
	return binary.BigEndian.AppendUint32(b, t.Recommended)
}
