package provision

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isantarget/isantarget/backstore/snapshot"
	"github.com/isantarget/isantarget/configs"
)

// A changing is who changes snapshots: one at a time. Who looks at them does not hold it, for
// a file system may hang; they look again if a change has begun meanwhile.
type changing struct {
	mu    sync.Mutex
	begun uint64 // changes
}

// begin waits for the turn of a change, and gives what ends it.
func (c *changing) begin() (end func()) {
	c.mu.Lock()
	c.begun++
	return c.mu.Unlock
}

// quiet waits for the end of the change that is under way, and tells how many have begun.
func (c *changing) quiet() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.begun
}

// A look is one at the snapshots of an image.
type look struct {
	begun uint64        // how many changes had begun
	seen  atomic.Int64  // how many of its snapshots were looked at
	done  chan struct{} // closed when the rest is there
	list  []SnapshotStatus
	err   error
	told  atomic.Bool // that it hangs
}

// looks are those that are under way, by image. While one is nobody begins another: a file
// system that hangs holds up one goroutine for each image.
type looks struct {
	mu      sync.Mutex
	pending map[string]*look
}

// at is the look at an image that is under way, or one that begins now.
func (all *looks) at(path string, begun uint64, do func(*look) ([]SnapshotStatus, error)) *look {
	all.mu.Lock()
	defer all.mu.Unlock()
	if l := all.pending[path]; l != nil {
		return l
	}
	l := &look{begun: begun, done: make(chan struct{})}
	if all.pending == nil {
		all.pending = map[string]*look{}
	}
	all.pending[path] = l
	go func() {
		l.list, l.err = do(l)
		all.mu.Lock()
		delete(all.pending, path)
		all.mu.Unlock()
		close(l.done)
	}()
	return l
}

// wait waits for the end of l as long as it gets on: one that does not hangs.
func (l *look) wait() error {
	for {
		seen := l.seen.Load()
		select {
		case <-l.done:
			return nil
		case <-time.After(promiseBound):
			if l.seen.Load() == seen {
				return errHangs
			}
		}
	}
}

// Snapshots lists the snapshots of a LUN, the oldest first, or, with an empty name, of all. In
// that of all those are missing whose file systems hang, which the log says.
func (p *Provisioner) Snapshots(lun string) ([]SnapshotStatus, error) {
	r, err := p.served()
	if err != nil {
		return nil, err
	}
	if lun != "" {
		if _, _, err := r.imageOf(lun); err != nil {
			return nil, err
		}
	}
	for {
		begun := p.snapshots.quiet()
		list, err := p.snapshotsOf(r, lun, begun)
		if errors.Is(err, errHangs) {
			return nil, err
		}
		if p.snapshots.quiet() != begun {
			continue // what was seen may be half of the one and half of the other
		}
		if err != nil {
			return nil, err
		}
		p.questions.kept.forget(func(path string) bool {
			return (lun == "" || snapshot.Folder(r.units[lun].config.Path) == filepath.Dir(path)) &&
				!slices.ContainsFunc(list, func(s SnapshotStatus) bool { return s.File == path })
		})
		return list, nil
	}
}

// snapshotsOf looks at the snapshots of a LUN, or of all, with all at once.
func (p *Provisioner) snapshotsOf(r *running, lun string, begun uint64) ([]SnapshotStatus, error) {
	lists, errs := make([][]SnapshotStatus, len(r.plan.LUNs)), make([]error, len(r.plan.LUNs))
	var all sync.WaitGroup
	for i, l := range r.plan.LUNs {
		if u := r.units[l.Name]; (lun == "" || lun == l.Name) && u.kind == configs.File {
			all.Go(func() { lists[i], errs[i] = p.snapshotsOfOne(u, begun) })
		}
	}
	all.Wait()
	if lun != "" { // else the LUN is not ready, and says why itself
		if err := errors.Join(errs...); err != nil {
			return nil, fmt.Errorf("LUN %q: %w", lun, err)
		}
	}
	list := []SnapshotStatus{}
	return append(list, slices.Concat(lists...)...), nil
}

// snapshotsOfOne are those of u, seen when so many changes had begun.
func (p *Provisioner) snapshotsOfOne(u *unit, begun uint64) ([]SnapshotStatus, error) {
	for {
		l := p.looks.at(u.config.Path, begun, func(l *look) ([]SnapshotStatus, error) { return p.seeSnapshots(u, l) })
		if err := l.wait(); err != nil {
			if !l.told.Swap(true) {
				p.log.WithField("lun", u.config.Name).Warnf("the snapshots of the LUN cannot be listed: %v", err)
			}
			return nil, err
		}
		if l.begun == begun { // else it was under way before
			return l.list, l.err
		}
	}
}

// seeSnapshots is a look at those of u.
func (p *Provisioner) seeSnapshots(u *unit, l *look) ([]SnapshotStatus, error) {
	all, err := snapshot.At(u.config.Path).Snapshots()
	if err != nil {
		return nil, err
	}
	var list []SnapshotStatus
	for _, s := range all {
		held, err := p.questions.kept.of(s.File).look(s.File, s.Allocated, &p.questions, false)
		l.seen.Add(1)
		switch {
		case errors.Is(err, fs.ErrNotExist): // deleted just now
			continue
		case err != nil:
			return nil, err
		}
		list = append(list, snapshotStatus(u.config.Name, s, held))
	}
	return list, nil
}
