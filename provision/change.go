package provision

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/iscsi"
	"github.com/isantarget/isantarget/job"
	"github.com/isantarget/isantarget/scsi"
	"github.com/isantarget/isantarget/scsi/spc"
	"github.com/isantarget/isantarget/state"
	"github.com/isantarget/isantarget/target"
)

// A change is the way from what runs to what is wanted.
type change struct {
	*Provisioner
	plan    *plan
	before  *running // nil: nothing
	next    *running
	renewal *renewal // nil: the plan decides what changes

	leaveAt  time.Time // zero: nothing has hung yet after it was not wanted any more
	bound    []portal  // portals that are new
	beside   Step      // of the companion; nil: none
	opened   []*unit   // units that are new
	altered  []*unit   // units that run, but are wanted otherwise
	ids      [][]uint16
	warnings []string
	changes  []string // what has been done, in words
}

// prepare makes everything that plan wants and does not run yet, and lets nobody
// see it.
func (p *Provisioner) prepare(ctx context.Context, plan *plan, renewal *renewal) (*change, error) {
	c := &change{Provisioner: p, plan: plan, before: p.now.Load(), renewal: renewal}
	limits := limitsOf(plan.Config)
	c.next = &running{
		plan: plan, questions: &p.questions, patience: limits.DrainTimeout + limits.HangBound,
		groups: map[int]*target.PortalGroup{}, units: map[string]*unit{}, nodes: map[iscsi.Name]*target.Node{},
	}
	steps := []func() error{
		func() error { return c.foundation(limits) },
		func() error { return c.bind(ctx) },
		func() error { return c.accompany(ctx) },
		func() error { return c.openInTime(ctx) },
		func() (err error) { c.ids, err = c.next.relativeIDs(plan); return },
		func() error { return c.identify() },
		func() error { return c.meet(ctx) },
	}
	for _, step := range steps {
		err := step()
		if errors.Is(err, errStuckOpen) { // who still opens discards
			return nil, err
		}
		if err != nil {
			return nil, errors.Join(err, c.discard())
		}
	}
	return c, nil
}

// errStuckOpen: who waited for stores to be opened waits no longer.
var errStuckOpen = errors.New("provision: opening a store has not come to an end")

// stuckBound is how long the opens of a change may go on after it is not wanted any more.
const stuckBound = 5 * time.Second

// within is do, but for one that hangs in a store, on a server that does not answer or a
// device that does not, when ctx ends: it is left alone, and late gets what comes of it.
func within[T any](ctx context.Context, c *change, do func() (T, error), late func(T, error)) (T, error) {
	type outcome struct {
		value T
		err   error
	}
	ended := make(chan outcome, 1)
	go func() {
		value, err := do()
		ended <- outcome{value, err}
	}()
	select {
	case o := <-ended:
		return o.value, o.err
	case <-ctx.Done():
	}
	if c.leaveAt.IsZero() {
		c.leaveAt = time.Now().Add(stuckBound)
	}
	select {
	case o := <-ended:
		return o.value, o.err
	case <-time.After(time.Until(c.leaveAt)):
	}
	go func() {
		o := <-ended
		late(o.value, o.err)
	}()
	var none T
	return none, fmt.Errorf("%w: %w", errStuckOpen, ctx.Err())
}

// openInTime is open within what ctx allows.
func (c *change) openInTime(ctx context.Context) error {
	left := make(chan struct{})
	defer close(left)
	discard := func(struct{}, error) {
		<-left
		if err := c.discard(); err != nil {
			c.log.WithError(err).Warn("what took too long to open")
		}
	}
	_, err := within(ctx, c, func() (struct{}, error) { return struct{}{}, c.open(ctx) }, discard)
	if errors.Is(err, errStuckOpen) {
		unbind(c.bound)
		c.bound = nil
		c.leave()
	}
	return err
}

// newUnitInTime is newUnit within what wanted allows.
func (c *change) newUnitInTime(wanted, ctx context.Context, l configs.LUN, hangBound time.Duration, how opening) (*unit, error) {
	log := c.log.WithField("lun", l.Name)
	discard := func(u *unit, err error) {
		if err == nil {
			err = u.discard()
		}
		if err != nil {
			log.WithError(err).Warn("what took too long to open")
		}
	}
	return within(wanted, c, func() (*unit, error) { return c.newUnit(ctx, l, c.next.state, hangBound, how) }, discard)
}

// foundation is what everything else stands on, and what cannot change.
func (c *change) foundation(limits target.Limits) (err error) {
	n, b := c.next, c.before
	if b == nil {
		n.absent = spc.NewAbsent(c.revision)
		n.entity = target.NewEntity(target.Options{Log: c.log.Logger, Limits: limits})
		n.state, err = state.Open(c.plan.State)
		return err
	}
	n.absent, n.entity, n.state = b.absent, b.entity, b.state
	return b.fixed(c.plan)
}

// fixed complains of what p has otherwise than what runs, and cannot change.
func (r *running) fixed(p *plan) error {
	var errs configs.Errors
	if p.State != r.plan.State {
		errs = append(errs, p.Errorf("state", "the state directory is %s and cannot change while LUNs are served; start the daemon anew", r.plan.State))
	}
	if limitsOf(p.Config) != limitsOf(r.plan.Config) {
		errs = append(errs, p.Errorf("limits", "the limits cannot change while LUNs are served; put the old ones back, or start the daemon anew"))
	}
	if len(errs) > 0 {
		return errs
	}
	return nil
}

// discard undoes prepare.
func (c *change) discard() error {
	unbind(c.bound)
	c.leave()
	if c.before != nil {
		c.sockets.refuse()
	}
	var all error
	for _, u := range c.opened {
		all = errors.Join(all, u.discard())
	}
	if c.before == nil && c.next.state != nil {
		all = errors.Join(all, c.next.state.Close())
	}
	return all
}

// bind binds the portals that are new.
func (c *change) bind(ctx context.Context) (err error) {
	var left []portal
	if c.before != nil {
		left = slices.Clone(c.before.portals)
	}
	var missing []place
	for _, at := range placesOf(c.plan.Config) {
		if i := slices.IndexFunc(left, func(p portal) bool { return p.tag == at.tag && p.address == at.address }); i >= 0 {
			c.next.portals = append(c.next.portals, left[i])
			left = slices.Delete(left, i, i+1)
			continue
		}
		missing = append(missing, at)
	}
	if c.bound, err = bind(ctx, c.sockets, c.plan.Config, missing, left); err != nil {
		return err
	}
	c.next.portals = append(c.next.portals, c.bound...)
	slices.SortStableFunc(c.next.portals, func(a, b portal) int { return c.rank(a) - c.rank(b) })
	return nil
}

// rank is the position of p in the configuration.
func (c *change) rank(p portal) int {
	return slices.IndexFunc(placesOf(c.plan.Config), func(at place) bool { return at.tag == p.tag && at.address == p.address })
}

// open makes the logical units that are new: first those whose images are there, so
// that none is made for a configuration that they refuse.
func (c *change) open(ctx context.Context) error {
	var errs configs.Errors
	for _, missing := range []bool{false, true} {
		for i, l := range c.plan.LUNs {
			// Of what runs nothing is asked: its file system may hang, and others are to go on.
			if c.next.units[l.Name] != nil || c.running(l.Name) == nil && isMissing(l) != missing {
				continue
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := c.openOne(ctx, l); err != nil {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				errs = append(errs, c.plan.Errorf(fmt.Sprintf("lun[%d]", i), "%v", err))
			}
		}
		if len(errs) > 0 {
			return errs
		}
	}
	return nil
}

// running is the unit of this name that runs; nil: there is none.
func (c *change) running(name string) *unit {
	if c.before == nil {
		return nil
	}
	return c.before.units[name]
}

// openOne keeps the unit of l, or makes it, or notes that it has to be made anew.
func (c *change) openOne(ctx context.Context, l configs.LUN) error {
	if u := c.running(l.Name); u != nil {
		if c.renewal != nil {
			if u == c.renewal.unit {
				c.altered = append(c.altered, u)
			}
			c.next.units[l.Name] = u
			return nil
		}
		kept := u.with(l)
		if kept == nil {
			if !u.mayReopen() {
				return fmt.Errorf("LUN %q is of kind %s and would lose its data if its settings changed; take it out, apply, and put it back", l.Name, u.config.Kind)
			}
			c.altered = append(c.altered, u)
			kept = u
		}
		c.next.units[l.Name] = kept
		return nil
	}
	if isMissing(l) && l.Size > 0 && !l.ReadOnly {
		warning, err := c.next.admit(l, int64(l.Size), nil)
		if err != nil {
			return err
		}
		if warning != "" {
			c.complain("%s", warning)
		}
	}
	u, err := c.newUnit(ctx, l, c.next.state, limitsOf(c.plan.Config).HangBound, opening{})
	if err != nil {
		return c.explainLocked(l, err)
	}
	c.opened = append(c.opened, u)
	c.next.units[l.Name] = u
	return nil
}

// explainLocked says which LUN of ours holds the image of l, if one does.
func (c *change) explainLocked(l configs.LUN, err error) error {
	if !errors.Is(err, backstore.ErrLocked) || l.Path == "" {
		return err
	}
	if c.before != nil {
		for name, u := range c.before.units {
			if u.config.Path == l.Path {
				return fmt.Errorf("%s is served as LUN %q, until that is taken out and applied", l.Path, name)
			}
		}
	}
	if name := c.hanging.holder(l.Path); name != "" {
		return fmt.Errorf("the removed LUN %q still hangs in %s; it can be served again when that has ended", name, l.Path)
	}
	return err
}

// commit switches. Nothing of it can be refused any more: what goes wrong is told.
func (c *change) commit(ctx context.Context) {
	for _, u := range c.altered {
		c.reopen(ctx, u)
	}
	for _, g := range c.plan.PortalGroups {
		if c.before != nil {
			c.next.groups[g.Tag] = c.before.groups[g.Tag]
		}
		if c.next.groups[g.Tag] == nil {
			c.next.groups[g.Tag] = c.next.entity.NewPortalGroup(uint16(g.Tag))
		}
	}
	c.groupPorts()
	c.next.entity.SetDiscovery(target.DiscoveryAuth{CHAP: c.plan.discovery.chap, Mutual: c.plan.discovery.mutual})
	c.enterNodes()
	for _, p := range c.bound {
		c.next.groups[p.tag].Serve(p.listener)
	}
	if c.beside != nil {
		c.changes = append(c.changes, c.beside.Commit()...)
	}
	if c.before != nil {
		c.withdrawPortals()
		c.nameChanges()
	}
}

// reopen closes a unit and makes it again as it is wanted now; if that fails, as it
// was before.
func (c *change) reopen(ctx context.Context, u *unit) {
	if c.renewal != nil {
		c.renewUnit(ctx, u)
		return
	}
	name := u.config.Name
	l := c.plan.LUNs[slices.IndexFunc(c.plan.LUNs, func(l configs.LUN) bool { return l.Name == name })]
	if err := c.close(ctx, u, l.Path); err != nil {
		c.complain("LUN %q keeps its old settings: %v", name, err)
		return
	}
	hangBound := limitsOf(c.plan.Config).HangBound
	again, err := c.newUnitInTime(ctx, ctx, l, hangBound, opening{})
	if err != nil {
		c.complain("LUN %q keeps its old settings: %v", name, err)
		if !errors.Is(err, errStuckOpen) {
			again, err = c.newUnitInTime(ctx, context.WithoutCancel(ctx), u.config, hangBound, opening{})
		}
	} else if u.failure == nil || again.failure == nil || !reflect.DeepEqual(l, u.config) {
		c.changes = append(c.changes, fmt.Sprintf("LUN %s has new settings", name))
	} // else it was only tried again
	if err != nil {
		c.next.units[name] = u.gone(err)
		return
	}
	again.lu.Succeed(u.lu)
	c.next.units[name] = again
	c.opened = append(c.opened, again)
}

// close ends a unit that will have its image at path. If it is not idle, cannot be
// flushed, or there is no way back to what it holds, it goes on: an error.
func (c *change) close(ctx context.Context, u *unit, path string) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if path == u.config.Path && u.medium != nil && u.image != nil {
		lost := false
		pending, _ := u.inTime(func() error { lost = u.image.Lost(); return nil })
		switch {
		case pending != nil:
			return fmt.Errorf("after %v its store does not answer", u.lu.HangBound)
		case lost:
			return fmt.Errorf("its image is not at %s any more, and what it holds would be lost; copy it through an initiator, or take the LUN out", path)
		}
	}
	c.endJob(u.config.Name)
	if err := u.suspend(); err != nil {
		return err
	}
	pending, err := u.inTime(u.shut)
	if pending != nil {
		err = fmt.Errorf("LUN %q: after %v its store is not closed", u.config.Name, u.lu.HangBound)
		c.hanging.await(u, pending, c.log)
	}
	if err != nil {
		c.complain("%v", err)
	}
	return nil
}

// gone is u without a store, for err. It answers BUSY, and is tried again: by the watcher,
// and by the next Apply.
func (u *unit) gone(err error) *unit {
	gone := *u
	gone.medium, gone.image, gone.base, gone.breaker, gone.closed, gone.failure = nil, nil, nil, nil, new(atomic.Bool), err
	return &gone
}

// endJob cancels what is at work on a LUN whose store is about to be closed, and waits
// for the end of it; but not for ever: the store is closed under one that hangs.
func (c *change) endJob(lun string) {
	bound := time.After(limitsOf(c.plan.Config).HangBound)
	jobs := slices.DeleteFunc([]*job.Job{c.jobs.Of(lun), c.jobs.Beside(lun)}, func(j *job.Job) bool { return j == nil })
	for _, j := range jobs {
		j.Cancel()
	}
	for _, j := range jobs {
		select {
		case <-j.Ended():
		case <-bound:
			c.log.WithField("lun", lun).Errorf("job %s still hangs in the LUN, whose store is closed now", j.ID())
			return
		}
	}
}

// complain notes, and has logged, what went wrong with what cannot be refused.
func (c *change) complain(format string, args ...any) {
	c.warnings = append(c.warnings, fmt.Sprintf(format, args...))
}

// enterNodes makes the nodes that are new, and configures anew those that are there.
func (c *change) enterNodes() {
	var list []*target.Node
	var all sync.WaitGroup
	for i := range c.plan.nodes {
		config := c.nodeConfig(i)
		var n *target.Node
		if c.before != nil {
			n = c.before.nodes[config.Name]
		}
		if n == nil {
			var err error
			if n, err = c.next.entity.NewNode(config); err != nil {
				c.complain("target %s: %v", config.Name, err)
				continue
			}
		} else {
			all.Go(func() {
				if err := n.Configure(config); err != nil {
					c.log.WithField("target", config.Name).WithError(err).Error("the target stays as it was")
				}
			})
		}
		c.next.nodes[config.Name] = n
		list = append(list, n)
	}
	c.next.entity.SetNodes(list)
	all.Wait()
}

// nodeConfig is target i for its node.
func (c *change) nodeConfig(i int) target.NodeConfig {
	n, t := c.plan.nodes[i], c.plan.Targets[i]
	config := target.NodeConfig{Name: n.name, Alias: t.Alias, RelativeIDs: c.ids[i]}
	for _, g := range c.plan.GroupsOf(t) {
		config.Groups = append(config.Groups, c.next.groups[g.Tag])
	}
	for _, rule := range n.rules {
		rule.Units = c.next.unitMap(rule.luns)
		config.Rules = append(config.Rules, rule.Rule)
	}
	return config
}

// withdrawPortals ends the portals and portal groups that are not wanted any more.
func (c *change) withdrawPortals() {
	for _, p := range c.before.portals {
		if !slices.ContainsFunc(c.next.portals, func(o portal) bool { return o.listener == p.listener }) {
			c.before.groups[p.tag].Withdraw(p.listener)
		}
	}
	for tag, g := range c.before.groups {
		if c.next.groups[tag] != g {
			c.next.entity.RemovePortalGroup(g)
		}
	}
}

// removeUnits ends the units that are not wanted any more. No session finds them by
// now, but commands may be at work in them.
func (c *change) removeUnits() {
	if c.before == nil {
		return
	}
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, name := range slices.Sorted(maps.Keys(c.before.units)) {
		u := c.before.units[name]
		if c.next.units[name] != nil || u.closed.Load() {
			continue
		}
		c.changes = append(c.changes, fmt.Sprintf("LUN %s removed", name))
		all.Go(func() {
			c.endJob(name)
			pending, err := u.remove(scsi.IllegalRequest(scsi.ASCLogicalUnitNotSupported))
			if err == nil {
				return
			}
			if pending != nil {
				c.hanging.await(u, pending, c.log)
			}
			mu.Lock()
			defer mu.Unlock()
			c.complain("%v", err)
		})
	}
	all.Wait()
}

// nameChanges puts the difference into words, but for the LUNs that go.
func (c *change) nameChanges() {
	say := func(format string, args ...any) { c.changes = append(c.changes, fmt.Sprintf(format, args...)) }
	for _, u := range c.opened {
		if c.before.units[u.config.Name] == nil {
			say("LUN %s added", u.config.Name)
		}
	}
	for _, p := range c.bound {
		say("portal %s of group %d added", p.reachable(), p.tag)
	}
	for _, p := range c.before.portals {
		if !slices.ContainsFunc(c.next.portals, func(o portal) bool { return o.listener == p.listener }) {
			say("portal %s of group %d removed", p.reachable(), p.tag)
		}
	}
	old := map[iscsi.Name]int{}
	for i, n := range c.before.plan.nodes {
		old[n.name] = i
	}
	for i, n := range c.plan.nodes {
		j, had := old[n.name]
		delete(old, n.name)
		if !had {
			say("target %s added", n.name)
		} else if !reflect.DeepEqual(c.plan.Targets[i], c.before.plan.Targets[j]) || !reflect.DeepEqual(n, c.before.plan.nodes[j]) {
			say("target %s changed", n.name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(old)) {
		say("target %s removed", name)
	}
}

// groupPorts tells each logical unit through which ports it is reached.
func (c *change) groupPorts() {
	const step = 50 * time.Millisecond
	var before *plan
	if c.before != nil {
		before = c.before.plan
	}
	for _, l := range c.plan.LUNs {
		u := c.next.units[l.Name]
		err := u.lu.SetPortGroups(c.plan.portGroups(l.Name, c.ids, before, u.lu))
		// An initiator may be changing access states just now.
		for deadline := time.Now().Add(u.lu.HangBound); err != nil && time.Now().Before(deadline); time.Sleep(step) {
			err = u.lu.SetPortGroups(c.plan.portGroups(l.Name, c.ids, before, u.lu))
		}
		if err != nil {
			c.complain("LUN %q does not know its target ports: %v", l.Name, err)
		}
	}
}
