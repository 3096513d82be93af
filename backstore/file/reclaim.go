package file

import (
	"cmp"
	"encoding/json"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/backstore/internal/fiemap"
)

// aheadAttribute is the extended attribute that notes of which ranges space is taken ahead.
const aheadAttribute = "user.isantarget.ahead"

// record notes the windows, before their space is taken and after it was given back.
// Without a note none is taken: a process that is killed would leave it. mu is held.
func (p *preallocation) record() error {
	var ranges [][2]int64
	for _, r := range p.left {
		ranges = append(ranges, [2]int64{r.off, r.length})
	}
	for _, w := range *p.windows.Load() {
		if w.taken.length > 0 {
			ranges = append(ranges, [2]int64{w.taken.off, w.taken.length})
		}
	}
	return p.store.descriptor.Control(func(fd int) error {
		if len(ranges) == 0 {
			return unix.Fremovexattr(fd, aheadAttribute)
		}
		value, err := json.Marshal(ranges)
		if err != nil {
			return err
		}
		return unix.Fsetxattr(fd, aheadAttribute, value, 0)
	})
}

// reclaim gives back what a process that was killed had taken ahead: what was never
// written of the ranges that are noted. Nobody writes to the image meanwhile. A failure
// leaves the note for the next time.
func reclaim(fd int, size int64) {
	value := make([]byte, 4096)
	n, err := unix.Fgetxattr(fd, aheadAttribute, value)
	if err != nil || n == 0 {
		return
	}
	for _, r := range aheadRanges(value[:n], size) {
		if !punchUnwritten(fd, r) {
			return
		}
	}
	_ = unix.Fremovexattr(fd, aheadAttribute)
}

// aheadRanges are the ranges that a note names, as far as they lie in an image of size bytes, in
// order and each byte once. What is no note names none, and what is no range is left out.
func aheadRanges(note []byte, size int64) (all []span) {
	var ranges [][2]int64
	if json.Unmarshal(note, &ranges) != nil {
		return nil
	}
	slices.SortFunc(ranges, func(a, b [2]int64) int { return cmp.Compare(a[0], b[0]) })
	end := int64(0) // of those before
	for _, r := range ranges {
		if r[0] < 0 || r[0] >= size || r[1] <= 0 {
			continue
		}
		from, to := max(r[0], end), r[0]+min(r[1], size-r[0])
		if from < to {
			all = append(all, span{from, to - from})
			end = to
		}
	}
	return all
}

// punchUnwritten makes holes of the space in r that was never written, after what waits
// in the page cache was.
func punchUnwritten(fd int, r span) bool {
	var holes []span
	for e, err := range fiemap.Synced(fd, r.off, r.length) {
		if err != nil {
			return false
		}
		from, to := max(e.Offset, r.off), min(e.End(), r.end())
		if e.Flags&fiemap.Unwritten != 0 && from < to {
			holes = append(holes, span{from, to - from})
		}
	}
	for _, h := range holes {
		if unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, h.off, h.length) != nil {
			return false
		}
	}
	return true
}
