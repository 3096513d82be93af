// Package snapshot takes snapshots of image files.
//
// # Two ways
//
// Where the file system can share blocks between files (XFS, btrfs) a snapshot is a file
// that shares all blocks of the image (FICLONE). It depends on nothing and nothing on it;
// the image stays what it was, and no layer is put above it.
//
// Elsewhere (ext4) the image itself becomes the snapshot, and an empty sparse file takes
// its place: an [Overlay], which holds what is written from then on. What it does not
// hold is read from the snapshot. Overlays lie above each other as snapshots are taken,
// and several may lie above one snapshot: after a rollback, and by clones.
//
// # What an overlay holds
//
// A block is held if the file system says that it was written: its own map of extents is
// the truth, and there is no other that could disagree with it. It is read once, when
// the overlay is opened, into a bit for each block, which is set after the block was
// written. So no read asks the file system where its data is, and nothing has to be made
// durable in an order: ext4, XFS and btrfs show an extent as written only once its data
// is there, and a dirty page of the page cache is written before the map is read. After
// SIGKILL all that was written is held; after a loss of power all that was synced.
//
// From this follows what an Overlay must do:
//
//   - Blocks are written whole. A write of a part of a block that is not held yet brings
//     the rest with it, in one write.
//   - Zeros above data of the snapshot are written. A hole would show the snapshot again,
//     and space that is allocated but not written is no mark of anything: a crash leaves
//     such space behind where a write was on its way. (SEEK_DATA even takes it for data,
//     once it has been read into the page cache. That is why the map is read with FIEMAP,
//     and not while the overlay is in use.)
//   - Nobody else may touch the file: copied with its zeros made holes, it is worth nothing.
//
// What a file system really does is tried on each new overlay before it is used.
//
// # What is where
//
// Beside the image DISK.img is the folder DISK.img.snapshots. It has a file for each
// snapshot, and record.json: their names and times, and by which ids the image may go.
// Each file that is or was an overlay or a snapshot has a mark, an extended attribute,
// with its id and, if it is an overlay, what it lies above. The mark goes with the file,
// so one rename(2) changes what the image is: before it the old state holds, behind it
// the new one. The record, written before, knows both. An image that has lost its mark,
// or a mark without a record, is refused: an overlay alone looks like a disk, and is none.
//
// # Deleting
//
// A snapshot that nothing lies above is removed. Else what lies above it, which is mostly
// the smaller one, is merged into it, and it takes that one's place. What is merged is
// never changing: an image that is served is frozen first, as by a snapshot, and only
// the rest, which was written while that was merged, needs the image for itself.
package snapshot
