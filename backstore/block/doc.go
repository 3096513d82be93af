// Package block serves a block device of this machine: a disk, a partition, a
// logical volume.
//
// The device is opened exclusively (O_EXCL): the system then lets nobody mount it,
// nor open it exclusively again, and refuses us a device that is in use.
//
// # Giving space back
//
// Linux offers two ways to tell a device that a range is not needed. Punching a
// hole (fallocate(2) with FALLOC_FL_PUNCH_HOLE) promises zeros afterwards, and
// exists where the device can write zeros by itself. Discarding (BLKDISCARD)
// promises nothing about what is read afterwards. A store that can punch has
// backstore.ReadsZeros; one that can only discard has not, and says so to the
// initiator (LBPRZ=0). A device that can neither is thick.
//
// No device tells Linux which of its blocks are mapped, so all are.
//
// # Sectors
//
// The initiator's logical blocks may be smaller than the sectors of the device
// (512 bytes served from a 4096-byte disk). Reads and writes of parts of a
// sector go through the page cache, or are merged by us with direct I/O; what is
// zeroed or unmapped is zeroed by writing at its edges.
package block
