// Package backstore says what a medium is, and keeps every command of SBC-3
// away from how it is kept.
//
// # The domain
//
// A direct access block device is, below its protocol, a row of bytes that
// survives. SBC-3 asks eight things of it:
//
//   - read and write a range (READ, WRITE: 5.8 ff.);
//   - make earlier writes survive a power loss (SYNCHRONIZE CACHE), or make
//     this one survive before it is answered (the FUA bit, or WCE=0);
//   - forget a range, so that its space can serve others (UNMAP; logical block
//     provisioning, SBC-3 4.7);
//   - fill a range with zeros, with or without forgetting it (WRITE SAME);
//   - tell what is kept and what is forgotten (GET LBA STATUS);
//   - copy from one place to another (EXTENDED COPY);
//   - replace a range only if it holds what was expected (COMPARE AND WRITE).
//
// A medium may be an image file, a disk, memory, or something composed of
// other media. Not each can do each of these things, and the worst a target
// can do is to claim one that it does not have: a host that was told "zeros
// after UNMAP" builds its file system upon it.
//
// # The parts
//
// A [Store] is the smallest medium: five methods. What it can do beyond them
// are capabilities ([Unmapper], [Zeroer], [Mapper] ...), one method each. A
// [Layer] is a store upon other stores. A [Medium] is a store with its
// capabilities bound once: there each operation exists, native, emulated or
// refused, and each range is checked. The device server (scsi/sbc) knows Medium
// only.
//
// Everything here is addressed in bytes. The logical block length belongs to
// the device server: the same image may be served in blocks of 512 or 4096.
//
// # What may be relied on
//
//   - Concurrency: every method may be called at once from many goroutines,
//     Close included: a call after (or lost to) Close fails with [ErrGone].
//     Two writes that overlap in time may land in either order, or mixed.
//     Disjoint writes never disturb each other, however close they lie.
//   - Order: a read that starts after a write returned sees that write. Nothing
//     else is ordered; ordering is the task set's affair (SAM-5 clause 8).
//   - Durability: only Sync and WriteThroughAt promise it. When Sync failed once
//     the store stays failed: what the failed one should have made durable may
//     be lost, and no later success could take that back.
//   - Buffers: a store borrows p for the length of the call.
//   - Errors: a [*Error] names the first byte that could not be read or
//     written, so that sense data can carry the exact logical block address.
package backstore
