package provision

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/backstore/file"
	"github.com/isantarget/isantarget/configs"
)

// A promise is the size of an image, and what it takes already of its file system.
type promise struct {
	backstore.Space
	size   int64 // bytes
	shares shares
}

// shared are the bytes of Used that other files have too, at most.
func (p *promise) shared() int64 { return min(p.shares.shared, p.Used) }

// owed are the bytes that the image may still take, if it can be written: what it has
// no blocks for, and what it has only together with other files, for a write to that
// takes new ones.
func (p *promise) owed() int64 {
	return min(max(p.size+p.shares.shared-p.Taken, 0), p.size)
}

// promiseBound is how long a file system may take to say what it has. One that hangs
// is left out of what is told and watched, and the others are not.
const promiseBound = 3 * time.Second

// errHangs is what is told of one.
var errHangs = fmt.Errorf("the file system hangs: it has not answered for %v", promiseBound)

// questions are what is asked about space, by path. While an answer is on its way
// nobody asks again: a file system that hangs holds up one goroutine for each path.
type questions struct {
	mu      sync.Mutex
	pending map[string]*reply

	snapshots atomic.Uint64 // counts what changes snapshots and clones
	resting   time.Time     // until then nobody looks at what files share who need not be exact
	kept      sharings      // of the files of snapshots
	copies    promised
}

// rested tells whether it is time to look at what a file shares.
func (q *questions) rested() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return time.Now().After(q.resting)
}

// rest has nobody look for some time, after a look.
func (q *questions) rest(long time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.resting = time.Now().Add(long)
}

// A reply is one to come.
type reply struct {
	done    chan struct{} // closed when the rest is there
	promise promise
	err     error
}

// ask has do answer, unless the answer about path is on its way already.
func (q *questions) ask(path string, do func() (promise, error)) *reply {
	q.mu.Lock()
	defer q.mu.Unlock()
	if r := q.pending[path]; r != nil {
		return r
	}
	r := &reply{done: make(chan struct{})}
	if q.pending == nil {
		q.pending = map[string]*reply{}
	}
	q.pending[path] = r
	go func() {
		r.promise, r.err = do()
		q.mu.Lock()
		delete(q.pending, path)
		q.mu.Unlock()
		close(r.done)
	}()
	return r
}

// wait gives the reply, or an error if it is not there when ctx ends.
func (r *reply) wait(ctx context.Context) (promise, error) {
	select {
	case <-r.done:
		return r.promise, r.err
	default:
	}
	select {
	case <-r.done:
		return r.promise, r.err
	case <-ctx.Done():
		return promise{}, errHangs
	}
}

// promises are those of the images of r whose file systems answer. If they are to be
// exact they may take a second.
func (r *running) promises(exact bool) map[*unit]promise {
	replies := map[*unit]*reply{}
	for _, u := range r.units {
		if u.kind == configs.File {
			replies[u] = r.questions.askOf(u, exact)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), promiseBound)
	defer cancel()
	promises := map[*unit]promise{}
	for u, reply := range replies {
		if p, err := reply.wait(ctx); err == nil {
			promises[u] = p
		}
	}
	return promises
}

// askOf asks for the promise of the image of u.
func (q *questions) askOf(u *unit, exact bool) *reply {
	key := u.config.Path
	if exact {
		key = "exactly " + key
	}
	return q.ask(key, func() (promise, error) { return u.promise(q, exact) })
}

// promiseOf is the promise of the image of u, or an error if its file system hangs.
func (q *questions) promiseOf(u *unit) (promise, error) {
	ctx, cancel := context.WithTimeout(context.Background(), promiseBound)
	defer cancel()
	return q.askOf(u, false).wait(ctx)
}

// promise is that of the image of u.
func (u *unit) promise(q *questions, exact bool) (p promise, err error) {
	p.size = int64(u.config.Size)
	err = errors.ErrUnsupported
	if u.medium != nil {
		p.size = u.medium.Geometry().Size
		p.Space, err = u.medium.Space()
	}
	if err != nil { // it is not open, or a layer does not know
		if p.Space, err = file.SpaceAt(u.config.Path); err != nil {
			return p, err
		}
	}
	p.shares, err = u.sharing.look(u.config.Path, p.Taken, q, exact)
	if err != nil { // its path leads nowhere any more
		p.shares, err = shares{mapped: p.Taken, shared: p.Taken, estimated: true}, nil
	}
	p.shares.shared = min(p.shares.shared, p.Taken)
	if p.shares.shared > 0 {
		p.Used = min(p.Used, p.shares.mapped)
	}
	if p.size > 0 {
		p.Used = min(p.Used, p.size)
	}
	return p, err
}

// spaceAt is file.SpaceAt, or an error if the file system hangs.
func (q *questions) spaceAt(path string) (backstore.Space, error) {
	ctx, cancel := context.WithTimeout(context.Background(), promiseBound)
	defer cancel()
	p, err := q.ask("at "+path, func() (p promise, err error) {
		p.Space, err = file.SpaceAt(path)
		return p, err
	}).wait(ctx)
	return p.Space, err
}
