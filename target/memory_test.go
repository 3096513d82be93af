package target

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"
)

func TestMemoryServesWaitersInOrder(t *testing.T) {
	m := memory{limit: 10}
	if !m.tryTake(8) {
		t.Fatal("8 of 10 bytes are not to be had")
	}
	var order []int64
	var mu sync.Mutex
	large := make(chan struct{})
	var all sync.WaitGroup
	for i, n := range []int64{9, 2} { // the large one first
		all.Go(func() {
			if m.take(n, nil) != &m {
				t.Error("not granted")
			}
			mu.Lock()
			order = append(order, n)
			mu.Unlock()
			if n == 9 {
				<-large
			}
			m.give(n)
		})
		for m.queued.Load() != int32(i+1) {
			time.Sleep(time.Millisecond)
		}
	}
	if m.tryTake(1) {
		t.Fatal("a newcomer overtook those who wait")
	}
	m.give(8) // room for 9, or for 2, not for both
	for m.queued.Load() != 1 {
		time.Sleep(time.Millisecond)
	}
	close(large)
	all.Wait()
	if order[0] != 9 || m.used.Load() != 0 {
		t.Fatalf("order %v, %d bytes still booked", order, m.used.Load())
	}
}

func TestMemoryRefusesMoreThanItsLimit(t *testing.T) {
	m := memory{limit: 10}
	if m.take(11, nil) != nil {
		t.Fatal("11 of 10 bytes were granted")
	}
}

func TestMemoryCancel(t *testing.T) {
	parent := memory{limit: 10}
	m := memory{limit: 10, parent: &parent}
	if !parent.tryTake(10) {
		t.Fatal("the parent has nothing")
	}
	cancel := make(chan struct{}, 1)
	cancel <- struct{}{}
	if m.take(5, cancel) != nil {
		t.Fatal("granted without the parent")
	}
	if m.used.Load() != 0 || m.queued.Load() != 0 || parent.queued.Load() != 0 {
		t.Fatal("a cancelled request left a trace")
	}
}

// What a session has of its own serves it while others hold all that is shared: those
// who try, those who wait at the time, and those who come later.
func TestMemoryOfItsOwn(t *testing.T) {
	e := &Entity{limits: Limits{Memory: 4 * MaxTransfer, Connections: 4}}
	e.divide()
	var hog, good purse
	hog.open(e)
	good.open(e)
	for hog.tryTake(MaxTransfer/4) != nil {
	}
	for e.memory.tryTake(MaxTransfer / 8) {
	}
	const n = MaxTransfer / 8
	first := good.tryTake(n)
	if first != &good.own || good.tryTakeUnasked(n) != &good.unasked {
		t.Fatal("a session is not served from its own memory while others hold the rest, or before what is shared")
	}
	second := good.take(n, nil)
	if second != &good.own {
		t.Fatal("the other half of its own is not to be had")
	}
	granted := make(chan *memory)
	for range 2 {
		go func() { granted <- good.take(n, nil) }()
	}
	for e.memory.queued.Load() != 2 {
		time.Sleep(time.Millisecond)
	}
	for _, m := range []*memory{first, second} {
		m.give(n)
		if got := <-granted; got != &good.own {
			t.Fatalf("who waits is served from %p, want its own %p", got, &good.own)
		}
	}
	if e.memory.queued.Load() != 0 || good.asked.used.Load() != 0 {
		t.Errorf("%d wait, %d bytes are booked twice", e.memory.queued.Load(), good.asked.used.Load())
	}
}

// However many take, wait, give up and give, the limit holds and all comes back.
func TestMemoryUnderLoad(t *testing.T) {
	parent := memory{limit: 100}
	var held int64
	var mu sync.Mutex
	var all sync.WaitGroup
	for i := range 4 {
		own := &memory{limit: 30}
		m := &memory{limit: 60, parent: &parent, own: own}
		own.lends = []*memory{m, &parent}
		for j := range 4 {
			all.Go(func() {
				random := rand.New(rand.NewPCG(uint64(i), uint64(j)))
				for range 300 {
					n := random.Int64N(50) + 1
					cancel := make(chan struct{})
					if random.IntN(4) == 0 {
						close(cancel)
					}
					by := m.take(n, cancel)
					if by == nil {
						continue
					}
					if by == m {
						mu.Lock()
						held += n
						if held > parent.limit {
							t.Errorf("%d bytes held, limit %d", held, parent.limit)
						}
						mu.Unlock()
					}
					runtime.Gosched()
					if by == m {
						mu.Lock()
						held -= n
						mu.Unlock()
					}
					by.give(n)
				}
			})
		}
	}
	all.Wait()
	if parent.used.Load() != 0 || parent.queued.Load() != 0 {
		t.Fatalf("%d bytes booked and %d waiting at the end", parent.used.Load(), parent.queued.Load())
	}
}
