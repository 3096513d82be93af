package backstore

import "strings"

// Features is a set of what a store can do beyond [Store].
type Features uint16

// The capabilities, and what else a device server has to know about a store.
const (
	CanUnmap        Features = 1 << iota // Unmapper
	CanZero                              // Zeroer
	CanMap                               // Mapper
	CanWriteThrough                      // ThroughWriter
	CanCopy                              // Copier
	CanCompare                           // Comparer
	CanTryRead                           // TryReader
	CanTryWrite                          // TryWriter
	CanReadBatch                         // BatchReader

	// ReadsZeros: what is not allocated reads as zeros, and UnmapAt leaves
	// zeros. It is the LBPRZ bit (SBC-3 5.16.2, VPD B2h).
	ReadsZeros

	// Buffered: WriteAt fills a cache of the host and waits for no device, but
	// when the host is short of memory for it.
	Buffered

	TellsSpace // SpaceTeller
	CanGrow    // Grower
)

// Has reports whether all of want are in f.
func (f Features) Has(want Features) bool { return f&want == want }

// String lists the features for a person: "unmap, zero, map".
func (f Features) String() string {
	names := [...]string{"unmap", "zero", "map", "write through", "copy", "compare and write", "try read", "try write", "read batch", "reads zeros", "buffered", "tells space", "grow"}
	var have []string
	for i, name := range names {
		if f.Has(1 << i) {
			have = append(have, name)
		}
	}
	if len(have) == 0 {
		return "none"
	}
	return strings.Join(have, ", ")
}

// Featured is a store whose methods promise more than it can do at each time: a
// file store has UnmapAt, but not every file system can punch holes. Features
// tells which promises hold; the answer does not change while the store is open.
type Featured interface {
	Features() Features
}

// A Layer is a Store upon other stores. It writes out each capability it can
// pass on, and tells by Features which of them the stores below have too. What a
// layer does not name ends there: a hidden capability is slow, a leaked one is
// lost data. An Error from below has offsets of the store below: a layer that
// moves bytes makes its own of it, with its own.
//
// (A struct that embeds the interface Store promotes only the methods of Store:
// a careless layer hides, and cannot leak.)
type Layer interface {
	Store
	Featured
	Below() []Store
}

// FeaturesOf tells what s can do: the capabilities whose methods it has and, if
// it is Featured, which it does not deny. Only a Featured store can have
// ReadsZeros.
func FeaturesOf(s Store) Features {
	var f Features
	if _, ok := s.(Unmapper); ok {
		f |= CanUnmap
	}
	if _, ok := s.(Zeroer); ok {
		f |= CanZero
	}
	if _, ok := s.(Mapper); ok {
		f |= CanMap
	}
	if _, ok := s.(ThroughWriter); ok {
		f |= CanWriteThrough
	}
	if _, ok := s.(Copier); ok {
		f |= CanCopy
	}
	if _, ok := s.(Comparer); ok {
		f |= CanCompare
	}
	if _, ok := s.(TryReader); ok {
		f |= CanTryRead
	}
	if _, ok := s.(TryWriter); ok {
		f |= CanTryWrite
	}
	if _, ok := s.(BatchReader); ok {
		f |= CanReadBatch
	}
	if _, ok := s.(SpaceTeller); ok {
		f |= TellsSpace
	}
	if _, ok := s.(Grower); ok {
		f |= CanGrow
	}
	if told, ok := s.(Featured); ok {
		f = (f | ReadsZeros | Buffered) & told.Features()
	}
	return f
}
