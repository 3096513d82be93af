package load

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestHistogram(t *testing.T) {
	var h histogram
	if h.percentile(0.5) != 0 || h.mean() != 0 {
		t.Error("an empty histogram has latencies")
	}
	rng := rand.New(rand.NewPCG(1, 2))
	var all []time.Duration
	for range 20000 {
		d := time.Duration(rng.ExpFloat64() * 1e6)
		all = append(all, d)
		h.add(d)
	}
	slices.Sort(all)
	for _, q := range []float64{0.01, 0.5, 0.9, 0.99, 0.999, 1} {
		want := all[min(int(q*float64(len(all))+0.5), len(all))-1]
		if got := h.percentile(q); got < want || float64(got) > float64(want)*(1+1.0/subBuckets)+1 {
			t.Errorf("percentile %v is %v, want %v or up to 1/64 more", q, got, want)
		}
	}
	if h.percentile(1) != all[len(all)-1] {
		t.Errorf("the last percentile is %v, the longest latency %v", h.percentile(1), all[len(all)-1])
	}
}

// Every bucket holds what its ceiling says, and no latency is lost.
func TestBuckets(t *testing.T) {
	last := -1
	for _, d := range []time.Duration{-5, 0, 1, 63, 64, 65, 127, 128, 129, 1000, 123456, time.Second, time.Hour} {
		b := bucket(d)
		if b < last {
			t.Errorf("%v is in bucket %d, before the one of a shorter latency", d, b)
		}
		last = b
		if d >= 0 && (ceiling(b) < d || b > 0 && ceiling(b-1) >= d) {
			t.Errorf("%v is in bucket %d, which ends at %v after %v", d, b, ceiling(b), ceiling(b-1))
		}
	}
	var h histogram
	h.add(1 << 62)
	if h.count != 1 || h.percentile(1) == 0 {
		t.Error("a very long latency is lost")
	}
}
