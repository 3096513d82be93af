package job

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"time"
)

const (
	// sampleEvery is the time between two looks at the rate, memory how long a
	// look counts.
	sampleEvery = 200 * time.Millisecond
	memory      = 5 * time.Second
)

// A Progress is how the work of a job tells how far it is. Its methods may be called
// at once from many goroutines.
type Progress struct {
	mu          sync.Mutex
	phase       string
	done, total int64
	all         int64 // bytes done in all phases

	sampledAt time.Time
	sampled   int64   // done at that time
	rate      float64 // bytes a second
	rated     bool

	unreadable []Unreadable
}

// MaxUnreadable is how many ranges that cannot be read are told of one by one.
const MaxUnreadable = 64

// An Unreadable is a range of blocks that cannot be read.
type Unreadable struct {
	LBA    int64  `json:"lba"` // of the first block
	Blocks int64  `json:"blocks"`
	Error  string `json:"error"`
}

// String says it for a person.
func (u Unreadable) String() string {
	if u.Blocks == 1 {
		return fmt.Sprintf("block %d cannot be read: %s", u.LBA, u.Error)
	}
	return fmt.Sprintf("%d blocks from %d cannot be read: %s", u.Blocks, u.LBA, u.Error)
}

// Unreadable tells of one. It is false if there are MaxUnreadable already, and this one is
// not kept.
func (p *Progress) Unreadable(u Unreadable) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.unreadable) >= MaxUnreadable {
		return false
	}
	p.unreadable = append(p.unreadable, u)
	return true
}

// Phase begins a part of the work, of total bytes; 0: not known.
func (p *Progress) Phase(name string, total int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.phase, p.done, p.total = name, 0, total
	p.sampledAt, p.sampled, p.rate, p.rated = time.Now(), 0, 0, false
}

// Set tells how many bytes of the phase are done.
func (p *Progress) Set(done int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.advance(done)
}

// Of is Set, where total bytes are to be done in the phase.
func (p *Progress) Of(done, total int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.total = total
	p.advance(done)
}

// Add tells that n more bytes of the phase are done.
func (p *Progress) Add(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.advance(p.done + n)
}

func (p *Progress) advance(done int64) {
	p.all += max(done-p.done, 0)
	p.done = done
	p.sample()
}

// sample looks at the rate, if it is time to. p.mu is held.
func (p *Progress) sample() {
	now := time.Now()
	passed := now.Sub(p.sampledAt)
	if passed < sampleEvery {
		return
	}
	rate := float64(max(p.done-p.sampled, 0)) / passed.Seconds()
	if p.rated {
		weight := 1 - math.Exp(-passed.Seconds()/memory.Seconds())
		rate = p.rate + weight*(rate-p.rate)
	}
	p.rate, p.rated = rate, true
	p.sampledAt, p.sampled = now, p.done
}

// tell writes the progress into s. An ended job has the rate of all of it.
func (p *Progress) tell(s *Status) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.Phase, s.Done, s.Total, s.Left = p.phase, p.done, p.total, -1
	s.Unreadable = slices.Clone(p.unreadable)
	if s.State.Final() {
		if took := s.Ended.Sub(s.Began); took > 0 {
			s.Rate = int64(float64(p.all) / took.Seconds())
		}
		s.Left = 0
		return
	}
	p.sample()
	s.Rate = int64(p.rate)
	if left := float64(p.total-p.done) / p.rate; p.total > 0 && p.rate >= 1 && left < math.MaxInt32 {
		s.Left = max(int64(math.Ceil(left)), 0)
	}
}
