package provision

import (
	"context"
	"sync"
	"time"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/configs"
)

const (
	// watchPause is the time between two looks at the stores.
	watchPause = time.Second
	// watchPatience bounds the pause after a LUN could not be opened again and again.
	watchPatience = time.Minute
	// watchBound is how long a store may take to be opened anew while other changes wait.
	watchBound = time.Minute
)

// A watch is what the watcher knows of a unit. It outlives the unit.
type watch struct {
	mu        sync.Mutex
	saving    chan struct{} // closed when all records are written that were to be; nil: there were none
	looking   bool          // a look is under way; it may hang
	displaced bool          // the path of the image does not lead to it
	next      time.Time     // not before then
	pause     time.Duration
}

// save has a record written by write, after those before it, and does not wait.
func (w *watch) save(write func()) {
	done := make(chan struct{})
	w.mu.Lock()
	before := w.saving
	w.saving = done
	w.mu.Unlock()
	go func() {
		defer close(done)
		if before != nil {
			<-before
		}
		write()
	}()
}

// awaitSaved waits until the records are written that were to be before. More may come meanwhile.
func (w *watch) awaitSaved() {
	w.mu.Lock()
	saving := w.saving
	w.mu.Unlock()
	if saving != nil {
		<-saving
	}
}

func (w *watch) inherit(old *watch) {
	if w == old { // of a unit that is gone
		return
	}
	old.mu.Lock()
	defer old.mu.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.next, w.pause = old.next, old.pause
}

// begin takes the turn of a look, if it is time.
func (w *watch) begin() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.looking || time.Now().Before(w.next) {
		return false
	}
	w.looking = true
	return true
}

func (w *watch) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.looking = false
}

// tried notes how an attempt to open the unit anew has ended.
func (w *watch) tried(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil {
		w.pause, w.next = 0, time.Time{}
		return
	}
	w.pause = min(max(2*w.pause, watchPause), watchPatience)
	w.next = time.Now().Add(w.pause)
}

// displaced tells whether the path of the image does not lead to it any more.
func (u *unit) displaced() bool { return u.medium != nil && u.image != nil && u.image.Lost() }

// seenDisplaced is displaced as the watcher has seen it, for those who only look: they do not
// wait for a file system that hangs.
func (u *unit) seenDisplaced() bool {
	u.watch.mu.Lock()
	defer u.watch.mu.Unlock()
	return u.medium != nil && u.watch.displaced
}

// startWatching has the stores looked after until stopWatching.
func (p *Provisioner) startWatching() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	p.unwatch.Store(&cancel)
	p.watching = func() { cancel(); <-ended }
	go func() {
		defer close(ended)
		for {
			select {
			case <-ctx.Done():
				return
			case <-time.After(watchPause):
				p.look(ctx)
			}
		}
	}()
}

func (p *Provisioner) stopWatching() {
	if p.watching != nil {
		p.watching()
		p.watching = nil
	}
}

// look looks after each store, with all at once: one that hangs must not keep the
// others from being found.
func (p *Provisioner) look(ctx context.Context) {
	now := p.now.Load()
	if now == nil {
		return
	}
	for _, u := range now.units {
		if u.closed.Load() || !u.watch.begin() {
			continue
		}
		go func() {
			defer u.watch.end()
			if how := p.lookAt(u); how != nil {
				p.returnOrLeave(ctx, u, *how)
			}
		}()
	}
}

// lookAt says how u is to be opened anew; nil: it stays as it is.
func (p *Provisioner) lookAt(u *unit) *opening {
	if u.medium == nil {
		return p.isBack(u)
	}
	u.tellDisplaced()
	if !u.device.Suspect() || u.breaker != nil && u.breaker.store.Off() {
		return nil
	}
	v, ok := u.base.(interface{ Vanished() error })
	if !ok || !u.mayReopen() {
		return nil
	}
	if err := v.Vanished(); err != nil {
		u.log.WithError(err).Error("the store of the LUN is gone; it is not ready until it is back")
		return &opening{expect: u.expect, again: true}
	}
	return nil
}

// isBack tries to open the store of a unit that has none.
func (p *Provisioner) isBack(u *unit) *opening {
	l := u.config
	if kind(l) == configs.File {
		l.Size = 0 // a look makes no image
	}
	do := func(l configs.LUN) (backstore.Store, error) { return p.openers[kind(l)](l, nil) }
	how := opening{do: do, expect: u.expect, again: true}
	store, err := how.openStore(l, true)
	if err != nil {
		return nil
	}
	if err := store.Close(); err != nil {
		return nil
	}
	how.do = nil
	return &how
}

// tellDisplaced tells, once, that the path of an image does not lead to it any more: it
// is served on, for it lives as long as it is open.
func (u *unit) tellDisplaced() {
	displaced := u.displaced()
	u.watch.mu.Lock()
	was := u.watch.displaced
	u.watch.displaced = displaced
	u.watch.mu.Unlock()
	switch {
	case displaced && !was:
		u.log.Errorf("the image of the LUN is not at %s any more: it was removed, renamed or replaced, or its file system unmounted; it is served as long as the daemon runs, and lost then unless it is put back", u.config.Path)
	case was && !displaced:
		u.log.Infof("the image of the LUN is at %s again", u.config.Path)
	}
}

// returnOrLeave opens u anew. If something else changes just now it is left to the next
// look.
func (p *Provisioner) returnOrLeave(ctx context.Context, u *unit, how opening) {
	if !p.applying.TryLock() {
		return
	}
	defer p.applying.Unlock()
	now := p.now.Load()
	if now == nil || now.units[u.config.Name] != u || ctx.Err() != nil {
		return
	}
	had := u.medium != nil
	ctx, cancel := context.WithTimeout(ctx, watchBound)
	defer cancel()
	err := p.renew(ctx, now, u, how)
	u.watch.tried(err)
	if again := p.now.Load().units[u.config.Name]; again != u {
		again.watch.inherit(u.watch)
	}
	switch {
	case err == nil:
		u.log.Info("the store of the LUN is back, and it is served again")
	case had:
		u.log.WithError(err).Error("the LUN is not ready")
	default:
		u.log.WithError(err).Warn("the store of the LUN is there, but cannot be served")
	}
}
