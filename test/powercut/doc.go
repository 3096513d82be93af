// Package powercut pulls the plug, some hundreds of times, and looks what is left.
//
// Workers write and flush without a pause, and a [Ledger] knows of each block what the
// target has promised: the value that a flush, FUA, WRITE AND VERIFY or a write without
// a cache made durable, and the values that were written to it since. After the cut
// each block must hold one of them, whole. What the target never acknowledged may be
// there or not.
//
// The plug is pulled in three places: in a layer right upon the store, inside the
// process (which also proves that the ledger can tell: a layer that lies about its
// flushes is found); in a real file system below the daemon, which is shut down so that
// what it had not written is lost; and in the daemon, by SIGKILL, where nothing that was
// acknowledged may be lost at all. A whole machine is what test/outage cuts off.
package powercut
