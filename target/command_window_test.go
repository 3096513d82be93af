package target

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// The window against a slow model: a set of numbers received, and what must be
// delivered, in order, once. It starts near the wrap of serial numbers, which is no
// multiple of every size.
func TestCommandWindow_RFC7143_4_2_2_1(t *testing.T) {
	for _, size := range []uint32{16, 10} {
		t.Run(fmt.Sprint(size), func(t *testing.T) { modelWindow(t, size) })
	}
}

func modelWindow(t *testing.T, size uint32) {
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 1))
		var w commandWindow
		base := uint32(0xfffffff0) + uint32(seed)
		w.start(base, int(size))
		received := map[uint32]bool{}
		var delivered []uint32
		var due uint32 // numbers relative to base
		answered := uint32(0)
		for range 400 {
			switch sn := base + due - 3 + random.Uint32N(size+6); random.IntN(3) {
			case 0: // an answer opens the window by one
				if answered < uint32(len(delivered)) {
					answered++
					w.open()
				}
			default:
				relative := sn - base
				allowed := int32(relative-due) >= 0 && int32(relative-(answered+size)) < 0 && !received[relative]
				where := w.place(sn)
				switch {
				case !allowed && where != outside:
					t.Fatalf("seed %d: number %d (due %d, answered %d) placed %d, want outside", seed, relative, due, answered, where)
				case allowed && relative == due && where != inOrder:
					t.Fatalf("seed %d: number %d was due and placed %d", seed, relative, where)
				case allowed && relative != due && where != early:
					t.Fatalf("seed %d: number %d came early and was placed %d", seed, relative, where)
				}
				if where == outside {
					continue
				}
				received[relative] = true
				if where == early {
					w.hold(sn, func() { delivered = append(delivered, relative) })
					continue
				}
				delivered = append(delivered, relative)
				for f, ok := w.next(); ok; f, ok = w.next() {
					f()
				}
				for received[due] {
					due++
				}
			}
			if got := w.exp.Load(); got != base+due {
				t.Fatalf("seed %d: ExpCmdSN is %d, want %d", seed, got-base, due)
			}
			if got := w.max.Load(); got != base+answered+size-1 {
				t.Fatalf("seed %d: MaxCmdSN is %d, want %d", seed, got-base, answered+size-1)
			}
		}
		for i, n := range delivered {
			if n != uint32(i) {
				t.Fatalf("seed %d: delivery %d has number %d", seed, i, n)
			}
		}
	}
}

// A number that task management skips is passed over when its turn comes.
func TestCommandWindow_skip_RFC7143_11_6_1(t *testing.T) {
	var w commandWindow
	w.start(10, 4)
	if w.skip(9, 12) || w.skip(12, 12) || w.skip(14, 20) {
		t.Fatal("a number outside the window, or not before the function's own, was skipped")
	}
	if !w.skip(11, 12) {
		t.Fatal("11 could not be skipped")
	}
	if w.place(11) != outside {
		t.Fatal("the skipped command was taken when it came after all")
	}
	if w.place(10) != inOrder {
		t.Fatal("10 was not in order")
	}
	if f, ok := w.next(); !ok || f != nil {
		t.Fatal("the skipped number did not follow")
	}
	if w.exp.Load() != 12 {
		t.Fatalf("ExpCmdSN is %d, want 12", w.exp.Load())
	}
}
