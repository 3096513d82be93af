// Package spc is what every SCSI device server shares: the commands of SPC-4
// that do not depend on the peripheral device type, as rows of a command table.
//
//   - INQUIRY (6.6) with the vital product data pages 00h, 80h, 83h and 86h (7.8)
//     and those of the device; REPORT LUNS (6.33), REQUEST SENSE (6.39) and TEST
//     UNIT READY (6.47): how an initiator finds a unit and learns of its state.
//   - MODE SENSE (6.13, 6.14) and MODE SELECT (6.11, 6.12): the mode pages that
//     package scsi keeps. LOG SENSE (6.8).
//   - PERSISTENT RESERVE IN (6.15) and OUT (6.16), every service action but REPLACE
//     LOST RESERVATION; RESERVE and RELEASE in both lengths (SPC-2 7.16 to 7.22).
//   - REPORT SUPPORTED OPERATION CODES (6.35) and REPORT SUPPORTED TASK MANAGEMENT
//     FUNCTIONS (6.36), read off the command table itself.
//   - SEND DIAGNOSTIC (6.42), RECEIVE DIAGNOSTIC RESULTS (6.28), READ BUFFER (6.18)
//     and WRITE BUFFER (6.49): the tests of a unit and of the way to it.
//   - EXTENDED COPY (6.4) and what tells about copies (6.26 to 6.30): the
//     [CopyManager]; what moves the blocks is the device server's [BlockCopier].
//
// A device server appends its own rows to those of [Operations]. [Absent] is the
// device server for the LUNs that have no logical unit.
package spc
