// Package descriptor does positioned input and output on a file descriptor of
// the system, for the stores that have one: image files and block devices.
//
// os.File would do most of it. What it does not do is the reason for this
// package: preadv2(2) and pwritev2(2) with RWF_NOWAIT (which tell whether an
// answer is in the page cache) and RWF_DSYNC (which makes one write durable),
// direct I/O with ranges of any alignment, and a memory of failed syncs.
//
// # Failed syncs
//
// Linux reports a failure to write back dirty pages once: to the next fsync, or
// to the next write with RWF_DSYNC. The pages are marked clean by then, so the
// fsync after it succeeds although the bytes never reached the disk. A
// descriptor remembers: once it has seen such a failure, every later Sync fails
// with it.
//
// # Direct I/O
//
// With O_DIRECT both the place in memory and the place in the file must be
// aligned. What is not goes through an aligned buffer of at most 1 MiB; a write
// that begins or ends within an aligned block reads that block first, and keeps
// all other writers out until it has written it back. Everything aligned runs
// side by side.
package descriptor
