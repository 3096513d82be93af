package sbc

import (
	"encoding/binary"
	"reflect"
	"testing"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/scsi"
)

func getLBAStatusCDB(lba uint64, allocation uint32) []byte {
	c := make([]byte, 16)
	c[0], c[1] = 0x9e, 0x12
	binary.BigEndian.PutUint64(c[2:], lba)
	binary.BigEndian.PutUint32(c[10:], allocation)
	return c
}

type lbaStatus struct {
	lba    uint64
	blocks uint32
	status byte
}

func parseLBAStatus(t *testing.T, p []byte) (list []lbaStatus) {
	t.Helper()
	if n := int(binary.BigEndian.Uint32(p)); n != len(p)-4 {
		t.Errorf("PARAMETER DATA LENGTH %d of %d bytes", n, len(p))
	}
	for p = p[8:]; len(p) >= 16; p = p[16:] {
		list = append(list, lbaStatus{binary.BigEndian.Uint64(p), binary.BigEndian.Uint32(p[8:]), p[12]})
	}
	return list
}

func TestGetLBAStatus_TellsWhatIsMapped(t *testing.T) {
	bothSizes(t, func(t *testing.T, r *rig) {
		granule := uint64(r.store.Geometry().Unmap / r.device.blockSize)
		r.good(cdb(form16, 0x8a, 0, 2*granule+1, 1), pattern(r.device.blockSize, 1))
		g, all := uint32(granule), uint32(r.blocks)
		want := []lbaStatus{{0, 2 * g, 1}, {2 * granule, g, 0}, {3 * granule, all - 3*g, 1}}
		if got := parseLBAStatus(t, r.good(getLBAStatusCDB(0, 1000), nil)); !reflect.DeepEqual(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		want = []lbaStatus{{2*granule + 2, g - 2, 0}}
		if got := parseLBAStatus(t, r.good(getLBAStatusCDB(2*granule+2, 24), nil)); !reflect.DeepEqual(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		for _, allocation := range []uint32{0, 1, 8, 20, 24, 39} {
			if got := r.good(getLBAStatusCDB(0, allocation), nil); len(got) != int(min(allocation, 24)) {
				t.Errorf("allocation length %d: %d bytes", allocation, len(got))
			}
		}
		r.refused(getLBAStatusCDB(r.blocks, 24), nil, scsi.KeyIllegalRequest, scsi.ASCLogicalBlockAddressOutOfRange).wantField(t, 2, -1)
	})
}

// crumbs is a store whose extents do not end where blocks do.
type crumbs struct{ *recorder }

func (s crumbs) ExtentAt(off, length int64) (backstore.Extent, error) {
	// mapped: bytes 1000 to 1001 and 6000 to 9000
	for _, edge := range []struct {
		at    int64
		state backstore.ExtentState
	}{{1000, backstore.Deallocated}, {1001, backstore.Mapped}, {6000, backstore.Deallocated}, {9000, backstore.Anchored}} {
		if off < edge.at {
			return backstore.Extent{Offset: off, Length: min(length, edge.at-off), State: edge.state}, nil
		}
	}
	return backstore.Extent{Offset: off, Length: length, State: backstore.Deallocated}, nil
}

// A block of which any byte is mapped is mapped; anchored is mapped (ANC_SUP=0).
func TestGetLBAStatus_ExtentsThatAreNoBlocks(t *testing.T) {
	r := newRig(t, nil)
	r.device.Swap(backstore.Bind(crumbs{r.store}))
	want := []lbaStatus{{0, 1, 1}, {1, 1, 0}, {2, 9, 1}, {11, 7, 0}, {18, uint32(r.blocks) - 18, 1}}
	if got := parseLBAStatus(t, r.good(getLBAStatusCDB(0, 1000), nil)); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// emptiness is a store of which nothing is mapped, and which knows it at once.
type emptiness struct{ *recorder }

func (s emptiness) ExtentAt(off, length int64) (backstore.Extent, error) {
	return backstore.Extent{Offset: off, Length: length, State: backstore.Deallocated}, nil
}

// One descriptor tells at most 2^32-1 blocks.
func TestGetLBAStatus_Huge(t *testing.T) {
	r := newRig(t, func(_ *Options, s *recorder) { *s = *newRecorder(t, 5<<40) })
	r.device.Swap(backstore.Bind(emptiness{r.store}))
	want := []lbaStatus{{0, 1<<32 - 1, 1}, {1<<32 - 1, 1<<32 - 1, 1}, {1<<33 - 2, uint32(10<<30 - (1<<33 - 2)), 1}}
	if got := parseLBAStatus(t, r.good(getLBAStatusCDB(0, 1000), nil)); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
