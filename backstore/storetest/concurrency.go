package storetest

import (
	"errors"
	"fmt"
	"sync"

	"github.com/isantarget/isantarget/backstore"
)

// checkNeighbours: writers whose ranges touch, but do not overlap, at no
// boundary a store could like. Whoever reads, merges and writes back more than
// it was given loses its neighbour's bytes.
func checkNeighbours(s Subject) error {
	return s.with(func(store backstore.Store, m *backstore.Medium) error {
		const writers, piece, rounds = 8, 701, 12
		region := make([]byte, writers*piece*16)
		if err := write(store, region, 333); err != nil {
			return err
		}
		errs := make([]error, writers)
		var group sync.WaitGroup
		for w := range writers {
			group.Go(func() { errs[w] = writeColumn(m, region, w, writers, piece, rounds) })
		}
		group.Wait()
		if err := errors.Join(errs...); err != nil {
			return err
		}
		return expect(store, 333, region, "after writers side by side")
	})
}

// writeColumn writes every writers-th piece of region, each time with new
// content, and reads it back. Column 0 zeroes its pieces as well.
func writeColumn(m *backstore.Medium, region []byte, w, writers, piece, rounds int) error {
	for round := range rounds {
		for i := w * piece; i < len(region); i += writers * piece {
			own := noise(region[i:i+piece], uint64(i*rounds+round))
			off := int64(333 + i)
			if w == 0 && round%2 == 1 {
				clear(own)
				if err := m.ZeroAt(off, int64(piece), round%4 == 1); err != nil {
					return err
				}
			} else if err := write(m, own, off); err != nil {
				return err
			}
			if err := expect(m, off, own, "own piece beside other writers"); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkClose(s Subject) error {
	store, err := s.Open()
	if err != nil {
		return err
	}
	m := backstore.Bind(store)
	if err := m.Close(); err != nil {
		return fmt.Errorf("closing: %w", err)
	}
	p := make([]byte, 512)
	_, readErr := m.ReadAt(p, 0)
	_, writeErr := m.WriteAt(p, 0)
	_, throughErr := m.WriteThroughAt(p, 0)
	results := map[string]error{"ReadAt": readErr, "WriteAt": writeErr, "WriteThroughAt": throughErr,
		"Sync": m.Sync(), "ZeroAt": m.ZeroAt(0, 512, false), "Close": m.Close()}
	if m.Features().Has(backstore.CanMap) {
		_, results["ExtentAt"] = m.ExtentAt(0, 512)
	}
	if m.Features().Has(backstore.CanUnmap) {
		results["UnmapAt"] = m.UnmapAt(0, 512)
	}
	for call, err := range results {
		if !errors.Is(err, backstore.ErrGone) {
			return fmt.Errorf("%s after Close: %v, want ErrGone", call, err)
		}
	}
	return nil
}

// checkCloseUnderLoad: calls that race with Close serve the whole request or
// fail with ErrGone.
func checkCloseUnderLoad(s Subject) error {
	store, err := s.Open()
	if err != nil {
		return err
	}
	m := backstore.Bind(store)
	want := newNoise(9000, 1)
	if s.Forgets {
		clear(want)
	}
	if err := write(m, want, 5); err != nil {
		return errors.Join(err, m.Close())
	}
	errs := make([]error, 4)
	var group, begun sync.WaitGroup
	for i := range errs {
		begun.Add(1)
		group.Go(func() {
			got := make([]byte, len(want))
			for round := 0; ; round++ {
				_, err := m.ReadAt(got, 5)
				if err == nil {
					err = same(got, want, 5, "beside Close")
				}
				if err == nil && i == 0 {
					_, err = m.WriteAt(want, 5)
				}
				if round == 0 {
					begun.Done()
				}
				if err != nil {
					errs[i] = err
					return
				}
			}
		})
	}
	begun.Wait()
	closeErr := m.Close()
	group.Wait()
	for _, err := range errs {
		if !errors.Is(err, backstore.ErrGone) {
			return fmt.Errorf("a call that raced with Close: %v, want ErrGone", err)
		}
	}
	return closeErr
}
