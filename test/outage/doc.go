// Package outage cuts the power of a machine that runs isantarget: not of a process, nor of a file system, but of all of
// it. The daemon's static binary runs in a QEMU guest whose first program (appliance) does nothing but load Debian's
// modules, mount a disk and serve; its images and its state lie on ext4 or XFS on that disk. Initiators and an
// operator are outside, on the host, and note what was acknowledged.
//
// QEMU is killed at a random moment, so what the guest's kernel had in memory is lost. Its disk is ours ([Disk], which
// QEMU reaches as an NBD server): it has a volatile write cache, and at the cut it loses a random part of what no flush
// had made durable, block by block, in any order. So each step of the way down to the medium is a real one: the
// daemon's fdatasync, the file system's journal, the barriers of the block layer, the flush of the virtual disk.
//
// Then the machine boots on what is left, and what has been acknowledged must be there: blocks, by the ledgers of
// test/powercut; reservations, objects made through the API, sizes and snapshots, each as it was acknowledged or as a change
// on its way would have made it.
//
// ISANTARGET_TEST_OUTAGES says how often; without it a few times.
package outage
