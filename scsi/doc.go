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
//
// # The life of a command
//
// Execute finds the row and enters the command into the task set (SAM-5 8): it
// is enabled at once, or dormant until the commands that stand in its way have
// left. An enabled command is admitted (SAM-5 5.3.3, 5.14): a reservation of
// another nexus, a pending unit attention, a unit that is not ready, write
// protection and the CDB itself may refuse it, in this order. Then its operation
// is executed. A row with [Inline] is tried first on the goroutine that reads the
// connection, which must never wait: the operation answers [ErrWouldBlock] where
// it would, and goes on from the start on a goroutine of its own. The error of
// the operation is the status: nil, a [*Sense], a [Status]. Any other error is a
// failure of this target: the initiator hears HARDWARE ERROR, INTERNAL TARGET
// FAILURE and [LogicalUnit.Report] the rest.
//
// A command costs two short locks and no allocation. No lock is held over an
// operation.
//
// What works on blocks without being a command of that unit, such as a copy
// between two units, takes a [Claim] there.
//
// # Aborted commands
//
// Task management ([LogicalUnit.Manage], SAM-5 7) ends what is dormant and wakes
// what waits in [Delivery]. What is in a store cannot be called back: it runs out
// and its result is dropped. So Manage waits, and says FUNCTION COMPLETE when no
// affected command can act any more. If a store hangs longer than
// [LogicalUnit.HangBound] it says FUNCTION REJECTED, and the unit is not ready until
// the commands have come back.
//
// # What is kept for a nexus
//
// A [Nexus] outlives sessions. From [LogicalUnit.Attach] until [LogicalUnit.Forget] the
// unit keeps its unit attentions (SAM-5 5.14), each code once and the greatest
// reset first. [LogicalUnit.NexusLost] releases what must not outlive a session.
//
// # Persistent reservations
//
// A host registers a key for its nexus, and may then reserve the unit, share it with
// all who are registered, or take it from one that is gone (SPC-4 5.13). A registration
// belongs to the names of the nexus, so it outlives sessions and, with APTPL, the
// process. What is known is one value that is replaced whole: a command reads it
// without a lock, and a change is recorded before anybody meets it.
//
// # Clauses
//
// SAM-5: 4.7 identifiers, 5 commands, status and unit attentions, 6 events, 7 task
// management, 8 task sets. SPC-4: 4.2.5 CDBs, 4.5 sense data, 5.13 reservations, 6.11 to
// 6.14 and 7.5 mode pages, 7.6.4 TransportIDs, 7.8.6 designators. SPC-2: 7.16 to 7.22 RESERVE and RELEASE.
package scsi
