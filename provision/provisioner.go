package provision

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/scsi"
	"github.com/isantarget/isantarget/scsi/spc"
	"github.com/isantarget/isantarget/state"
	"github.com/isantarget/isantarget/target"
)

// Options are what New needs.
type Options struct {
	Log      *logrus.Logger
	Revision string // PRODUCT REVISION LEVEL of all LUNs (SPC-4 6.6.2), up to four characters
}

// A Provisioner keeps what runs equal to the configuration.
type Provisioner struct {
	log      *logrus.Entry
	revision string
	openers  map[configs.Kind]opener

	mu  sync.Mutex
	now *running // nil: nothing runs
}

// New makes a provisioner that runs nothing.
func New(o Options) *Provisioner {
	return &Provisioner{log: logrus.NewEntry(o.Log), revision: o.Revision, openers: openers()}
}

// Apply makes want run: it prepares all of it and then switches. If something
// cannot be prepared the error says what, and nothing has changed: images that
// were made are removed again. It may take long where a fixed image is to be
// made; when ctx ends it gives up between two LUNs.
//
// With the zero configuration it stops: logins are refused, initiators are asked
// to log out (until ctx ends, or the drain timeout of the configuration), each
// LUN is synced and closed. The error is then what was lost.
func (p *Provisioner) Apply(ctx context.Context, want configs.Config) (Report, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if reflect.ValueOf(want).IsZero() {
		return Report{}, p.stop(ctx)
	}
	if p.now != nil {
		return Report{}, errors.New("provision: a configuration is served already; stop it first")
	}
	plan, err := newPlan(want, nil)
	if err != nil {
		return Report{}, err
	}
	next, err := p.prepare(ctx, plan)
	if err != nil {
		return Report{}, err
	}
	p.now = next
	next.serve()
	report := next.report(plan)
	p.tell(report)
	return report, nil
}

// tell logs what serves, and what does not.
func (p *Provisioner) tell(report Report) {
	for _, w := range report.Warnings {
		p.log.Warn(w)
	}
	for _, l := range report.LUNs {
		if l.Failure != nil {
			p.log.WithField("lun", l.Name).WithError(l.Failure).Error("the LUN is not ready: its store cannot be opened; mend it and start again")
		}
	}
	for _, t := range report.Targets {
		p.log.WithFields(logrus.Fields{"target": t.Name, "portals": t.Portals, "luns": len(t.LUNs)}).Info("target is served")
	}
}

// stop ends what runs. A store that hangs in a command must not keep the others
// from being synced, nor the process from ending: it is told of, and left alone.
func (p *Provisioner) stop(ctx context.Context) error {
	if p.now == nil {
		return nil
	}
	last := p.now
	p.now = nil
	quiet := make(chan error, 1)
	go func() { quiet <- last.entity.Shutdown(ctx) }()
	select {
	case err := <-quiet:
		return errors.Join(err, last.sync(p.log), last.close())
	case <-time.After(last.patience):
		p.log.Errorf("commands still hang in a store %v after initiators were asked to log out; the LUNs are flushed without waiting for them", last.patience)
		return errors.Join(errHanging, last.sync(p.log))
	}
}

// errHanging: stores are left open, for nobody knows what still happens in them.
var errHanging = errors.New("provision: commands hang in a store")

// running is all that serves a configuration.
type running struct {
	state   *state.Directory
	entity  *target.Entity
	portals []portal
	groups  map[int]*target.PortalGroup // by tag
	units   map[string]*unit            // by name of the LUN
	absent  *scsi.LogicalUnit           // answers where no LUN is
	nodes   []*target.Node

	patience time.Duration // what stopping waits for initiators, and then for commands that hang
}

// prepare makes everything that plan wants, and lets nobody see it yet.
func (p *Provisioner) prepare(ctx context.Context, plan *plan) (*running, error) {
	r := &running{absent: spc.NewAbsent(p.revision), groups: map[int]*target.PortalGroup{}, units: map[string]*unit{}}
	steps := []func() error{
		func() (err error) { r.state, err = state.Open(plan.State); return },
		func() (err error) { r.portals, err = bind(ctx, plan.Config); return },
		func() error { return p.open(ctx, r, plan) },
		func() error { return r.enter(plan, p.log.Logger) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			unbind(r.portals)
			return nil, errors.Join(err, r.discard())
		}
	}
	return r, nil
}

// open makes the logical units of r: first those whose images are there, so
// that none is made for a configuration that they refuse.
func (p *Provisioner) open(ctx context.Context, r *running, plan *plan) error {
	var errs configs.Errors
	for _, missing := range []bool{false, true} {
		for i, l := range plan.LUNs {
			if isMissing(l) != missing || r.units[l.Name] != nil {
				continue
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			u, err := p.newUnit(l, r.state, limitsOf(plan.Config).HangBound)
			if err != nil {
				errs = append(errs, plan.Errorf(fmt.Sprintf("lun[%d]", i), "%v", err))
				continue
			}
			r.units[l.Name] = u
		}
		if len(errs) > 0 {
			return errs
		}
	}
	return nil
}

// enter makes the network entity and its nodes.
func (r *running) enter(plan *plan, log *logrus.Logger) error {
	limits := limitsOf(plan.Config)
	r.patience = limits.DrainTimeout + limits.HangBound
	r.entity = target.NewEntity(target.Options{Log: log, Limits: limits})
	for _, g := range plan.PortalGroups {
		r.groups[g.Tag] = r.entity.NewPortalGroup(uint16(g.Tag))
	}
	ids, err := r.relativeIDs(plan)
	if err != nil {
		return err
	}
	for i, n := range plan.nodes {
		t := plan.Targets[i]
		c := target.NodeConfig{Name: n.name, Alias: t.Alias, RelativeIDs: ids[i]}
		for _, g := range plan.GroupsOf(t) {
			c.Groups = append(c.Groups, r.groups[g.Tag])
		}
		for _, rule := range n.rules {
			rule.Units = r.unitMap(rule.luns)
			c.Rules = append(c.Rules, rule.Rule)
		}
		node, err := r.entity.NewNode(c)
		if err != nil {
			return plan.Errorf(fmt.Sprintf("target[%d]", i), "%v", err)
		}
		r.nodes = append(r.nodes, node)
	}
	r.entity.SetDiscovery(target.DiscoveryAuth{CHAP: plan.discovery.chap, Mutual: plan.discovery.mutual})
	return r.groupPorts(plan)
}

// limitsOf are the limits of a configuration, the times with their defaults.
func limitsOf(c configs.Config) target.Limits {
	l, d := c.Limits, target.DefaultLimits()
	return target.Limits{
		Connections: l.Connections, SessionsPerInitiator: l.SessionsPerInitiator, ConnectionsPerSession: l.ConnectionsPerSession,
		CommandWindow: l.CommandWindow, Memory: int64(l.Memory),
		LoginTimeout: cmp.Or(l.LoginTimeout, d.LoginTimeout), NopInterval: cmp.Or(l.NopInterval, d.NopInterval),
		NopTimeout: cmp.Or(l.NopTimeout, d.NopTimeout), HangBound: cmp.Or(l.HangBound, d.HangBound), DrainTimeout: cmp.Or(l.DrainTimeout, d.DrainTimeout),
	}
}

// unitMap is a LUN map with the units that its names mean.
func (r *running) unitMap(luns map[int]string) *scsi.UnitMap {
	units := make(map[scsi.LUN]*scsi.LogicalUnit, len(luns))
	for n, name := range luns {
		units[scsi.NewLUN(n)] = r.units[name].lu
	}
	return scsi.NewUnitMap(r.absent, units)
}

// serve lets initiators in.
func (r *running) serve() {
	r.entity.SetNodes(r.nodes)
	for _, p := range r.portals {
		r.groups[p.tag].Serve(p.listener)
	}
}

// sync makes all LUNs durable, at once, for one that is slow must not cost the
// others. It waits for each, however long, and says for which.
func (r *running) sync(log *logrus.Entry) error {
	const silence = 10 * time.Second
	var group sync.WaitGroup
	errs := make(chan error, len(r.units))
	for _, u := range r.units {
		group.Go(func() {
			slow := time.AfterFunc(silence, func() {
				log.WithField("lun", u.config.Name).Warn("the LUN is still being flushed; a second signal ends without")
			})
			defer slow.Stop()
			errs <- u.sync()
		})
	}
	group.Wait()
	close(errs)
	var all error
	for err := range errs {
		all = errors.Join(all, err)
	}
	return all
}

// close gives back stores and the state directory.
func (r *running) close() error { return r.end((*unit).close) }

// discard is close before anybody was let in.
func (r *running) discard() error { return r.end((*unit).discard) }

func (r *running) end(end func(*unit) error) error {
	var all error
	for _, u := range r.units {
		all = errors.Join(all, end(u))
	}
	if r.state != nil {
		all = errors.Join(all, r.state.Close())
	}
	return all
}
