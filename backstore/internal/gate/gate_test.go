package gate_test

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/isantarget/isantarget/backstore/internal/gate"
)

// Nobody is inside when Close returns, and nobody enters after.
func TestGate(t *testing.T) {
	for range 20 {
		g := gate.New()
		var inside atomic.Int64
		var closed atomic.Bool
		var group, begun sync.WaitGroup
		for range 8 {
			begun.Add(1)
			group.Go(func() {
				for first := true; g.Enter(); first = false {
					runtime.Gosched()
					inside.Add(1)
					if closed.Load() {
						t.Error("entered after Close")
					}
					inside.Add(-1)
					g.Leave()
					if first {
						begun.Done()
					}
				}
			})
		}
		begun.Wait()
		if !g.Close() {
			t.Error("the first Close says that it is not the first")
		}
		if n := inside.Load(); n != 0 {
			t.Errorf("%d are inside after Close", n)
		}
		closed.Store(true)
		if g.Close() {
			t.Error("the second Close says that it is the first")
		}
		group.Wait()
		if g.Enter() {
			t.Error("entered after Close")
		}
	}
}

func TestGate_CostsNoMemory(t *testing.T) {
	g := gate.New()
	if n := testing.AllocsPerRun(100, func() { g.Enter(); g.Leave() }); n != 0 {
		t.Errorf("Enter and Leave allocate %v times", n)
	}
}
