// Package doctor examines an iSCSI target, ours or another's, as those who use it do:
// open-iscsi, multipath, VMware, Windows failover clusters, fence_scsi. It tells what
// passes, what fails, what that would break, and what to do about it.
//
// # A check
//
// Each [Check] is a row of a table: whom it is for, what must be true, what breaks if it
// is not, and the function that finds out. It judges effects: that COMPARE AND WRITE of two
// hosts loses no update, that a host which was fenced cannot write, that unmapped blocks
// are unmapped. A status byte alone proves nothing.
//
// # What it leaves behind
//
// By itself it only reads. With [Options.Destructive] it writes to blocks, whose content
// it puts back; it takes reservations, and gives them back; it resets the unit. On a unit
// where somebody has registered for persistent reservations it takes none. What it could
// not put back stands in [Report.Left].
//
// # What a target may do to it
//
// Nothing: every wait has an end, every answer a size, and no answer is believed to be
// well formed.
package doctor
