// Package job keeps account of the long operations of a daemon: what runs, how far
// it is, how fast, and what became of it.
//
// A job is started on a [Board] and runs on a goroutine of its own, so that it goes
// on when whoever asked for it is gone. It is cancelled through the context that its
// work is given; whether and when that is heeded is the work's affair, which leaves
// either all behind it or nothing. Of one object only one job runs at a time; and one
// more that only looks at it, and gives way.
//
// Jobs that have ended stay on the board for a while, bounded in number, so that
// who comes back later learns how it went. Nothing of a board outlives the process:
// what must, is the work's to record.
package job
