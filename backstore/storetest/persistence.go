package storetest

import (
	"errors"
	"fmt"

	"github.com/isantarget/isantarget/backstore"
)

// checkPersistence: what was synced, zeroed or unmapped is so after Close, and so
// are the size and the extents.
func checkPersistence(s Subject) error {
	store, err := s.Open()
	if err != nil {
		return err
	}
	m := backstore.Bind(store)
	before := store.Geometry()
	unit := int(granule(before))
	p := newNoise(8*unit, 1)
	steps := func() error {
		if err := write(m, p, int64(unit)); err != nil {
			return err
		}
		if err := m.ZeroAt(int64(2*unit), int64(unit), false); err != nil {
			return err
		}
		clear(p[unit : 2*unit])
		if m.Features().Has(backstore.CanUnmap) {
			if err := m.UnmapAt(int64(4*unit), int64(2*unit)); err != nil {
				return err
			}
			clear(p[3*unit : 5*unit])
		}
		last := newNoise(100, 2)
		if _, err := m.WriteThroughAt(last, int64(unit)); err != nil {
			return err
		}
		copy(p, last)
		return m.Sync()
	}
	if err := errors.Join(steps(), store.Close()); err != nil {
		return err
	}
	again, err := s.Reopen(store)
	if err != nil {
		return fmt.Errorf("open again: %w", err)
	}
	m = backstore.Bind(again)
	look := func() error {
		if after := again.Geometry(); after != before {
			return fmt.Errorf("the geometry was %+v and is %+v after Close and open", before, after)
		}
		if !m.Features().Has(backstore.CanUnmap) || m.Features().Has(backstore.ReadsZeros) {
			return expect(again, int64(unit), p, "after Close and open")
		}
		return errors.Join(expect(again, int64(unit), p[:3*unit], "after Close and open"),
			expect(again, int64(6*unit), p[5*unit:], "after Close and open"))
	}
	err = look()
	if err == nil && m.Features().Has(backstore.CanUnmap) {
		err = expectState(m, int64(4*unit), int64(2*unit), backstore.Deallocated)
	}
	return errors.Join(err, again.Close())
}
