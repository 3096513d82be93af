package file

import (
	"encoding/json"

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
	var ranges [][2]int64
	if json.Unmarshal(value[:n], &ranges) == nil {
		for _, r := range ranges {
			off, end := max(r[0], 0), min(r[0]+r[1], size)
			if off < end && !punchUnwritten(fd, span{off, end - off}) {
				return
			}
		}
	}
	_ = unix.Fremovexattr(fd, aheadAttribute)
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
