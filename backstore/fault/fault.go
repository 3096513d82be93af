package fault

import (
	"strings"
	"syscall"
	"time"
)

// Calls is a set of the calls that a fault is about.
type Calls uint16

// The calls of a store, by what they do.
const (
	Read      Calls          = 1 << iota // ReadAt, and what reads for a copy
	Write                                // WriteAt and WriteThroughAt, copying, compare and write
	Unmap                                // UnmapAt
	Zero                                 // ZeroAt
	Map                                  // ExtentAt
	Sync                                 // Sync, and the part of WriteThroughAt that makes it durable
	Transfers = Read | Write             // what moves bytes
	AllCalls  = Transfers | Unmap | Zero | Map | Sync
)

// Names are the names of the calls, in the order of their bits.
func (Calls) Names() []string { return []string{"read", "write", "unmap", "zero", "map", "sync"} }

// String lists the calls: "read,write".
func (c Calls) String() string {
	var have []string
	for i, name := range c.Names() {
		if c&(1<<i) != 0 {
			have = append(have, name)
		}
	}
	return strings.Join(have, ",")
}

// Kind is what happens to a call.
type Kind uint8

// The kinds of faults.
const (
	Error    Kind = iota // it fails with Errno at the first byte of the range; what lies before is done
	Delay                // it waits for Delay, and goes on
	Short                // a read or write moves only a part of its bytes, and does not say why
	Torn                 // a write fails with EIO, some of its units written, in no order, none of them mixed
	LostSync             // a sync succeeds, and makes nothing durable
	PowerCut             // what was not durable is lost, and every call fails until the faults are set anew
)

// A Fault is something that goes wrong.
type Fault struct {
	Kind  Kind
	Errno syscall.Errno // of Error
	Delay time.Duration // of Delay
	Keep  float64       // of PowerCut: the chance of each unit that was not durable to survive, 0 to 1

	Calls        Calls
	First, Bytes int64   // the range that a call must touch; Bytes 0: anywhere from First on. A Sync touches all.
	After        int64   // so many of these calls are spared before
	Rate         float64 // the chance of each call from then on; 0 or 1: each
	Count        int64   // it strikes so often at most; 0: for ever
}

// touches gives the first byte of [off, off+length) that the fault is about.
func (f *Fault) touches(off, length int64) (first int64, ok bool) {
	first = max(off, f.First)
	end := off + length
	if f.Bytes > 0 {
		end = min(end, f.First+f.Bytes)
	}
	return first, first < end
}
