package provision

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/backstore/file"
	"github.com/isantarget/isantarget/configs"
)

// A promise is the size of an image, and what it takes already of its file system.
type promise struct {
	backstore.Space
	size int64 // bytes
}

// promiseBound is how long a file system may take to say what it has. One that hangs
// is left out of what is told and watched, and the others are not.
const promiseBound = 3 * time.Second

// questions are what is asked about space, by path. While an answer is on its way
// nobody asks again: a file system that hangs holds up one goroutine for each path.
type questions struct {
	mu      sync.Mutex
	pending map[string]*reply
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
		return promise{}, fmt.Errorf("the file system hangs: it has not answered for %v", promiseBound)
	}
}

// promises are those of the images of r whose file systems answer.
func (r *running) promises() map[*unit]promise {
	replies := map[*unit]*reply{}
	for _, u := range r.units {
		if kind(u.config) == configs.File {
			replies[u] = r.questions.ask(u.config.Path, u.promise)
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

// promise is that of the image of u.
func (u *unit) promise() (p promise, err error) {
	p.size = int64(u.config.Size)
	if u.medium != nil {
		p.size = u.medium.Geometry().Size
		if p.Space, err = u.medium.Space(); err == nil {
			return p, nil
		}
	}
	p.Space, err = file.SpaceAt(u.config.Path) // it is not open, or a layer does not know
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
