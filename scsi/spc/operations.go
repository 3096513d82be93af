package spc

import "github.com/isantarget/isantarget/scsi"

// always are the traits of a command that is answered whatever the state of the
// unit, and at once.
const always = scsi.Inline | scsi.KeepsAttentions | scsi.WithoutMedium

// brief are the timeouts of a command that touches no medium, but may have to
// wait for those before it.
func brief() scsi.CommandTimeouts { return scsi.CommandTimeouts{Nominal: 1, Recommended: 30} }

// Operations are the rows that every device server has. They have a state of
// their own (the echo buffers), so each logical unit needs its own.
func Operations() []scsi.Operation {
	echo := newEchoBuffers()
	rows := []scsi.Operation{
		{
			Name: "TEST UNIT READY", Opcode: 0x00,
			Usage:    []byte{0x00, 0, 0, 0, 0, 0},
			Timeouts: brief(), Conflict: scsi.ConflictOnReserve, Traits: scsi.Inline,
			Execute: testUnitReady,
		},
		requestSenseRow(),
		inquiryRow(),
		{
			Name: "MODE SELECT (6)", Opcode: 0x15,
			Usage:    []byte{0x15, 0x11, 0, 0, 0xff, 0},
			Timeouts: brief(), Conflict: scsi.ConflictAlways, Access: scsi.InStandby, Order: scsi.Alone, Traits: scsi.WithoutMedium,
			Execute: modeSelect6,
		},
		{
			Name: "RESERVE (6)", Opcode: 0x16,
			Usage:    []byte{0x16, 0, 0, 0, 0, 0},
			Timeouts: brief(), Conflict: scsi.ConflictOnRegistration, Order: scsi.Alone, Traits: scsi.Inline | scsi.WithoutMedium,
			Execute: reserve,
		},
		{
			Name: "RELEASE (6)", Opcode: 0x17,
			Usage:    []byte{0x17, 0, 0, 0, 0, 0},
			Timeouts: brief(), Conflict: scsi.ConflictOnRegistration, Traits: scsi.Inline | scsi.WithoutMedium,
			Execute: release,
		},
		{
			Name: "MODE SENSE (6)", Opcode: 0x1a,
			Usage:    []byte{0x1a, 0x08, 0xff, 0xff, 0xff, 0},
			Timeouts: brief(), Conflict: scsi.ConflictOnWrite, Access: scsi.InStandby, Traits: scsi.Inline | scsi.WithoutMedium,
			Execute: modeSense6,
		},
		{
			Name: "RECEIVE DIAGNOSTIC RESULTS", Opcode: 0x1c,
			Usage:    []byte{0x1c, 0x01, 0xff, 0xff, 0xff, 0},
			Timeouts: brief(), Conflict: scsi.ConflictOnWrite, Access: scsi.InStandby, Traits: scsi.Inline | scsi.WithoutMedium,
			Execute: receiveDiagnosticResults,
		},
		{
			Name: "SEND DIAGNOSTIC", Opcode: 0x1d,
			Usage:    []byte{0x1d, 0xf7, 0, 0xff, 0xff, 0},
			Timeouts: brief(), Conflict: scsi.ConflictAlways, Access: scsi.InStandby,
			Execute: sendDiagnostic,
		},
		echo.row("WRITE BUFFER (write data to echo buffer)", 0x3b, modeEchoBuffer, scsi.ConflictAlways, 0, echo.write),
		echo.row("READ BUFFER (descriptor)", 0x3c, modeDescriptor, scsi.ConflictOnWrite, scsi.Inline, noBuffer),
		echo.row("READ BUFFER (read data from echo buffer)", 0x3c, modeEchoBuffer, scsi.ConflictOnWrite, scsi.Inline, echo.read),
		echo.row("READ BUFFER (echo buffer descriptor)", 0x3c, modeEchoBufferDescriptor, scsi.ConflictOnWrite, scsi.Inline, echoBufferDescriptor),
		{
			Name: "LOG SENSE", Opcode: 0x4d,
			Usage:    []byte{0x4d, 0, 0xff, 0xff, 0, 0xff, 0xff, 0xff, 0xff, 0},
			Timeouts: brief(), Conflict: scsi.Allowed, Access: scsi.InStandby, Traits: scsi.Inline | scsi.WithoutMedium | scsi.DuringSanitize,
			Execute: logSense,
		},
		{
			Name: "MODE SELECT (10)", Opcode: 0x55,
			Usage:    []byte{0x55, 0x11, 0, 0, 0, 0, 0, 0xff, 0xff, 0},
			Timeouts: brief(), Conflict: scsi.ConflictAlways, Access: scsi.InStandby, Order: scsi.Alone, Traits: scsi.WithoutMedium,
			Execute: modeSelect10,
		},
		{
			Name: "RESERVE (10)", Opcode: 0x56,
			Usage:    []byte{0x56, 0, 0, 0, 0, 0, 0, 0, 0, 0},
			Timeouts: brief(), Conflict: scsi.ConflictOnRegistration, Order: scsi.Alone, Traits: scsi.Inline | scsi.WithoutMedium,
			Execute: reserve,
		},
		{
			Name: "RELEASE (10)", Opcode: 0x57,
			Usage:    []byte{0x57, 0, 0, 0, 0, 0, 0, 0, 0, 0},
			Timeouts: brief(), Conflict: scsi.ConflictOnRegistration, Traits: scsi.Inline | scsi.WithoutMedium,
			Execute: release,
		},
		{
			Name: "MODE SENSE (10)", Opcode: 0x5a,
			Usage:    []byte{0x5a, 0x18, 0xff, 0xff, 0, 0, 0, 0xff, 0xff, 0},
			Timeouts: brief(), Conflict: scsi.ConflictOnWrite, Access: scsi.InStandby, Traits: scsi.Inline | scsi.WithoutMedium,
			Execute: modeSense10,
		},
		reportLUNsRow(),
		reportTargetPortGroupsRow(),
		setTargetPortGroupsRow(),
		{
			Name: "REPORT SUPPORTED OPERATION CODES", Opcode: 0xa3, ServiceAction: 0x0c, HasServiceAction: true,
			Usage:    []byte{0xa3, 0x0c, 0x87, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0},
			Timeouts: brief(), Conflict: scsi.ConflictOnWrite, Traits: scsi.Inline | scsi.WithoutMedium,
			Execute: reportSupportedOperationCodes,
		},
		{
			Name: "REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS", Opcode: 0xa3, ServiceAction: 0x0d, HasServiceAction: true,
			Usage:    []byte{0xa3, 0x0d, 0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0},
			Timeouts: brief(), Conflict: scsi.ConflictOnWrite, Traits: scsi.Inline | scsi.WithoutMedium,
			Execute: reportSupportedTaskManagementFunctions,
		},
	}
	rows = append(rows, persistentReserveInRows()...)
	return append(rows, persistentReserveOutRows()...)
}

func requestSenseRow() scsi.Operation {
	return scsi.Operation{
		Name: "REQUEST SENSE", Opcode: 0x03,
		Usage:    []byte{0x03, 0x01, 0, 0, 0xff, 0},
		Timeouts: brief(), Conflict: scsi.Allowed, Access: scsi.InEveryState, Traits: always,
		Execute: requestSense,
	}
}

func inquiryRow() scsi.Operation {
	return scsi.Operation{
		Name: "INQUIRY", Opcode: 0x12,
		Usage:    []byte{0x12, 0x01, 0xff, 0xff, 0xff, 0},
		Timeouts: brief(), Conflict: scsi.Allowed, Access: scsi.InEveryState, Traits: always,
		Execute: inquiry,
	}
}

func reportLUNsRow() scsi.Operation {
	return scsi.Operation{
		Name: "REPORT LUNS", Opcode: 0xa0,
		Usage:    []byte{0xa0, 0, 0xff, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0},
		Timeouts: brief(), Conflict: scsi.Allowed, Access: scsi.InEveryState, Traits: always,
		Execute: reportLUNs,
	}
}
