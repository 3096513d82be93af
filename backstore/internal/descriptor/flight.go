package descriptor

import "sync"

// flights lets many callers share a slow operation that serves all who asked
// before it began. One runs at a time; who comes while it runs has to wait for
// the next, for the one that runs may have passed what he wrote.
//
// It is what makes a failed fdatasync(2) everybody's: the system reports it to
// one caller, and of two that ran side by side the other would have been told
// of success.
type flights struct {
	mu     sync.Mutex
	boards *flight // takes passengers, has not begun
	flying *flight // the last that has begun
}

type flight struct {
	before *flight // to be waited for; nil once it has begun
	landed chan struct{}
	err    error
}

// join returns the result of a run of f that began after the call.
func (s *flights) join(f func() error) error {
	s.mu.Lock()
	fl := s.boards
	leads := fl == nil
	if leads {
		fl = &flight{before: s.flying, landed: make(chan struct{})}
		s.boards = fl
	}
	s.mu.Unlock()
	if !leads {
		<-fl.landed
		return fl.err
	}
	if fl.before != nil {
		<-fl.before.landed
		fl.before = nil
	}
	s.mu.Lock()
	s.boards, s.flying = nil, fl
	s.mu.Unlock()
	fl.err = f()
	close(fl.landed)
	return fl.err
}
