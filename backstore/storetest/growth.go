package storetest

import (
	"errors"
	"fmt"
	"sync"

	"github.com/isantarget/isantarget/backstore"
)

// checkGrow: a store that can be made bigger is, beside its users, and keeps what it
// holds. One whose size is that of what lies below it refuses any other.
func checkGrow(s Subject) error {
	if err := s.with(func(store backstore.Store, m *backstore.Medium) error { return grow(s, store, m) }); err != nil {
		return err
	}
	if s.Reopen == nil {
		return nil
	}
	store, err := s.Open()
	if err != nil {
		return err
	}
	m := backstore.Bind(store)
	size := store.Geometry().Size
	want, err := m.Grow(size+growth, nil)
	last := newNoise(512, 3)
	if err == nil {
		err = write(m, last, want-512)
	} else if errors.Is(err, backstore.ErrRange) || errors.Is(err, errors.ErrUnsupported) {
		want, err = size, nil
	}
	if err := errors.Join(err, m.Sync(), store.Close()); err != nil {
		return err
	}
	again, err := s.Reopen(store)
	if err != nil {
		return fmt.Errorf("open again: %w", err)
	}
	if got := again.Geometry().Size; got != want {
		err = fmt.Errorf("grown to %d bytes, after Close and open it has %d", want, got)
	} else if want != size {
		err = expect(again, want-512, last, "after Close and open")
	}
	return errors.Join(err, again.Close())
}

// growth is by how much a store is grown: no multiple of any block.
const growth = 3<<20 + 4096

func grow(s Subject, store backstore.Store, m *backstore.Medium) error {
	size := store.Geometry().Size
	if now, err := m.Grow(size-512, nil); err == nil || now != size || store.Geometry().Size != size {
		return fmt.Errorf("made smaller: %d, %v; the size was %d and is %d", now, err, size, store.Geometry().Size)
	}
	if !m.Features().Has(backstore.CanGrow) {
		if now, err := m.Grow(size+growth, nil); !errors.Is(err, errors.ErrUnsupported) || now != size {
			return fmt.Errorf("a store that cannot grow: %d, %v, want ErrUnsupported", now, err)
		}
		return nil
	}
	for _, same := range []int64{0, size} {
		if now, err := m.Grow(same, nil); err != nil || now != size {
			return fmt.Errorf("Grow(%d) of a store of that size: %d, %v", same, now, err)
		}
	}
	tail := newNoise(8192, 1)
	if err := write(store, tail, size-8192); err != nil {
		return err
	}
	stop, writer := make(chan struct{}), sync.WaitGroup{}
	var writeErr error
	writer.Go(func() {
		for p := newNoise(4096, 2); writeErr == nil; _, writeErr = store.WriteAt(p, 0) {
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	now, err := m.Grow(size+growth, nil)
	close(stop)
	writer.Wait()
	switch {
	case writeErr != nil:
		return fmt.Errorf("a write while the store grows: %w", writeErr)
	case errors.Is(err, backstore.ErrRange) && now == size && store.Geometry().Size == size:
		return nil // it has the size of what is below
	case err != nil:
		return err
	case now != size+growth || store.Geometry().Size != now:
		return fmt.Errorf("grown from %d by %d bytes: told %d, and the size is %d", size, int64(growth), now, store.Geometry().Size)
	case s.Forgets:
		return nil
	}
	if m.Features().Has(backstore.ReadsZeros) {
		if err := expect(store, size, make([]byte, growth), "the new part"); err != nil {
			return err
		}
	}
	if err := expect(store, size-8192, tail, "the old part, after it has grown"); err != nil {
		return err
	}
	over := newNoise(12288, 4)
	for _, at := range []int64{size - 4096, now - 12288} {
		if err := errors.Join(write(store, over, at), expect(store, at, over, "in the new part")); err != nil {
			return err
		}
	}
	if m.Features().Has(backstore.CanUnmap | backstore.ReadsZeros) {
		if err := errors.Join(m.UnmapAt(size, growth), expect(store, size, make([]byte, growth), "the new part, unmapped")); err != nil {
			return err
		}
	}
	return nil
}
