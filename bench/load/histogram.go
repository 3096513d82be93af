package load

import (
	"math/bits"
	"time"
)

// subBuckets is how many buckets share a power of two: a percentile is at most 1/64 too high.
const subBuckets = 64

// A histogram counts latencies in nanoseconds. Its memory does not grow.
type histogram struct {
	buckets [subBuckets * 40]uint64
	count   uint64
	sum     time.Duration
	max     time.Duration
}

// bucket is exact below subBuckets; above, the highest bits of d choose.
func bucket(d time.Duration) int {
	n := uint64(max(d, 0))
	if n < subBuckets {
		return int(n)
	}
	shift := bits.Len64(n) - 7
	return min(shift*subBuckets+int(n>>shift), len(histogram{}.buckets)-1)
}

// ceiling is the longest latency of a bucket.
func ceiling(bucket int) time.Duration {
	if bucket < subBuckets {
		return time.Duration(bucket)
	}
	shift := bucket/subBuckets - 1
	return time.Duration((bucket-shift*subBuckets+1)<<shift - 1)
}

func (h *histogram) add(d time.Duration) {
	h.buckets[bucket(d)]++
	h.count++
	h.sum += d
	h.max = max(h.max, d)
}

// percentile is a latency that the share q of all, 0 to 1, does not exceed.
func (h *histogram) percentile(q float64) time.Duration {
	if h.count == 0 {
		return 0
	}
	left := uint64(q*float64(h.count) + 0.5)
	for i, n := range h.buckets[:] {
		if n >= left && n > 0 {
			return min(ceiling(i), h.max)
		}
		left -= n
	}
	return h.max
}

func (h *histogram) mean() time.Duration {
	if h.count == 0 {
		return 0
	}
	return h.sum / time.Duration(h.count)
}
