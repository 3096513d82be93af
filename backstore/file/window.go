package file

import "sync/atomic"

// chunkShift: a window knows by chunks of 64 KiB what of it was written.
const chunkShift = 16

// A window is a range of an image that was a hole, and whose space was taken ahead of a
// writer. What of it nobody has begun to write is given back one day, beside writers:
// Linux has no way to punch only what was never written. So whoever writes marks the
// chunks first and looks then whether the window closes; and who gives back says that it
// closes first and looks for marks then. One of the two sees the other.
type window struct {
	span
	marks   [lastStep >> chunkShift / 64]atomic.Uint64 // chunks that somebody has begun to write
	closing atomic.Bool
	closed  chan struct{} // closed: what was to be given back is
	taken   span          // whose space was taken; the mutex of the preallocation guards it
}

func newWindow(r span) *window { return &window{span: r, closed: make(chan struct{})} }

// mark notes that a range is written from now on. It reports false while the window
// closes: then the write has to wait for closed.
func (w *window) mark(off, length int64) bool {
	from, to := max(off, w.off)-w.off, min(off+length, w.end())-w.off
	if from >= to {
		return true
	}
	for c := from >> chunkShift; c <= (to-1)>>chunkShift; c++ {
		if word, bit := &w.marks[c/64], uint64(1)<<(c%64); word.Load()&bit == 0 {
			word.Or(bit)
		}
	}
	return !w.closing.Load()
}

// marked tells whether somebody has begun to write a chunk.
func (w *window) marked(chunk int64) bool { return w.marks[chunk/64].Load()&(1<<(chunk%64)) != 0 }

// close calls punch for what was taken and that nobody has begun to write. Nobody
// writes there meanwhile.
func (w *window) close(punch func(span)) {
	w.closing.Store(true)
	var run span
	for c := int64(0); c<<chunkShift < w.length; c++ {
		from := max(w.off+c<<chunkShift, w.taken.off)
		to := min(w.off+(c+1)<<chunkShift, w.taken.end())
		switch {
		case from >= to:
		case !w.marked(c) && run.length > 0:
			run.length = to - run.off
		case !w.marked(c):
			run = span{from, to - from}
		case run.length > 0:
			punch(run)
			run = span{}
		}
	}
	if run.length > 0 {
		punch(run)
	}
	close(w.closed)
}

// A passage counts those who are under way, so that one can wait until all have left
// who may not know of something new.
type passage struct {
	side  atomic.Uint32
	users [2]atomic.Int64
}

// enter counts the caller; leave with what it returns has to follow.
func (p *passage) enter() uint32 {
	side := p.side.Load() & 1
	p.users[side].Add(1)
	return side
}

func (p *passage) leave(side uint32) { p.users[side].Add(-1) }

// passed calls pause until everybody has left who was inside when it was called. It
// gives up, and reports false, when pause does.
func (p *passage) passed(pause func() bool) bool {
	for range 2 { // who comes takes the other side, so that this one becomes empty
		side := p.side.Load() & 1
		p.side.Store(side ^ 1)
		for p.users[side].Load() != 0 {
			if !pause() {
				return false
			}
		}
	}
	return true
}
