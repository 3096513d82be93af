package backstore

import "errors"

// Space is what a store takes of the pool that it lies in, and what is left there.
// A pool is what hands out space: a file system. All but its name are bytes.
type Space struct {
	Pool      string // names the pool: stores with equal names share its space
	Used      int64  // that the pool holds for the bytes of the store: not more than its size
	Taken     int64  // that it holds for the store in all, with what keeps account of them and what waits for writes
	Available int64  // that the pool has left, for this store and all others in it
	Capacity  int64  // that the pool has in all
}

// Filled is the part of the pool that is in use, of 100; 0 for a pool without any space.
func (s Space) Filled() float64 {
	if s.Capacity <= 0 {
		return 0
	}
	return 100 * float64(s.Capacity-s.Available) / float64(s.Capacity)
}

// A SpaceTeller knows what it takes of its pool: the thresholds of SBC-3 4.7.3.
//
// Without it nothing is known of the space below, and there are no thresholds.
type SpaceTeller interface {
	Space() (Space, error)
}

// Space tells what the medium takes of its pool. A store that cannot tell refuses
// with errors.ErrUnsupported.
func (m *Medium) Space() (Space, error) {
	if m.teller == nil {
		return Space{}, &Error{Op: "space", Err: errors.ErrUnsupported}
	}
	s, err := m.teller.Space()
	if err != nil {
		return Space{}, failed("space", 0, 0, 0, err)
	}
	return s, nil
}
