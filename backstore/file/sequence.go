package file

import "sync/atomic"

const (
	// regionShift: where somebody writes in sequence is seen by regions of 4 MiB.
	regionShift = 22
	// regionFull is what must have been written of a region: seven eighths, in sectors.
	regionFull = 7 << (regionShift - 3 - 9)

	watchedBits = 6 // of the number of words
	countBits   = 24

	// scatter sends regions that lie at equal distances to different words (Knuth,
	// The Art of Computer Programming 6.4: the golden ratio of 64 bits).
	scatter = 0x9e3779b97f4a7c15
)

// A sequence notices that regions of an image become full, in whatever order their
// blocks are written. It costs a write one word and no lock. To be wrong costs nothing
// but a look: two regions share a word, and the one that is written more has it.
type sequence [1 << watchedBits]atomic.Uint64 // the number of the region and 1, and behind it sectors

// full counts a range of a region, and tells whether that has become full by it.
func (s *sequence) full(region, length int64) bool {
	const mask = 1<<countBits - 1
	word, tag, sectors := &s[uint64(region)*scatter>>(64-watchedBits)], uint64(region+1), uint64(length>>9)
	old := word.Load()
	switch {
	case old>>countBits == tag && old&mask+sectors < regionFull, old>>countBits != tag && old&mask <= sectors && sectors < regionFull:
		if old>>countBits == tag {
			word.Add(sectors)
			return false
		}
		word.CompareAndSwap(old, tag<<countBits|sectors)
	case old>>countBits == tag, old&mask <= sectors:
		return word.CompareAndSwap(old, tag<<countBits) // it begins anew, and has nothing to keep the word for
	default:
		word.CompareAndSwap(old, old-sectors)
	}
	return false
}
