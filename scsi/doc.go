// Package scsi is the SCSI architecture model (SAM-5): commands, the logical
// units that execute them, and what stands around a logical unit — a task set
// and its task manager, unit attention conditions for each I_T nexus,
// reservations, mode pages and an identity.
//
// It stands between the transport protocol above (package target speaks iSCSI)
// and the medium below (package backstore keeps bytes) and knows neither. A
// target port hands a [Command] to [LogicalUnit.Execute]; the logical unit puts
// it into its task set, runs the [Operation] that the CDB names when the task
// attributes allow it, and gives it back through [Delivery.SendCommandComplete].
//
// What a device does is a [DeviceServer]: a table of operations. Package spc
// holds the rows that every device shares (SPC-4), package sbc those of a disk
// (SBC-3). One row is the whole law of a command: its CDB, the reservations
// that refuse it, how it is ordered against others, and the function that does
// it; INQUIRY, REPORT SUPPORTED OPERATION CODES, reservations and the task set
// all read the same row.
package scsi
