package storetest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/isantarget/isantarget/backstore"
)

// with calls f with a new store of the subject, and closes it.
func (s Subject) with(f func(store backstore.Store, m *backstore.Medium) error) error {
	store, err := s.Open()
	if err != nil {
		return err
	}
	if size := store.Geometry().Size; size < MinSize {
		return errors.Join(fmt.Errorf("a store of %d bytes is too small for the suite, which needs %d", size, MinSize), store.Close())
	}
	return errors.Join(f(store, backstore.Bind(store)), store.Close())
}

// noise fills p with bytes that depend on seed; none of them is zero, so that
// zeros can be told from data.
func noise(p []byte, seed uint64) []byte {
	r := rand.NewPCG(seed, 0x9e3779b97f4a7c15)
	whole := len(p) &^ 7
	for i := 0; i < whole; i += 8 {
		binary.LittleEndian.PutUint64(p[i:], r.Uint64()|0x0101010101010101)
	}
	for i := whole; i < len(p); i++ {
		p[i] = byte(r.Uint64()) | 1
	}
	return p
}

func newNoise(n int, seed uint64) []byte { return noise(make([]byte, n), seed) }

// expect reads len(want) bytes at off and tells the first that differs.
func expect(r interface {
	ReadAt([]byte, int64) (int, error)
}, off int64, want []byte, what string) error {
	got := make([]byte, len(want))
	n, err := r.ReadAt(got, off)
	if err != nil || n != len(got) {
		return fmt.Errorf("%s: ReadAt of %d bytes at %d: %d, %v", what, len(got), off, n, err)
	}
	return same(got, want, off, what)
}

// same tells the first byte in which got differs from want; both lie at off.
func same(got, want []byte, off int64, what string) error {
	if bytes.Equal(got, want) {
		return nil
	}
	for i := range want {
		if got[i] != want[i] {
			return fmt.Errorf("%s: byte %d is %#02x, want %#02x", what, off+int64(i), got[i], want[i])
		}
	}
	return nil
}

// write writes all of p, or says what went wrong.
func write(w interface {
	WriteAt([]byte, int64) (int, error)
}, p []byte, off int64) error {
	if n, err := w.WriteAt(p, off); err != nil || n != len(p) {
		return fmt.Errorf("WriteAt of %d bytes at %d: %d, %v", len(p), off, n, err)
	}
	return nil
}

// clearedBy are the bytes of a range that was noise, after its part from..to
// was zeroed.
func clearedBy(p []byte, from, to int) []byte {
	q := append([]byte(nil), p...)
	clear(q[from:to])
	return q
}

// states walks the extents of a range and checks that they cover it.
func states(m interface {
	ExtentAt(off, length int64) (backstore.Extent, error)
}, off, length int64) ([]backstore.Extent, error) {
	var extents []backstore.Extent
	for end := off + length; off < end; {
		e, err := m.ExtentAt(off, end-off)
		if err != nil {
			return nil, fmt.Errorf("ExtentAt(%d, %d): %w", off, end-off, err)
		}
		if e.Offset != off || e.Length <= 0 || e.End() > end {
			return nil, fmt.Errorf("ExtentAt(%d, %d) is [%d, %d): it does not begin there, is empty, or reaches beyond", off, end-off, e.Offset, e.End())
		}
		if e.State > backstore.Anchored {
			return nil, fmt.Errorf("ExtentAt(%d, %d) has the unknown state %d", off, end-off, e.State)
		}
		extents = append(extents, e)
		off = e.End()
	}
	return extents, nil
}

// stateOf is the one state of a whole range, or an error if it has several.
func stateOf(m *backstore.Medium, off, length int64) (backstore.ExtentState, error) {
	extents, err := states(m, off, length)
	if err != nil {
		return 0, err
	}
	for _, e := range extents {
		if e.State != extents[0].State {
			return 0, fmt.Errorf("[%d, %d) is %v up to byte %d, then %v", off, off+length, extents[0].State, e.Offset, e.State)
		}
	}
	return extents[0].State, nil
}

// granule is the unit in which to unmap; of a thick store, any.
func granule(g backstore.Geometry) int64 {
	if g.Unmap > 0 {
		return int64(g.Unmap)
	}
	return 4096
}
