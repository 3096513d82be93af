package backstore

import "fmt"

// ExtentState is the provisioning status of a range, with the numbers of the
// PROVISIONING STATUS field in the LBA status descriptor (SBC-3 5.6.2).
type ExtentState uint8

// What a range of a medium can be (SBC-3 4.7.4).
const (
	Mapped      ExtentState = 0 // allocated, and holds what was written
	Deallocated ExtentState = 1 // holds no space; a write to it may run out of space
	Anchored    ExtentState = 2 // holds space but no data; reads as Deallocated does
)

// String is the state's name in SBC-3.
func (s ExtentState) String() string {
	switch s {
	case Mapped:
		return "mapped"
	case Deallocated:
		return "deallocated"
	case Anchored:
		return "anchored"
	}
	return fmt.Sprintf("provisioning status %d", uint8(s))
}

// An Extent is a range of bytes that has one state.
//
// Extents of a store need not be maximal: two that touch may have the same
// state. [Medium.ExtentAt] joins those.
type Extent struct {
	Offset, Length int64
	State          ExtentState
}

// End is the offset of the first byte after e.
func (e Extent) End() int64 { return e.Offset + e.Length }
