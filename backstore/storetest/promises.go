package storetest

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"testing"

	"github.com/isantarget/isantarget/backstore"
)

func checkGeometry(s Subject) error {
	return s.with(func(store backstore.Store, m *backstore.Medium) error {
		g, f := store.Geometry(), m.Features()
		var problems []error
		if g.Physical < 0 || g.Physical&(g.Physical-1) != 0 {
			problems = append(problems, fmt.Errorf("the Physical size is %d: neither unknown nor a power of two", g.Physical))
		}
		if g.Optimal < 0 || g.Unmap < 0 {
			problems = append(problems, fmt.Errorf("a negative size in %+v", g))
		}
		if f.Has(backstore.CanUnmap) != (g.Unmap > 0) {
			problems = append(problems, fmt.Errorf("the Unmap granule is %d, but the features are %v: both say whether the store is thin", g.Unmap, f))
		}
		if again := store.Geometry(); again != g {
			problems = append(problems, fmt.Errorf("the geometry was %+v and is %+v", g, again))
		}
		return errors.Join(problems...)
	})
}

// oddRanges begin and end at, before and after the borders stores are made of.
func oddRanges(size int64) [][2]int64 {
	var ranges [][2]int64
	for _, off := range []int64{0, 1, 511, 512, 4095, 4097, 65535, 65536, 1<<20 - 1, 5<<20 + 77} {
		for _, length := range []int64{0, 1, 3, 511, 512, 513, 4096, 4097, 65537} {
			ranges = append(ranges, [2]int64{off, length})
		}
	}
	return append(ranges, [2]int64{4097, 1<<20 + 1}, [2]int64{8192, 1 << 21}, [2]int64{size - 1, 1}, [2]int64{size - 513, 513}, [2]int64{size - 65537, 65537}, [2]int64{size, 0})
}

func checkReadAfterWrite(s Subject) error {
	return s.with(func(store backstore.Store, m *backstore.Medium) error {
		for i, r := range oddRanges(store.Geometry().Size) {
			from, to := max(r[0]-100, 0), min(r[0]+r[1]+100, store.Geometry().Size)
			frame := newNoise(int(to-from), uint64(2*i))
			if err := write(store, frame, from); err != nil {
				return err
			}
			p := newNoise(int(r[1]), uint64(2*i+1))
			if err := write(store, p, r[0]); err != nil {
				return err
			}
			copy(frame[r[0]-from:], p)
			if err := expect(store, from, frame, fmt.Sprintf("after a write of %d bytes at %d", r[1], r[0])); err != nil {
				return err
			}
			if err := expect(store, r[0], p, "read exactly as written"); err != nil {
				return err
			}
		}
		return nil
	})
}

func checkOutside(s Subject) error {
	return s.with(func(store backstore.Store, m *backstore.Medium) error {
		size := store.Geometry().Size
		tail := newNoise(4096, 1)
		if err := write(store, tail, size-4096); err != nil {
			return err
		}
		one := make([]byte, 1024)
		for _, off := range []int64{-1, -1024, math.MinInt64, size, size - 1023, size + 1, math.MaxInt64, math.MaxInt64 - 512} {
			_, readErr := store.ReadAt(one, off)
			_, writeErr := store.WriteAt(one, off)
			results := map[string]error{"ReadAt": readErr, "WriteAt": writeErr,
				"ZeroAt of the medium": m.ZeroAt(off, 1024, false), "UnmapAt of the medium": m.UnmapAt(off, 1024)}
			if u, ok := store.(backstore.Unmapper); ok {
				results["UnmapAt"] = u.UnmapAt(off, 1024)
			}
			if z, ok := store.(backstore.Zeroer); ok {
				results["ZeroAt"] = z.ZeroAt(off, 1024, true)
			}
			if x, ok := store.(backstore.Mapper); ok {
				_, results["ExtentAt"] = x.ExtentAt(off, 1024)
			}
			if x, ok := store.(backstore.TryReader); ok {
				_, results["TryReadAt"] = x.TryReadAt(one, off)
			}
			if x, ok := store.(backstore.ThroughWriter); ok {
				_, results["WriteThroughAt"] = x.WriteThroughAt(one, off)
			}
			for call, err := range results {
				if !errors.Is(err, backstore.ErrRange) {
					return fmt.Errorf("%s of 1024 bytes at %d in a store of %d: %v, want ErrRange", call, off, size, err)
				}
			}
		}
		if err := m.UnmapAt(0, -1); !errors.Is(err, backstore.ErrRange) {
			return fmt.Errorf("UnmapAt of -1 bytes: %v, want ErrRange", err)
		}
		var e *backstore.Error
		if _, err := m.ReadAt(one, size-100); !errors.As(err, &e) || e.Offset != size {
			return fmt.Errorf("a read over the end should name the first byte that is not there, %d: %v", size, err)
		}
		if got := store.Geometry().Size; got != size {
			return fmt.Errorf("the size was %d and is %d", size, got)
		}
		if s.Forgets {
			return nil
		}
		return expect(store, size-4096, tail, "after refused writes over the end")
	})
}

func checkBuffers(s Subject) error {
	return s.with(func(store backstore.Store, m *backstore.Medium) error {
		const n, off = 70000, 12345
		p, want := newNoise(n, 1), newNoise(n, 1)
		if err := write(store, p, off); err != nil {
			return err
		}
		if err := same(p, want, 0, "WriteAt changed its buffer"); err != nil {
			return err
		}
		noise(p, 2) // the buffer is ours again
		if err := expect(store, off, want, "WriteAt kept its buffer"); err != nil {
			return err
		}
		framed := newNoise(n+200, 3)
		if _, err := store.ReadAt(framed[100:100+n:100+n], off); err != nil {
			return err
		}
		frame := newNoise(n+200, 3)
		copy(frame[100:], want)
		if err := same(framed, frame, 0, "ReadAt wrote beside its buffer"); err != nil {
			return err
		}
		if err := write(store, newNoise(n, 4), off); err != nil {
			return err
		}
		return same(framed, frame, 0, "ReadAt kept its buffer")
	})
}

func checkUnmap(s Subject) error {
	return s.with(func(store backstore.Store, m *backstore.Medium) error {
		if !m.Features().Has(backstore.CanUnmap) {
			if err := m.UnmapAt(0, 4096); !errors.Is(err, errors.ErrUnsupported) {
				return fmt.Errorf("UnmapAt of a thick store: %v, want errors.ErrUnsupported", err)
			}
			return nil
		}
		unit := granule(store.Geometry())
		for i, r := range [][2]int64{ // in granules and bytes off them
			{2 * unit, 3 * unit}, {2*unit + 1, 3 * unit}, {2 * unit, 3*unit - 1}, {2*unit + 7, 5}, {2*unit - 1, 2}, {2 * unit, unit},
		} {
			span := int(8 * unit)
			p := newNoise(span, uint64(i))
			if err := write(store, p, unit); err != nil {
				return err
			}
			if err := m.Sync(); err != nil {
				return err
			}
			if err := m.UnmapAt(r[0], r[1]); err != nil {
				return fmt.Errorf("UnmapAt(%d, %d): %w", r[0], r[1], err)
			}
			if err := checkForgotten(m, p, unit, r[0], r[1]); err != nil {
				return fmt.Errorf("after UnmapAt(%d, %d), granule %d: %w", r[0], r[1], unit, err)
			}
			first, last := (r[0]+unit-1)/unit*unit, (r[0]+r[1])/unit*unit
			if err := expectState(m, first, last-first, backstore.Deallocated); err != nil {
				return fmt.Errorf("after UnmapAt(%d, %d): %w", r[0], r[1], err)
			}
			if first < last {
				if err := expectMapped(store, m, first, uint64(100+i)); err != nil {
					return err
				}
			}
		}
		return m.UnmapAt(0, 0)
	})
}

// checkForgotten: around the unmapped range nothing changed; within it there are
// zeros, if the store promises them. p was written at base.
func checkForgotten(m *backstore.Medium, p []byte, base, off, length int64) error {
	from, to := int(off-base), int(off-base+length)
	if m.Features().Has(backstore.ReadsZeros) {
		return expect(m, base, clearedBy(p, from, to), "the range and its neighbours")
	}
	return errors.Join(expect(m, base, p[:from], "before the range"), expect(m, base+int64(to), p[to:], "behind the range"))
}

// expectState checks the state of a range of a store that can tell.
func expectState(m *backstore.Medium, off, length int64, want backstore.ExtentState) error {
	if !m.Features().Has(backstore.CanMap) || length <= 0 {
		return nil
	}
	switch got, err := stateOf(m, off, length); {
	case err != nil:
		return err
	case got != want:
		return fmt.Errorf("[%d, %d) is %v, want %v", off, off+length, got, want)
	}
	return nil
}

// expectMapped checks that a forgotten granule is as good as new.
func expectMapped(store backstore.Store, m *backstore.Medium, off int64, seed uint64) error {
	p := newNoise(int(granule(store.Geometry())), seed)
	if err := write(store, p, off); err != nil {
		return err
	}
	if err := expect(store, off, p, "written again after UnmapAt"); err != nil {
		return err
	}
	return expectState(m, off, int64(len(p)), backstore.Mapped)
}

func checkZero(s Subject) error {
	return s.with(func(store backstore.Store, m *backstore.Medium) error {
		unit := granule(store.Geometry())
		for i, r := range [][2]int64{{2 * unit, 3 * unit}, {2*unit + 1, 3 * unit}, {2*unit + 7, 5}, {unit + 511, 6*unit + 3}, {2 * unit, 0}} {
			for _, unmap := range []bool{false, true} {
				p := newNoise(int(8*unit), uint64(i))
				if err := write(store, p, unit); err != nil {
					return err
				}
				if err := m.Sync(); err != nil {
					return err
				}
				if err := m.ZeroAt(r[0], r[1], unmap); err != nil {
					return fmt.Errorf("ZeroAt(%d, %d, %v): %w", r[0], r[1], unmap, err)
				}
				what := fmt.Sprintf("after ZeroAt(%d, %d, %v)", r[0], r[1], unmap)
				if err := expect(store, unit, clearedBy(p, int(r[0]-unit), int(r[0]-unit+r[1])), what); err != nil {
					return err
				}
				if err := checkZeroSpace(m, r[0], r[1], unit, unmap); err != nil {
					return fmt.Errorf("%s: %w", what, err)
				}
			}
		}
		return checkZeroOfHole(store, m, unit)
	})
}

// checkZeroSpace: zeroing with unmap gives whole granules back, without it none.
func checkZeroSpace(m *backstore.Medium, off, length, unit int64, unmap bool) error {
	if unmap && m.Features().Has(backstore.CanUnmap) {
		first, last := (off+unit-1)/unit*unit, (off+length)/unit*unit
		return expectState(m, first, last-first, backstore.Deallocated)
	}
	return expectAllocated(m, off, length)
}

// checkZeroOfHole: zeroing without unmap takes the space, so that a later write
// to it cannot run out.
func checkZeroOfHole(store backstore.Store, m *backstore.Medium, unit int64) error {
	if !m.Features().Has(backstore.CanUnmap) {
		return nil
	}
	if err := m.UnmapAt(0, 8*unit); err != nil {
		return err
	}
	if err := m.ZeroAt(unit, 2*unit, false); err != nil {
		return err
	}
	if err := expectAllocated(m, unit, 2*unit); err != nil {
		return fmt.Errorf("after ZeroAt without unmap, in a hole: %w", err)
	}
	return expect(store, unit, make([]byte, 2*unit), "after ZeroAt without unmap, in a hole")
}

func expectAllocated(m *backstore.Medium, off, length int64) error {
	if !m.Features().Has(backstore.CanMap) || length == 0 {
		return nil
	}
	extents, err := states(m, off, length)
	if err != nil {
		return err
	}
	for _, e := range extents {
		if e.State == backstore.Deallocated {
			return fmt.Errorf("[%d, %d) is deallocated", e.Offset, e.End())
		}
	}
	return nil
}

func checkExtents(s Subject) error {
	return s.with(func(store backstore.Store, m *backstore.Medium) error {
		size, unit := store.Geometry().Size, granule(store.Geometry())
		if m.Features().Has(backstore.CanUnmap) {
			if err := m.UnmapAt(0, size); err != nil {
				return err
			}
			if err := expectState(m, 0, size/unit*unit, backstore.Deallocated); err != nil {
				return fmt.Errorf("after UnmapAt of everything: %w", err)
			}
		}
		for i := range int64(8) {
			if err := write(store, newNoise(int(unit), uint64(i)), 4*i*unit); err != nil {
				return err
			}
			if err := expectState(m, 4*i*unit, unit, backstore.Mapped); err != nil {
				return fmt.Errorf("after a write: %w", err)
			}
		}
		walkers := []interface {
			ExtentAt(off, length int64) (backstore.Extent, error)
		}{m}
		if x, ok := store.(backstore.Mapper); ok {
			walkers = append(walkers, x)
		}
		for _, walker := range walkers {
			extents, err := states(walker, 0, size)
			if err != nil {
				return err
			}
			if err := zerosInHoles(m, extents); err != nil {
				return err
			}
			if _, err := states(walker, unit/2+1, 3*unit+5); err != nil {
				return err
			}
		}
		return nil
	})
}

// zerosInHoles: what is not mapped reads as zeros, if the store promises that.
func zerosInHoles(m *backstore.Medium, extents []backstore.Extent) error {
	if !m.Features().Has(backstore.ReadsZeros) {
		return nil
	}
	for _, e := range extents {
		if e.State == backstore.Mapped {
			continue
		}
		length := min(e.Length, 1<<20)
		if err := expect(m, e.Offset, make([]byte, length), e.State.String()); err != nil {
			return err
		}
		if err := expect(m, e.End()-length, make([]byte, length), e.State.String()); err != nil {
			return err
		}
	}
	return nil
}

func checkWriteThrough(s Subject) error {
	return s.with(func(store backstore.Store, m *backstore.Medium) error {
		for i, r := range oddRanges(store.Geometry().Size) {
			p := newNoise(int(r[1]), uint64(i))
			if n, err := m.WriteThroughAt(p, r[0]); err != nil || n != len(p) {
				return fmt.Errorf("WriteThroughAt of %d bytes at %d: %d, %v", len(p), r[0], n, err)
			}
			if err := expect(store, r[0], p, "after WriteThroughAt"); err != nil {
				return err
			}
		}
		return nil
	})
}

// tries is how often something that may rightly say "not now" is asked before
// that is taken as "never".
const tries = 2000

func checkTryRead(s Subject) error {
	return s.with(func(store backstore.Store, m *backstore.Medium) error {
		answered := false
		for i := range tries {
			off, length := int64(i%50)*4099, 1+(i*37)%9000
			p := newNoise(length, uint64(i))
			if err := write(store, p, off); err != nil {
				return err
			}
			got := make([]byte, length)
			switch n, err := m.TryReadAt(got, off); {
			case err == nil && n == length:
				answered = true
				if err := same(got, p, off, "TryReadAt after WriteAt"); err != nil {
					return err
				}
			case err != backstore.ErrWouldBlock || n != 0:
				return fmt.Errorf("TryReadAt of %d bytes at %d: %d, %v; want all, or 0 and ErrWouldBlock itself", length, off, n, err)
			}
			if i > 100 && (answered || !m.Features().Has(backstore.CanTryRead)) {
				return nil
			}
		}
		return fmt.Errorf("the store can try to read, and not one of %d reads of what was just written succeeded", tries)
	})
}

func checkTryReadBatch(s Subject) error {
	return s.with(func(store backstore.Store, m *backstore.Medium) error {
		p := newNoise(1<<18, 1)
		if err := write(store, p, 0); err != nil {
			return err
		}
		answered := 0
		for i := range tries {
			reads := make([]backstore.Read, 1+(i*29)%150)
			for k := range reads {
				reads[k] = backstore.Read{Data: make([]byte, 1+(i*37+k)%9000), Offset: int64((i+k)%50) * 4099}
			}
			beyond := len(reads) > 3 && i%10 == 0 && m.Features().Has(backstore.CanTryRead)
			if beyond {
				reads[3].Offset = m.Geometry().Size - 1
				reads[3].Data = make([]byte, 2)
			}
			m.TryReadBatch(reads)
			for k, r := range reads {
				switch {
				case beyond && k == 3:
					if !errors.Is(r.Err, backstore.ErrRange) {
						return fmt.Errorf("a read beyond the end among %d: %v", len(reads), r.Err)
					}
				case r.Err == nil:
					answered++
					if err := same(r.Data, p[r.Offset:][:len(r.Data)], r.Offset, "TryReadBatch after WriteAt"); err != nil {
						return err
					}
				case r.Err != backstore.ErrWouldBlock:
					return fmt.Errorf("TryReadBatch of %d bytes at %d: %v; want all, or ErrWouldBlock itself", len(r.Data), r.Offset, r.Err)
				}
			}
			if i > 20 && (answered > 0 || !m.Features().Has(backstore.CanTryRead)) {
				return nil
			}
		}
		return fmt.Errorf("the store can try to read, and not one of %d batches of what was written succeeded", tries)
	})
}

func checkTryWrite(s Subject) error {
	return s.with(func(store backstore.Store, m *backstore.Medium) error {
		taken := false
		for i := range tries {
			off, length := int64(i%50)*4099, 1+(i*37)%9000
			p := newNoise(length, uint64(i))
			if err := write(store, newNoise(length, uint64(i)+1), off); err != nil {
				return err
			}
			switch n, err := m.TryWriteAt(p, off); {
			case err == nil && n == length:
				taken = true
			case err != backstore.ErrWouldBlock || n != 0:
				return fmt.Errorf("TryWriteAt of %d bytes at %d: %d, %v; want all, or 0 and ErrWouldBlock itself", length, off, n, err)
			default:
				if err := write(store, p, off); err != nil {
					return err
				}
			}
			if err := expect(store, off, p, "after TryWriteAt"); err != nil {
				return err
			}
			if i > 100 && (taken || !m.Features().Has(backstore.CanTryWrite)) {
				return nil
			}
		}
		return fmt.Errorf("the store can try to write, and not one of %d attempts succeeded", tries)
	})
}

func checkCopy(s Subject) error {
	return s.with(func(store backstore.Store, m *backstore.Medium) error {
		const span = 1 << 20          // four pieces of the copy through memory
		for _, c := range [][3]int64{ // to, from, length
			{600000, 0, 4096}, {600003, 511, 70001}, {1000, 0, 700000}, {0, 1000, 700000}, {77, 77, 4096}, {300000, 0, 600000}, {0, 300000, 600000}, {5, 5, 0},
		} {
			p := newNoise(span, uint64(c[0]+c[1]))
			if err := write(store, p, 0); err != nil {
				return err
			}
			if err := m.CopyAt(c[0], m, c[1], c[2]); err != nil {
				return fmt.Errorf("CopyAt(%d, itself, %d, %d): %w", c[0], c[1], c[2], err)
			}
			copy(p[c[0]:c[0]+c[2]], append([]byte(nil), p[c[1]:c[1]+c[2]]...))
			if err := expect(store, 0, p, fmt.Sprintf("after CopyAt(%d, itself, %d, %d)", c[0], c[1], c[2])); err != nil {
				return err
			}
		}
		return s.with(func(other backstore.Store, from *backstore.Medium) error {
			p := newNoise(span, 99)
			if err := write(other, p, 1<<20); err != nil {
				return err
			}
			if err := m.CopyAt(4096, from, 1<<20+1, span-1); err != nil {
				return fmt.Errorf("CopyAt from another store: %w", err)
			}
			if err := expect(store, 4096, p[1:], "after CopyAt from another store"); err != nil {
				return err
			}
			return expect(other, 1<<20, p, "the source of CopyAt")
		})
	})
}

func checkCompareAndWrite(s Subject) error {
	return s.with(func(store backstore.Store, m *backstore.Medium) error {
		old, next := newNoise(1024, 1), newNoise(1024, 2)
		if err := write(store, old, 512); err != nil {
			return err
		}
		wrong := append([]byte(nil), old...)
		wrong[700] ^= 1
		if at, err := m.CompareAndWriteAt(wrong, next, 512); err != nil || at != 700 {
			return fmt.Errorf("a CompareAndWriteAt with byte 700 different: %d, %v", at, err)
		}
		if err := expect(store, 512, old, "after a miscompare"); err != nil {
			return err
		}
		if at, err := m.CompareAndWriteAt(old, next, 512); err != nil || at != -1 {
			return fmt.Errorf("a CompareAndWriteAt with all bytes equal: %d, %v", at, err)
		}
		return expect(store, 512, next, "after CompareAndWriteAt")
	})
}

func checkSync(s Subject) error {
	return s.with(func(store backstore.Store, m *backstore.Medium) error {
		for i := range 3 {
			if err := m.Sync(); err != nil {
				return fmt.Errorf("a Sync of an idle store: %w", err)
			}
			if err := write(store, newNoise(5000, uint64(i)), 100); err != nil {
				return err
			}
			var group sync.WaitGroup
			errs := make([]error, 8)
			for j := range errs {
				group.Go(func() { errs[j] = m.Sync() })
			}
			group.Wait()
			if err := errors.Join(errs...); err != nil {
				return fmt.Errorf("a Sync, %d at once: %w", len(errs), err)
			}
		}
		return nil
	})
}

func checkAllocations(s Subject) error {
	return s.with(func(store backstore.Store, m *backstore.Medium) error {
		p := newNoise(8192, 1)
		if err := write(store, p, 4096); err != nil {
			return err
		}
		var failure error
		for name, call := range map[string]func([]byte, int64) (int, error){
			"ReadAt": m.ReadAt, "TryReadAt": m.TryReadAt, "WriteAt": m.WriteAt, "TryWriteAt": m.TryWriteAt,
		} {
			allocated := testing.AllocsPerRun(200, func() {
				if _, err := call(p, 4096); err != nil && err != backstore.ErrWouldBlock {
					failure = err
				}
			})
			if allocated >= 1 {
				return fmt.Errorf("%s allocates %v times", name, allocated)
			}
		}
		return failure
	})
}
