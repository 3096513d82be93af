package descriptor

import (
	"sync"

	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/backstore/internal/uring"
)

// maxRings is how many batches of a descriptor are tried at once; more are read one by one.
const maxRings = 4

// rings lends rings. They are made when they are first needed.
type rings struct {
	mu     sync.Mutex
	free   []*uring.Ring
	made   int
	refuse bool // the system has none for us
}

// take lends a ring; nil: there is none.
func (r *rings) take() *uring.Ring {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.free); n > 0 {
		ring := r.free[n-1]
		r.free = r.free[:n-1]
		return ring
	}
	if r.refuse || r.made == maxRings {
		return nil
	}
	ring, err := uring.New()
	if err != nil {
		r.refuse = true // and it will have none later
		return nil
	}
	r.made++
	return ring
}

// give takes a ring back; a broken one is closed, and no other takes its place.
func (r *rings) give(ring *uring.Ring, broken bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if broken {
		_ = ring.Close()
		return
	}
	r.free = append(r.free, ring)
}

// close closes the rings. None is lent: the gate is closed.
func (r *rings) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, ring := range r.free {
		_ = ring.Close()
	}
	r.free, r.refuse = nil, true
}

// TryReadBatch is TryReadAt for each of reads, by one system call for up to uring.Entries of
// them where the system has io_uring.
func (d *Descriptor) TryReadBatch(reads []backstore.Read) {
	for len(reads) > 1 && !d.tryRead.refused.Load() {
		part := reads[:min(len(reads), uring.Entries)]
		if !d.tryReadTogether(part) {
			break
		}
		reads = reads[len(part):]
	}
	for i := range reads {
		_, reads[i].Err = d.TryReadAt(reads[i].Data, reads[i].Offset)
	}
}

// tryReadTogether is TryReadBatch with a ring; false: there is none.
func (d *Descriptor) tryReadTogether(reads []backstore.Read) bool {
	if !d.gate.Enter() {
		return false
	}
	defer d.gate.Leave()
	ring := d.rings.take()
	if ring == nil {
		return false
	}
	results, err := ring.TryRead(d.fd, reads)
	for i, n := range results {
		var errno error
		if n < 0 {
			errno = unix.Errno(-n)
		}
		_, reads[i].Err = d.tryRead.judge(int(n), len(reads[i].Data), errno)
	}
	d.rings.give(ring, err != nil)
	return true
}
