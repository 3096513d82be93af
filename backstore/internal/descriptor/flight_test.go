package descriptor

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
)

// Of many who ask at once each is served by a run that began after he asked, and
// no two run side by side.
func TestFlights(t *testing.T) {
	var s flights
	var written, durable, running, runs atomic.Int64
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 200 {
				mine := written.Add(1)
				err := s.join(func() error {
					if running.Add(1) != 1 {
						t.Error("two run side by side")
					}
					runs.Add(1)
					durable.Store(written.Load())
					running.Add(-1)
					return nil
				})
				if err != nil {
					t.Error(err)
				}
				if durable.Load() < mine {
					t.Errorf("write %d is said to be durable, and it is up to %d only", mine, durable.Load())
				}
			}
		})
	}
	group.Wait()
	if n := runs.Load(); n > 8*200 {
		t.Errorf("%d runs for %d calls", n, 8*200)
	}
}

// A failure is everybody's who was waiting for that run.
func TestFlights_SharedFailure(t *testing.T) {
	var s flights
	failure := errors.New("failure")
	first, release := make(chan struct{}), make(chan struct{})
	go func() {
		_ = s.join(func() error { close(first); <-release; return nil })
	}()
	<-first
	errs := make(chan error, 5)
	for range cap(errs) {
		go func() { errs <- s.join(func() error { return failure }) }()
	}
	close(release)
	for range cap(errs) {
		if err := <-errs; err != failure {
			t.Errorf("join returns %v, want the failure", err)
		}
	}
}
