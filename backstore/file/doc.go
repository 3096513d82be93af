// Package file keeps a medium in an image file.
//
// # Sparse and fixed
//
// An image file is a row of blocks of a file system. A [Sparse] image is as
// long as the medium from the first day, but takes space only as it is written,
// and gives space back when the initiator says what it does not need any more
// (UNMAP, SBC-3 4.7.3: thin provisioning). A [Fixed] image has all its space
// from the start (fallocate(2)): a write to it cannot run out of space, UNMAP is
// refused, and zeroing keeps the space (SBC-3 4.7.2: full provisioning).
//
// Where the file system copies on write (btrfs, or an image that shares extents
// with a reflinked copy) fallocate cannot promise that: a fixed image there is
// only as fixed as its file system.
//
// # What is where
//
//   - A new image appears whole or not at all: it is made without a name, locked,
//     given its size, synced, and only then linked into its folder, which is
//     synced too.
//   - An open image is locked (flock(2)): exclusively, or shared by those who
//     only read. The lock goes with the descriptor, so no crash leaves one behind.
//   - Holes are punched with fallocate(2) and found with SEEK_DATA, SEEK_HOLE
//     and FIEMAP, which tells a hole from space that was allocated but never
//     written (SBC-3 calls it anchored).
//   - A new sparse image on XFS takes its space in aligned units of 1 MiB (the extent
//     size hint), so that images that are written by turns lie in few pieces. What of
//     a unit is not written yet is anchored.
//   - Ahead of who writes a sparse image in sequence space is taken, where the owner wants
//     that (Preallocate): only on ext4 and XFS, in steps that double from 8 to 64 MiB. It
//     is anchored, and what of it was not written is given back.
//   - The page cache is used, unless Direct is asked for. Reads whose data is
//     there are answered without waiting (preadv2(2), RWF_NOWAIT) on ext4, XFS
//     and btrfs; writes into it on XFS. (Linux 6.18: ext4 and tmpfs refuse
//     RWF_NOWAIT for buffered writes, tmpfs for reads as well; btrfs answers
//     EAGAIN to every write.)
package file
