// Package reservation proves persistent reservations (SPC-4 5.12 and 5.13) with the
// daemon as a process, and hosts that are internal/initiator: what was acknowledged
// with APTPL is there after SIGKILL at any moment, and the sequences of fence_scsi and
// of a Windows failover cluster end as those programs expect.
package reservation
