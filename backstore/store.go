package backstore

import "io"

// A Store keeps the bytes of a medium. Its methods may be called at once from
// many goroutines; of two writes that overlap in time either may win.
//
// Offsets and lengths are bytes. A store may rely on the range being within
// Geometry().Size only when it is called through a [Medium]; called directly
// with a range outside, it fails with [ErrRange] and touches nothing.
type Store interface {
	io.ReaderAt  // fills all of p or fails; does not keep p
	io.WriterAt  // writes all of p or fails; neither changes nor keeps p
	Sync() error // makes durable every write that returned before the call
	Geometry() Geometry
	io.Closer // waits for the calls that are in flight; it does not Sync
}

// Geometry is what READ CAPACITY (SBC-3 5.15 f.) and the VPD pages B0h to B2h
// say about a medium. All but Size are fixed while the store is open, and Size
// only grows. All sizes are bytes.
type Geometry struct {
	Size int64 // of the medium

	Physical int // of a physical block: a smaller write costs a read; 0 when unknown
	Optimal  int // of the transfer that serves best; 0 when unknown
	Unmap    int // of the granule in which space is given back; 0: the medium is thick, UNMAP is refused

	// Atomic is the longest write that is whole or not there at all after anything
	// that may happen to it: a loss of power, a failure, the end of the process. Less
	// than 4 MiB it is a power of two, and holds for what lies within a multiple of it.
	// 0: nothing is promised, which is the truth of whatever goes through a page cache
	// or a file system: the sector that is being written may be changed meanwhile.
	Atomic int

	Volatile   bool // a returned write is lost with the power until Sync
	Rotational bool // seeks cost
	ReadOnly   bool // each method that would change a byte fails with ErrReadOnly
}
