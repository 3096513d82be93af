package file

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/backstore"
)

const (
	// firstStep and lastStep bound what is taken at once ahead of a writer, which doubles
	// as long as it goes on. No image takes more than one part of stepOfSize at once.
	firstStep  = 8 << 20
	lastStep   = 64 << 20
	stepOfSize = 64

	maxStreams = 4        // writers of an image that are served at once
	behind     = 16 << 20 // how far one may still be at work behind its head

	// streamIdle is after how long without progress a writer has stopped, and what was
	// taken ahead of it is given back.
	streamIdle = 5 * time.Second
	// aheadPause is how long nothing is taken ahead after there was no space.
	aheadPause = time.Minute
)

// A preallocation takes space ahead of those who write an image in sequence, so that
// images that are written by turns lie in few pieces. It works beside them, on a
// goroutine of its own from the first of them on; what goes wrong there hurts nobody.
type preallocation struct {
	store *Store
	may   func(space backstore.Space, bytes int64) bool
	idle  time.Duration // streamIdle, but in tests

	sequence sequence
	passage  passage
	windows  atomic.Pointer[[]*window] // replaced as a whole, under mu

	filled  chan int64 // regions; what does not find room is lost
	running atomic.Bool
	stop    chan struct{}
	ended   sync.WaitGroup

	mu      sync.Mutex // no writer takes it, unless there is no space
	streams []*stream
	left    []span    // could not be given back
	held    int       // by whom nothing may be taken ahead
	pause   time.Time // until then neither
	over    bool
}

// A stream is somebody who writes in sequence.
type stream struct {
	head    int64 // bytes: it has come so far
	step    int64 // bytes: taken last
	seen    time.Time
	windows []*window
}

// end is how far space was taken for it, or its head.
func (m *stream) end() int64 {
	end := m.head
	for _, w := range m.windows {
		end = max(end, w.end())
	}
	return end
}

// Preallocate has the store take space ahead of sequential writes to a sparse image, in
// steps that double from 8 to 64 MiB, and give back what was not used when they have
// stopped, when there is no space for a write, and when the store is closed. Before each
// step may is asked whether so many bytes may be taken, of a file system that looks like
// that; with 0 bytes, whether what was taken may be kept. It must not wait.
//
// What is taken is anchored (SBC-3 4.7.4.4), counts as used, and is given back by UNMAP as
// any other. It is noted in an extended attribute, so that what a killed process leaves
// is given back by the next Open. Preallocate is called before the store is used, and
// does nothing for a store that is read-only or fixed, or lies elsewhere than on ext4 or
// XFS.
func (s *Store) Preallocate(may func(space backstore.Space, bytes int64) bool) {
	known := s.fileSystem == unix.EXT4_SUPER_MAGIC || s.fileSystem == unix.XFS_SUPER_MAGIC
	if !known || s.geometry.Unmap == 0 || s.ahead != nil {
		return // without UNMAP holes cannot be punched
	}
	s.ahead = &preallocation{store: s, may: may, idle: streamIdle, filled: make(chan int64, 16), stop: make(chan struct{})}
	s.ahead.windows.Store(new([]*window))
}

// enter has to be called before a range is changed by other means than punching, and
// leave with what it returns after. It waits where space is being given back just now.
func (p *preallocation) enter(off, length int64) (side uint32) {
	if p == nil {
		return 0
	}
	side = p.passage.enter()
	for _, w := range *p.windows.Load() {
		if !w.mark(off, length) {
			<-w.closed
		}
	}
	return side
}

// tryEnter is enter for a call that must not wait: it reports false where that would,
// and then there is nothing to leave.
func (p *preallocation) tryEnter(off, length int64) (side uint32, ok bool) {
	if p == nil {
		return 0, true
	}
	side = p.passage.enter()
	for _, w := range *p.windows.Load() {
		if !w.mark(off, length) {
			p.passage.leave(side)
			return 0, false
		}
	}
	return side, true
}

func (p *preallocation) leave(side uint32) {
	if p != nil {
		p.passage.leave(side)
	}
}

// wrote tells of a range that was written.
func (p *preallocation) wrote(off int64, length int) {
	if p == nil {
		return
	}
	for end := off + int64(length); off < end; {
		region := off >> regionShift
		n := min(end, (region+1)<<regionShift) - off
		if p.sequence.full(region, n) {
			p.wake(region)
		}
		off += n
	}
}

// wake has the region looked at, by a goroutine of its own.
func (p *preallocation) wake(region int64) {
	if p.limit() < firstStep {
		return
	}
	select {
	case p.filled <- region:
	default:
		return
	}
	if p.running.Load() || !p.running.CompareAndSwap(false, true) {
		return
	}
	p.mu.Lock() // once in the life of a store
	defer p.mu.Unlock()
	if !p.over {
		p.ended.Go(p.run)
	}
}

// limit bounds a step.
func (p *preallocation) limit() int64 {
	return min(lastStep, p.store.size.Load()/stepOfSize>>regionShift<<regionShift)
}

// run serves streams until stop.
func (p *preallocation) run() {
	var look <-chan time.Time // nil: there are no streams to look at
	for {
		select {
		case <-p.stop:
			return
		case region := <-p.filled:
			p.advance((region + 1) << regionShift)
			if look == nil {
				look = time.After(time.Second)
			}
		case now := <-look:
			look = nil
			if p.look(now) {
				look = time.After(time.Second)
			}
		}
	}
}

// look gives back what was taken for those who have stopped. It reports false if no
// stream is left.
func (p *preallocation) look(now time.Time) bool {
	space, err := p.store.Space()
	keep := err == nil && p.may(space, 0)
	p.mu.Lock()
	defer p.mu.Unlock()
	var streams []*stream
	for _, m := range p.streams {
		if keep && now.Sub(m.seen) < p.idle {
			streams = append(streams, m)
			continue
		}
		p.release(m.windows)
	}
	p.streams = streams
	return len(streams) > 0
}

// advance: somebody has written what lies before end, and may go on there.
func (p *preallocation) advance(end int64) {
	p.mu.Lock()
	m := p.streamAt(end)
	if m == nil {
		p.mu.Unlock()
		return
	}
	m.head, m.seen = max(m.head, end), time.Now()
	var passed, kept []*window
	for _, w := range m.windows {
		if w.end() <= m.head-behind {
			passed = append(passed, w)
		} else {
			kept = append(kept, w)
		}
	}
	m.windows = kept
	p.release(passed)
	step := min(max(2*m.step, firstStep), p.limit())
	next := span{m.end(), step}
	enough := m.end()-m.head > max(m.step/2, firstStep/2)
	p.mu.Unlock()
	if !enough {
		p.take(m, next)
	}
}

// streamAt finds the stream that has come to end, or takes it for a new one; nil: there
// are too many, or nothing may be taken.
func (p *preallocation) streamAt(end int64) *stream {
	if p.over || p.held > 0 || time.Now().Before(p.pause) {
		return nil
	}
	for _, m := range p.streams {
		if end > m.head-behind && end <= m.end()+1<<regionShift {
			return m
		}
	}
	if len(p.streams) == maxStreams {
		return nil
	}
	m := &stream{head: end}
	p.streams = append(p.streams, m)
	return m
}

// take takes the space of r for m, as far as nobody has it yet.
func (p *preallocation) take(m *stream, r span) {
	_, ok := p.free(r)
	p.mu.Lock()
	if !ok && len(m.windows) == 0 { // it writes what has its space
		p.streams = slices.DeleteFunc(p.streams, func(s *stream) bool { return s == m })
	}
	if !ok || !p.mayTake(r.length) {
		p.mu.Unlock()
		return
	}
	w := newWindow(r)
	p.publish(append(slices.Clone(*p.windows.Load()), w))
	p.mu.Unlock()
	// Whoever writes without having seen the window must be gone before we look what is
	// a hole: from then on all that is written is marked.
	known := p.passage.passed(func() bool {
		select {
		case <-p.stop:
			return false
		case <-time.After(time.Millisecond):
			return true
		}
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	hole, ok := p.free(r)
	if !known || !ok || !slices.Contains(p.streams, m) { // all was given back meanwhile
		p.drop(w)
		return
	}
	w.taken = hole
	err := p.record()
	if err == nil {
		err = p.store.descriptor.Control(func(fd int) error { return take(fd, hole.off, hole.length) })
	}
	if err != nil {
		p.pause = time.Now().Add(aheadPause)
		p.release([]*window{w}) // a part of it may have been taken
		return
	}
	m.windows, m.step = append(m.windows, w), r.length
}

// mayTake asks whether so much may be taken.
func (p *preallocation) mayTake(bytes int64) bool {
	space, err := p.store.Space()
	return err == nil && p.may(space, bytes)
}

// free is what of r, at its end, is a hole; ok is false if that is too little.
func (p *preallocation) free(r span) (hole span, ok bool) {
	const looks = 64
	end := min(r.end(), p.store.size.Load())
	at := r.off
	for range looks {
		if end-at < firstStep/2 {
			break
		}
		e, err := p.store.ExtentAt(at, end-at)
		if err != nil {
			break
		}
		if e.State == backstore.Deallocated && e.End() == end {
			return span{at, end - at}, true
		}
		at = e.End()
	}
	return span{}, false
}

// publish shows the windows to those who write. mu is held.
func (p *preallocation) publish(windows []*window) {
	p.windows.Store(&windows)
}

// drop forgets a window. mu is held.
func (p *preallocation) drop(gone *window) {
	p.publish(slices.DeleteFunc(slices.Clone(*p.windows.Load()), func(w *window) bool { return w == gone }))
}

// release gives back what of the windows was not used. mu is held.
func (p *preallocation) release(windows []*window) {
	if len(windows) == 0 {
		return
	}
	for _, w := range windows {
		w.close(func(r span) {
			err := p.store.descriptor.Change(func(fd int) error {
				return unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, r.off, r.length)
			})
			if err != nil {
				p.left = append(p.left, r)
			}
		})
		p.drop(w)
	}
	_ = p.record() // that tells of too much does no harm: it is only punched what was never written
}

// giveBack gives back all that was taken and not used, and takes nothing for a while. It
// tells whether there was something.
func (p *preallocation) giveBack() bool {
	if p == nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pause = time.Now().Add(aheadPause)
	return p.releaseAll()
}

func (p *preallocation) releaseAll() (some bool) {
	for _, m := range p.streams {
		some = some || len(m.windows) > 0
		p.release(m.windows)
	}
	p.streams = nil
	return some
}

// hold gives back what was taken, and has nothing be taken before resume.
func (p *preallocation) hold() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held++
	p.releaseAll()
}

func (p *preallocation) resume() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held--
}

// end gives back what was taken, for good.
func (p *preallocation) end() {
	if p == nil {
		return
	}
	p.mu.Lock()
	if p.over {
		p.mu.Unlock()
		return
	}
	p.over = true
	close(p.stop)
	p.releaseAll()
	p.mu.Unlock()
	p.ended.Wait()
}

// hadNoSpace tells whether a change that failed like that is to be tried again: there
// was no space, and now there is some.
func (p *preallocation) hadNoSpace(err error) bool {
	return err != nil && p != nil && backstore.Meaning(err) == backstore.ErrNoSpace && p.giveBack()
}

// mayGiveBack is hadNoSpace for a call that must not wait: it gives nothing back, and tells whether another call that
// may wait is worth while.
func (p *preallocation) mayGiveBack(err error) bool {
	return err != nil && p != nil && len(*p.windows.Load()) > 0 && backstore.Meaning(err) == backstore.ErrNoSpace
}
