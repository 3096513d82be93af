package provision

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/dns"
	"github.com/isantarget/isantarget/iscsi"
	"github.com/isantarget/isantarget/job"
	"github.com/isantarget/isantarget/scsi"
	"github.com/isantarget/isantarget/state"
	"github.com/isantarget/isantarget/target"
)

// Options are what New needs.
type Options struct {
	Log      *logrus.Logger
	Revision string // PRODUCT REVISION LEVEL of all LUNs (SPC-4 6.6.2), up to four characters

	// Sockets are those that the process was started with. Portals on their addresses use them instead of binding
	// their own, and leave them open.
	Sockets []*net.TCPListener
}

// A Provisioner keeps what runs equal to the configuration. Its methods may be
// called at once from many goroutines.
type Provisioner struct {
	log      *logrus.Entry
	revision string
	openers  map[configs.Kind]opener

	applying  sync.Mutex                         // one Apply at a time
	companion Companion                          // nil: nothing changes with us
	snapshots changing                           // after applying
	looks     looks                              // at snapshots
	watching  func()                             // ends the watcher; nil: there is none
	unwatch   atomic.Pointer[context.CancelFunc] // has the watcher begin nothing, and give up what hangs; nil: there is none
	now       atomic.Pointer[running]            // nil: nothing runs
	hanging   hangingUnits
	jobs      job.Board
	sockets   *sockets

	resized   func(context.Context) error // records that a LUN has another size than it is said to have
	questions questions                   // about space
	events    eventLog
	gauge     *gauge // nil: nothing runs; applying guards it
	registrar registrar
	hosts     *dns.Cache // that rules name
}

// New makes a provisioner that runs nothing.
func New(o Options) *Provisioner {
	p := &Provisioner{
		log: logrus.NewEntry(o.Log), revision: o.Revision, openers: openers(), sockets: newSockets(o.Sockets),
		resized: func(context.Context) error { return nil },
	}
	p.jobs.Watch = p.tellOf
	p.hosts = dns.New(p.hostOptions())
	return p
}

// Apply makes want run, and leaves alone what runs already as want has it: LUNs,
// targets, portals and sessions go on. What is new is prepared first. If something
// of it cannot be prepared the error says what, and nothing has changed: images that
// were made are removed again. It may take long where the space of a fixed image is to
// be taken, which is a job (see Jobs); when ctx ends it gives up.
//
// Then it switches. Sessions see other LUNs where their rules have, and hear of it;
// who is not admitted any more is logged out. A LUN that is gone is taken from its
// initiators, synced and closed. A LUN whose settings have changed is closed and
// opened again, its initiators being told BUSY meanwhile; if that fails it goes on
// with its old settings, which Report says. The state directory and the limits
// cannot change while something runs.
//
// With the zero configuration it stops: logins are refused, initiators are asked
// to log out (until ctx ends, or the drain timeout of the configuration), each
// LUN is synced and closed. The error is then what was lost.
func (p *Provisioner) Apply(ctx context.Context, want configs.Config) (Report, error) {
	return p.applyRecorded(ctx, want, func(*state.Directory) error { return nil })
}

// applyRecorded is Apply of a configuration that record makes durable: when all of it is
// prepared, and before anybody sees it. If it cannot be recorded nothing has changed.
func (p *Provisioner) applyRecorded(ctx context.Context, want configs.Config, record func(*state.Directory) error) (Report, error) {
	if reflect.ValueOf(want).IsZero() {
		return Report{}, p.end(ctx)
	}
	if err := p.turn(ctx); err != nil {
		return Report{}, err
	}
	defer p.applying.Unlock()
	plan, err := newPlan(want, p.hosts, nil)
	if err != nil {
		return Report{}, err
	}
	p.jobs.Open()
	c, err := p.prepare(ctx, plan, nil)
	if err != nil {
		return Report{}, err
	}
	if err := record(c.next.state); err != nil {
		return Report{}, errors.Join(err, c.discard())
	}
	c.commit(ctx)
	if !p.publish(c) {
		return Report{}, ErrEnded
	}
	if p.gauge == nil {
		p.gauge = p.startGauge()
	}
	p.registrar.register(p, c.next)
	p.hosts.Watch(string(want.DNS.Server), plan.hosts)
	if len(plan.hosts) > 0 {
		p.moved() // one that moved during the switch was decided by the old rules
	}
	for _, address := range p.sockets.refuse() {
		c.complain("the process was started with a socket on %s, and no portal is just there, so connections to it are refused: "+
			"configure the portal, or have systemd not listen there (systemctl edit isantarget.socket)", address)
	}
	c.removeUnits()
	if c.before == nil {
		p.startWatching()
	}
	report := c.report()
	p.tell(report, c.before == nil)
	return report, nil
}

// tell logs what serves, or has changed, and what does not serve.
func (p *Provisioner) tell(report Report, start bool) {
	for _, w := range report.Warnings {
		p.log.Warn(w)
	}
	for _, l := range report.LUNs {
		if l.Failure != nil {
			p.log.WithField("lun", l.Name).WithError(l.Failure).Error("the LUN is not ready: its store cannot be opened; it is served as soon as it can be")
		}
	}
	if !start {
		for _, change := range report.Changes {
			p.log.WithField("event", "change").Info(change)
		}
		p.log.Infof("configuration applied: %d changes", len(report.Changes))
		return
	}
	for _, t := range report.Targets {
		p.log.WithFields(logrus.Fields{"target": t.Name, "portals": t.Portals, "luns": len(t.LUNs)}).Info("target is served")
	}
}

// turn locks applying, or gives up when ctx ends: who has it may hang in a store, or be
// stopping and wait for the job that asks.
func (p *Provisioner) turn(ctx context.Context) error {
	for !p.applying.TryLock() {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(10 * time.Millisecond):
		}
	}
	return nil
}

// publish has c run, unless a stop has not waited for it.
func (p *Provisioner) publish(c *change) bool { return p.now.CompareAndSwap(c.before, c.next) }

// end stops, when no change is under way any more. One that hangs in a store, though who
// asked for it has given up, is not waited for.
func (p *Provisioner) end(ctx context.Context) error {
	if unwatch := p.unwatch.Load(); unwatch != nil {
		(*unwatch)()
	}
	patience := stuckBound
	if r := p.now.Load(); r != nil {
		patience += r.patience
	}
	inTime, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	if p.turn(inTime) != nil {
		p.log.Errorf("a change still hangs in a store after %v; the LUNs are flushed without waiting for it", patience)
		if last := p.now.Swap(nil); last != nil {
			return errors.Join(errHanging, last.each(p.log, (*unit).sync))
		}
		return errHanging
	}
	defer p.applying.Unlock()
	return p.stop(ctx)
}

// stop ends what runs. A store that hangs in a command must not keep the others
// from being synced, nor the process from ending: it is told of, and left alone.
func (p *Provisioner) stop(ctx context.Context) error {
	last := p.now.Swap(nil)
	if last == nil {
		return nil
	}
	var withdrawing sync.WaitGroup // beside all else, or a server that hangs would cost time
	withdrawing.Go(p.registrar.withdraw)
	defer withdrawing.Wait()
	withdrawing.Go(p.hosts.Close) // a session may be ending just now that has lost its host
	p.sockets.release()
	p.stopWatching()
	p.gauge.stop()
	p.gauge = nil
	quiet := make(chan error, 1)
	go func() {
		var jobs sync.WaitGroup
		jobs.Go(p.jobs.Close)
		err := last.entity.Shutdown(ctx)
		jobs.Wait()
		quiet <- err
	}()
	select {
	case err := <-quiet:
		if last.hangs() { // Shutdown has waited long enough for them
			return errors.Join(err, p.leaveHanging(last))
		}
		err = errors.Join(err, last.each(p.log, (*unit).shut), last.state.Close())
		if names := p.hanging.names(); len(names) > 0 {
			err = errors.Join(err, fmt.Errorf("%w: of LUNs that were removed: %s", errHanging, strings.Join(names, ", ")))
		}
		return err
	case <-time.After(last.patience):
		return p.leaveHanging(last)
	}
}

// leaveHanging is the end where commands hang in a store.
func (p *Provisioner) leaveHanging(last *running) error {
	p.log.Errorf("commands still hang in a store %v after initiators were asked to log out; the LUNs are flushed without waiting for them", last.patience)
	return errors.Join(errHanging, last.each(p.log, (*unit).sync))
}

// hangs tells whether a command is still at work in a store.
func (r *running) hangs() bool {
	now, cancel := context.WithCancel(context.Background())
	cancel()
	for _, u := range r.units {
		if u.lu.Idle(now) != nil {
			return true
		}
	}
	return false
}

// errHanging: stores are left open, for nobody knows what still happens in them.
var errHanging = errors.New("provision: commands hang in a store")

// running is all that serves a configuration. It does not change: an Apply makes
// another one, which shares what goes on.
type running struct {
	plan    *plan
	state   *state.Directory
	entity  *target.Entity
	absent  *scsi.LogicalUnit // answers where no LUN is
	portals []portal
	groups  map[int]*target.PortalGroup // by tag
	units   map[string]*unit            // by name of the LUN
	nodes   map[iscsi.Name]*target.Node
	network string // Entity Identifier for an iSNS server; empty: there is none

	questions *questions
	patience  time.Duration // what stopping waits for initiators, and then for commands that hang
}

// limitsOf are the limits of a configuration, the times with their defaults.
func limitsOf(c configs.Config) target.Limits {
	l, d := c.Limits, target.DefaultLimits()
	return target.Limits{
		Connections: l.Connections, SessionsPerInitiator: l.SessionsPerInitiator, ConnectionsPerSession: l.ConnectionsPerSession,
		CommandWindow: l.CommandWindow, Memory: int64(l.Memory),
		LoginTimeout: cmp.Or(l.LoginTimeout, d.LoginTimeout), NopInterval: cmp.Or(l.NopInterval, d.NopInterval),
		NopTimeout: cmp.Or(l.NopTimeout, d.NopTimeout), HangBound: cmp.Or(l.HangBound, d.HangBound), DrainTimeout: cmp.Or(l.DrainTimeout, d.DrainTimeout),
		HostBound: d.HostBound,
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

// each does what makes the LUNs durable, with all at once, for one that is slow must
// not cost the others. It waits for each, however long, and says for which.
func (r *running) each(log *logrus.Entry, do func(*unit) error) error {
	const silence = 10 * time.Second
	var group sync.WaitGroup
	errs := make(chan error, len(r.units))
	for _, u := range r.units {
		group.Go(func() {
			slow := time.AfterFunc(silence, func() {
				log.WithField("lun", u.config.Name).Warn("the LUN is still being flushed: its store is slow, or hangs; bring that back, or end without by a second signal, and lose what was not flushed")
			})
			defer slow.Stop()
			errs <- do(u)
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
