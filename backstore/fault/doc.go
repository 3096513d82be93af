// Package fault is a layer that breaks on demand: what a disk, a cable, a file
// system or a loss of power does to a store once in years, it does when a test
// says so.
//
// A [Fault] says what happens (an error, a delay, a short or torn transfer, a sync
// that is a lie, a power cut), to which calls, to which bytes, how often. A [Store]
// without faults passes everything on, and costs a READ or WRITE one atomic load.
//
// # What is lost when
//
// The layer remembers what every unit of bytes held when it was durable last, as
// long as it has a fault that needs it ([LostSync], [PowerCut]): a volatile write
// cache, seen from below. Sync forgets that. After [Store.Cut] each unit that was
// written since holds what it held then or, with [Fault.Keep], one of the things
// written to it since; never a mixture. A cache of a disk is as good: it writes
// whole units, in any order, at any time.
//
// # What it never does
//
// It never changes a byte without an error or a loss of power that explains it. So
// a wrong byte that a test finds above the layer is a fault of what stands between.
package fault
