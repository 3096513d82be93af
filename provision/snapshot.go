package provision

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/backstore/snapshot"
	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/job"
	"github.com/isantarget/isantarget/scsi"
)

// A SnapshotError refuses something of a snapshot, for a reason that is the caller's.
type SnapshotError struct{ what string }

// Error says why, and what to do.
func (e *SnapshotError) Error() string { return e.what }

func refuseSnapshot(format string, args ...any) error {
	return &SnapshotError{fmt.Sprintf(format, args...)}
}

// imageOf is the LUN of this name and its image, which must be a file.
func (r *running) imageOf(name string) (*unit, *snapshot.Image, error) {
	u, err := r.unit(name)
	if err != nil {
		return nil, nil, err
	}
	if u.kind != configs.File {
		return nil, nil, refuseSnapshot("LUN %q is of kind %s; snapshots are of image files", name, u.kind)
	}
	return u, snapshot.At(u.config.Path), nil
}

// answering refuses a LUN whose file system hangs: who changes its snapshots keeps other changes
// waiting until it answers.
func (r *running) answering(u *unit) error {
	if _, err := r.questions.spaceAt(u.config.Path); errors.Is(err, errHangs) {
		return refuseSnapshot("LUN %q: %v; try again when it does", u.config.Name, err)
	}
	return nil // what else is wrong there is told by who meets it
}

// idle refuses a LUN on whose snapshots a job is at work.
func (p *Provisioner) idle(lun string) error {
	if j := p.jobs.Of(lun); j != nil {
		return &job.BusyError{Job: j.Status()}
	}
	return nil
}

// Snapshot is the snapshot of a LUN with this name.
func (p *Provisioner) Snapshot(lun, name string) (SnapshotStatus, error) {
	list, err := p.Snapshots(lun)
	if err != nil {
		return SnapshotStatus{}, err
	}
	var known []string
	for _, s := range list {
		if s.Name == name {
			return s, nil
		}
		known = append(known, s.Name)
	}
	return SnapshotStatus{}, &UnknownError{"snapshot", name, known}
}

// TakeSnapshots takes a snapshot of each of the LUNs, all at one point in time: no write
// is in one of them that was begun after another one had ended that is in none. They are
// durable when it returns. Without a name the time is one. An error has left none behind.
func (p *Provisioner) TakeSnapshots(ctx context.Context, luns []string, name string) (SnapshotsTaken, error) {
	now := time.Now()
	if name == "" {
		name = now.Format("20060102-150405")
	}
	if err := snapshot.CheckName(name); err != nil {
		return SnapshotsTaken{}, refuseSnapshot("%v", err)
	}
	luns = slices.Clone(luns)
	slices.Sort(luns)
	if luns = slices.Compact(luns); len(luns) == 0 {
		return SnapshotsTaken{}, refuseSnapshot("no LUN is named")
	}
	p.applying.Lock()
	defer p.applying.Unlock()
	defer p.snapshots.begin()()
	return p.take(ctx, luns, name, now)
}

// take is TakeSnapshots with the locks held.
func (p *Provisioner) take(ctx context.Context, luns []string, name string, now time.Time) (SnapshotsTaken, error) {
	out := SnapshotsTaken{Name: name, LUNs: luns, Warnings: []string{}}
	r, err := p.served()
	if err != nil {
		return out, err
	}
	shared := true
	images := map[string]*snapshot.Image{}
	for _, lun := range luns {
		u, i, err := r.imageOf(lun)
		if err == nil {
			err = p.idle(lun)
		}
		if err == nil {
			err = r.answering(u)
		}
		if err == nil && u.medium == nil {
			err = refuseSnapshot("LUN %q is not ready: %v", lun, u.failure)
		}
		if err != nil {
			return out, err
		}
		warning, err := r.room(u)
		if err != nil {
			return out, err
		}
		if warning != "" {
			out.Warnings = append(out.Warnings, warning)
		}
		shares, err := i.Shares()
		if err != nil {
			return out, fmt.Errorf("LUN %q: %w", lun, err)
		}
		shared = shared && shares
		images[lun] = i
	}
	err = p.quietly(ctx, r, luns, !shared, func() error { return takeAll(images, luns, name, now) })
	p.questions.snapshots.Add(1)
	if err != nil {
		return out, err
	}
	p.log.WithField("luns", luns).Infof("snapshot %s taken", name)
	return out, nil
}

// takeAll takes a snapshot of each image, or of none.
func takeAll(images map[string]*snapshot.Image, luns []string, name string, now time.Time) error {
	for n, lun := range luns {
		err := images[lun].Take(name, now)
		if err == nil {
			continue
		}
		err = fmt.Errorf("LUN %q: %w", lun, err)
		for _, taken := range luns[:n] {
			if undone := images[taken].Undo(name); undone != nil {
				err = errors.Join(err, fmt.Errorf("LUN %q keeps its snapshot: %w", taken, undone))
			}
		}
		return err
	}
	return nil
}

// room says what a snapshot of u costs: what is written over afterwards takes new space.
// A fixed LUN is refused where there is not that much, for its writes must not fail.
func (r *running) room(u *unit) (warning string, err error) {
	pool, err := r.poolOf(u.config)
	if err != nil {
		return "", nil // who takes it will say what is wrong
	}
	i := slices.Index(pool.units, u)
	if i < 0 {
		return "", nil
	}
	more := pool.unshared(u)
	if free := pool.Available - pool.owed; more <= free || more == 0 || r.plan.OvercommitOf(u.config) == configs.Allow {
		return "", nil
	}
	text := fmt.Sprintf("with a snapshot, LUN %q may take %s more of %s, which has %s left and owes the images in it %s%s",
		u.config.Name, amount(more), filepath.Dir(u.config.Path), amount(pool.Available), amount(pool.owed), atMostThat(pool.estimated))
	if u.config.Provisioning == configs.Fixed && pool.promises[i].Used > pool.Available {
		return "", refuseSnapshot("%s; its space is fixed, and writes to it must not fail: make room first", text)
	}
	return text + "; writes fail when it is full", nil
}

// quietly does something with the images of LUNs while none of them has a command: what
// was begun before has ended and is durable, what comes later waits. With closed the
// images are closed meanwhile, and opened anew behind it. p.applying is held.
func (p *Provisioner) quietly(ctx context.Context, r *running, luns []string, closed bool, do func() error) error {
	var units []*unit
	for _, lun := range luns {
		u := r.units[lun]
		units = append(units, u)
		if u.medium == nil {
			continue
		}
		if err := u.syncAhead(ctx); err != nil {
			return err
		}
	}
	resume, err := quiesce(ctx, units)
	if err != nil {
		return err
	}
	defer resume()
	for _, u := range units {
		if err := u.calm(); err != nil {
			return err
		}
	}
	if !closed {
		return do()
	}
	for _, u := range units {
		u.lend(p.log.WithField("lun", u.config.Name).Warn)
	}
	err = do()
	return errors.Join(err, p.reseat(r, units))
}

// syncAhead makes durable most of what was written while commands are served still, so
// that they wait for the rest only. It may take as long as it does: nobody waits for it.
func (u *unit) syncAhead(ctx context.Context) error {
	ended := make(chan error, 1)
	go func() { ended <- u.sync() }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(syncBound):
		return fmt.Errorf("LUN %q: after %v its store is not flushed", u.config.Name, syncBound)
	}
}

// syncBound is when a store is taken for hanging whose commands do not wait for it.
const syncBound = 5 * time.Minute

// quiesce has the units quiet, in the order of their names. Where one of them does not
// become so, a copy between two of them perhaps, none stays so.
func quiesce(ctx context.Context, units []*unit) (resume func(), err error) {
	var resumes []func()
	resume = func() {
		for _, r := range resumes {
			r()
		}
	}
	for _, u := range units {
		bounded, cancel := context.WithTimeout(ctx, u.lu.HangBound)
		one, err := u.lu.Quiesce(bounded)
		cancel()
		if err != nil {
			resume()
			return nil, fmt.Errorf("LUN %q has commands that do not end, and stays as it is; try again: %w", u.config.Name, err)
		}
		resumes = append(resumes, one)
	}
	return resume, nil
}

// calm waits until nothing goes on in the background of u, which is quiet, and has all
// that was written made durable.
func (u *unit) calm() error {
	if u.medium == nil {
		return nil
	}
	if s := u.device.Ready(); s != nil {
		return refuseSnapshot("LUN %q is not ready: %v", u.config.Name, s)
	}
	settled := make(chan struct{})
	go func() { u.device.Settle(); close(settled) }()
	select {
	case <-settled:
		return u.syncInTime()
	case <-time.After(u.lu.HangBound):
		return fmt.Errorf("LUN %q: something still goes on in its background", u.config.Name)
	}
}

// lend closes the store of u, which is synced, while it is quiet.
func (u *unit) lend(complain func(...any)) {
	if old := u.device.Swap(nil); old != nil {
		if err := old.Close(); err != nil {
			complain(err)
		}
	}
}

// reseat opens the stores of units anew. Which one fails is not ready, and says so.
func (p *Provisioner) reseat(r *running, units []*unit) error {
	next := *r
	next.units = maps.Clone(r.units)
	var all error
	for _, u := range units {
		again := *u
		again.medium, again.base, again.image, again.failure, again.made, again.returned = nil, nil, nil, nil, false, false
		if err := again.reopen(p.openers[u.kind]); err != nil {
			again.failure = err
			all = errors.Join(all, fmt.Errorf("LUN %q is not ready: its image cannot be opened any more: %w", u.config.Name, err))
		}
		p.takeAhead(&again)
		u.device.Swap(again.medium)
		next.units[u.config.Name] = &again
	}
	if now := p.now.Load(); now != nil { // nil: a stop has not waited for us
		p.now.CompareAndSwap(now, &next)
	}
	return all
}

// reopen opens the store of u, whose device there is.
func (u *unit) reopen(do opener) error {
	l := u.config
	l.Size = 0 // it is there
	store, err := do(l, nil)
	if err != nil {
		return err
	}
	u.base = store
	u.image, _ = store.(image)
	store, err = u.stack(store)
	if err != nil {
		u.base, u.image = nil, nil
		return errors.Join(err, store.Close())
	}
	u.medium = backstore.Bind(store)
	if err := u.rememberImage(); err != nil {
		u.log.WithError(err).Warn("the next start will not know this image")
	}
	u.replaced = false // by ourselves
	return nil
}

// Rollback makes a LUN what it was when the snapshot was taken; what was written since
// is lost. It is refused while an initiator is logged in that can see the LUN, for a file
// system that is in use does not bear it, unless force is given. Initiators hear that the
// medium may have changed (28/00), and ROD tokens of the LUN end.
func (p *Provisioner) Rollback(ctx context.Context, lun, name string, force bool) error {
	p.applying.Lock()
	defer p.applying.Unlock()
	defer p.snapshots.begin()()
	r, err := p.served()
	if err != nil {
		return err
	}
	u, i, err := r.imageOf(lun)
	if err == nil {
		err = p.idle(lun)
	}
	if err == nil {
		err = r.answering(u)
	}
	if err != nil {
		return err
	}
	if u.config.ReadOnly {
		return refuseSnapshot("LUN %q is read-only; take readonly out of its settings first", lun)
	}
	if users := attached(u.lu); len(users) > 0 && !force {
		return refuseSnapshot("LUN %q is in use: %s; have them log out, or force it: what they have not written yet and what they keep in memory will not fit what they find", lun, strings.Join(users, ", "))
	}
	err = p.quietly(ctx, r, []string{lun}, true, func() error { return named(i.Rollback(name)) })
	p.questions.snapshots.Add(1)
	if err != nil {
		return err
	}
	u.lu.Attention(scsi.ASCNotReadyToReadyChangeMediumMayHaveChanged, nil, nil)
	p.log.WithField("lun", lun).Warnf("the operator rolled the LUN back to the snapshot %s", name)
	return nil
}

// attached are the initiators that are logged in to lu.
func attached(lu *scsi.LogicalUnit) []string {
	var names []string
	for _, n := range lu.Attached() {
		names = append(names, n.Initiator.Name)
	}
	return slices.Compact(names)
}

// named puts an error of package snapshot that says what there is into ours.
func named(err error) error {
	var missing *snapshot.NotFoundError
	if errors.As(err, &missing) {
		return &UnknownError{"snapshot", missing.Name, missing.Known}
	}
	return err
}
