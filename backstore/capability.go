package backstore

// The optional capabilities, one method each. A store has one by having its
// method, unless its Features say otherwise (see [FeaturesOf]). Each comment
// ends with what holds for a store without it.

// An Unmapper can forget a range, which frees its space: UNMAP (SBC-3 5.28).
//
// UnmapAt gives back every whole granule (Geometry.Unmap) of the range; what
// lies at its edges stays allocated. When the store has [ReadsZeros], all of
// the range reads as zeros afterwards, its edges too; else what the range reads
// as is undefined until it is written.
//
// Without it the medium is thick: UNMAP is refused.
type Unmapper interface {
	UnmapAt(off, length int64) error
}

// A Zeroer can fill a range with zeros without moving them through memory:
// WRITE SAME (SBC-3 5.46). The whole range reads as zeros afterwards.
//
// With unmap the space is given back where that is possible, as by UnmapAt;
// without it the range stays (or becomes) allocated, so that a later write to
// it cannot run out of space. Answering errors.ErrUnsupported, with nothing
// changed outside the range, asks the caller to write the zeros.
//
// Without it zeros are written.
type Zeroer interface {
	ZeroAt(off, length int64, unmap bool) error
}

// A Mapper knows which parts of the medium are allocated: GET LBA STATUS
// (SBC-3 5.6).
//
// ExtentAt returns the extent that begins at off, cut at off+length; length is
// greater than zero. The extent is not empty, but need not be the longest: the
// next one may have the same state.
//
// Without it all is mapped.
type Mapper interface {
	ExtentAt(off, length int64) (Extent, error)
}

// A ThroughWriter can make one write durable without making all durable: the
// FUA bit (SBC-3 5.34). WriteThroughAt is WriteAt, and returns when p is durable.
//
// Without it: WriteAt, then Sync.
type ThroughWriter interface {
	WriteThroughAt(p []byte, off int64) (int, error)
}

// A Copier can copy without moving the bytes through our memory: EXTENDED COPY
// (SPC-4 6.4). CopyAt copies length bytes of from, at fromOff, to off. It fails
// with errors.ErrUnsupported, with nothing changed outside the range, when it
// cannot serve this pair of stores or ranges (two that overlap, for instance).
//
// Without it the bytes go through a bounded piece of our memory.
type Copier interface {
	CopyAt(off int64, from Store, fromOff, length int64) error
}

// A Comparer can compare and write as one step that no other user of the store
// can come between: COMPARE AND WRITE (SBC-3 5.2). It is needed where other
// hosts share the store; else the extent lock of the task set is enough.
//
// CompareAndWriteAt writes new at off if the store holds old there; both have
// the same length. It returns -1 when it did, else the index of the first byte
// that differs, with nothing written.
//
// Without it: read, compare, write, which is atomic only when the caller keeps
// others out of the range.
type Comparer interface {
	CompareAndWriteAt(old, new []byte, off int64) (miscompare int, err error)
}

// A Grower can be made bigger while it is in use. Grow makes the medium size bytes
// long; with 0, as long as what lies below it has become. The bytes that are new read
// as zeros where ReadsZeros holds, or where the store made them itself.
//
// It returns the new size when that is durable: until then Geometry has the old one,
// and what becomes of the process or the power leaves the one or the other. A size
// less than the present one is refused with ErrRange; the present one is no error.
// step, if it is not nil, hears how many bytes of space are taken; its error, or any
// other, leaves the old size and the old space.
//
// Without it the size is what it is.
type Grower interface {
	Grow(size int64, step func(done, total int64) error) (int64, error)
}

// A TryReader can tell at once whether a read would have to wait for a device.
//
// TryReadAt fills all of p from what is in memory and returns len(p), nil; or it
// returns 0 and ErrWouldBlock (that value itself, so that the answer costs no
// allocation) and the content of p is undefined. It never waits for a device.
// Any other error is the one ReadAt would have returned.
//
// Without it every read would block.
type TryReader interface {
	TryReadAt(p []byte, off int64) (int, error)
}

// A TryWriter can tell at once whether a write would have to wait for a device.
//
// TryWriteAt takes all of p into memory and returns len(p), nil; or it returns
// ErrWouldBlock itself, and then any part of p may have been written: the caller
// writes all of p again with WriteAt. It never waits for a device.
//
// Without it every write would block.
type TryWriter interface {
	TryWriteAt(p []byte, off int64) (int, error)
}

// A Read is one of many reads that are tried together. Data is lent for the call.
type Read struct {
	Data   []byte
	Offset int64 // bytes
	Err    error // of the try: nil, ErrWouldBlock itself, or what TryReadAt would have returned
}

// A BatchReader can try many reads by one call, for less than they cost one by one.
//
// TryReadBatch sets Err of each of reads as TryReadAt would return it. It never
// waits for a device.
//
// Without it they are tried one by one.
type BatchReader interface {
	TryReadBatch(reads []Read)
}

// An Uncacher can have the host drop what it has cached of a range, so that what is read
// next comes from the device. What was not written to the device yet stays: nothing is
// lost, and a read returns what it did before.
//
// Without it what is read may come out of a cache.
type Uncacher interface {
	UncacheAt(off, length int64)
}
