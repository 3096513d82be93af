package file

import "time"

// GiveBack gives back what was taken ahead, as where a write finds no space; but at once
// some may be taken again.
func (s *Store) GiveBack() {
	s.ahead.hold()
	s.ahead.resume()
}

// Keep has the store take nobody for having stopped.
func (s *Store) Keep() { s.ahead.takesForStopped(time.Hour) }

// Watch has the store take for stopped who has, as it does else.
func (s *Store) Watch() { s.ahead.takesForStopped(streamIdle) }

func (p *preallocation) takesForStopped(after time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = after
}

// Ahead is how many bytes are taken ahead, those included that were written since.
func (s *Store) Ahead() (n int64) {
	s.ahead.mu.Lock()
	defer s.ahead.mu.Unlock()
	for _, w := range *s.ahead.windows.Load() {
		n += w.taken.length
	}
	return n
}
