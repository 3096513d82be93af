// Package migration moves disks from other targets to ours: it starts the other one,
// writes to its disks, has `isantarget import` read its configuration, serves the result,
// and wants an initiator to find the same disks: the names that INQUIRY tells, and the data.
package migration
