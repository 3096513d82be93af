package meter

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// Buckets is how many buckets a histogram has. Each but the last takes times up to twice
// that of the one before.
const Buckets = 22

// firstBits is the bound of the first bucket as a power of two: 8.192 µs, about what a read
// from the page cache takes. The last bound is then 8.6 s, about where initiators give up.
const firstBits = 13

// Bound is the longest time that bucket i takes; the last one takes any. Not for the last.
func Bound(i int) time.Duration { return 1 << (firstBits + i) }

// bucketOf is the bucket that takes d.
func bucketOf(d time.Duration) int {
	if d <= 1<<firstBits {
		return 0
	}
	return min(bits.Len64(uint64(d-1))-firstBits, Buckets-1)
}

// phaseBuckets is how many buckets the histogram of a phase has: every second one. The
// bounds of the first 11 are Bound(0), Bound(2) and so on, and the last takes any time.
const phaseBuckets = (Buckets + 2) / 2

// phaseBucketOf is the bucket of a phase that takes d.
func phaseBucketOf(d time.Duration) int { return (bucketOf(d) + 1) / 2 }

// buckets count times by how long they are.
type buckets [Buckets]atomic.Uint64

// Times are how long commands took: how many of them by bucket, and all together.
type Times struct {
	Buckets [Buckets]uint64
	Sum     time.Duration
}

// Count is how many times were counted.
func (t Times) Count() (n uint64) {
	for _, b := range t.Buckets {
		n += b
	}
	return n
}

// Add adds what o has counted.
func (t *Times) Add(o *Times) {
	for i, b := range o.Buckets {
		t.Buckets[i] += b
	}
	t.Sum += o.Sum
}
