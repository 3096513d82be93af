package provision

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/backstore/fault"
	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/job"
	"github.com/isantarget/isantarget/scsi"
	"github.com/isantarget/isantarget/scsi/sbc"
	"github.com/isantarget/isantarget/state"
)

// A unit is a LUN that runs: a store, the disk before it, the logical unit
// around that.
type unit struct {
	config  configs.LUN
	kind    configs.Kind      // what config means, which asks the file system where it does not say
	medium  *backstore.Medium // nil: it could not be opened, and failure says why
	base    backstore.Store   // below the layers; nil as medium is
	image   image             // nil: the store is none
	device  *sbc.Device
	lu      *scsi.LogicalUnit
	report  func(error) // tells the operator
	log     *logrus.Entry
	keep    *state.Directory
	watch   *watch
	sharing *sharing // what its image shares with other files
	expect  string   // the identity of its image, as far as there was one

	breaker *breaker           // nil: it does not break on demand
	struck  func(fault.Strike) // tells the operator that it did

	made     bool         // there was no image, and we made it
	returned bool         // made, for a LUN that had an image once
	replaced bool         // another image was at this path when it was served last
	closed   *atomic.Bool // the store is given back; it is looked at from outside of Apply
	failure  error
}

// An image is what a store of a file tells of it.
type image interface {
	Created() bool // by us
	Lost() bool    // its path does not lead to it any more
}

// with is u under the configuration l, if it can go on as it is; nil: its store has
// to be opened anew. A size is only that of an image which is yet to be made.
func (u *unit) with(l configs.LUN) *unit {
	same, what := l, u.kind
	if l.Kind != u.config.Kind || l.Path != u.config.Path || u.medium == nil {
		what = kind(l)
	}
	if what == configs.File || u.medium != nil && int64(l.Size) == u.medium.Geometry().Size {
		same.Size = u.config.Size // it may have grown
	}
	same.Overcommit, same.SpaceThreshold = u.config.Overcommit, u.config.SpaceThreshold // not the device's affair
	if u.failure != nil || !reflect.DeepEqual(same, u.config) {
		return nil
	}
	kept := *u
	kept.config = l
	return &kept
}

// mayReopen tells whether the bytes of the LUN are where they can be found again.
func (u *unit) mayReopen() bool {
	return u.medium == nil || u.kind.HasPath() || u.config.Kind == configs.Null
}

// remove ends the LUN while others run. Commands to it end with answer from now on;
// when none is left the store is synced and closed. If commands hang, or the store does
// when it is synced, pending is what waits for the end.
func (u *unit) remove(answer error) (pending func() error, err error) {
	if err := u.lu.Remove(answer); err != nil {
		return func() error {
			if err := u.lu.Idle(context.Background()); err != nil {
				return err
			}
			return u.shut()
		}, fmt.Errorf("LUN %q: %w", u.config.Name, err)
	}
	if pending, err = u.inTime(u.shut); pending != nil {
		err = fmt.Errorf("LUN %q is removed, but its store hangs: after %v it is not flushed and closed", u.config.Name, u.lu.HangBound)
	}
	return pending, err
}

// inTime is do, unless that hangs in the store: then pending waits for its end.
func (u *unit) inTime(do func() error) (pending func() error, err error) {
	ended := make(chan error, 1)
	go func() { ended <- do() }()
	select {
	case err := <-ended:
		return nil, err
	case <-time.After(u.lu.HangBound):
		return func() error { return <-ended }, nil
	}
}

// suspend has commands end with BUSY, waits for those that run, and makes durable what
// was written. If that cannot be had the LUN goes on as it was: a store that is opened
// anew would not know what the old one has lost, and let the next SYNCHRONIZE CACHE
// succeed.
func (u *unit) suspend() error {
	if err := u.syncInTime(); err != nil { // most of it, while commands are still served
		return err
	}
	err := u.lu.Remove(scsi.Busy)
	if err != nil {
		err = fmt.Errorf("LUN %q: %w", u.config.Name, err)
	} else {
		err = u.syncInTime()
	}
	if err != nil {
		u.lu.Restore()
	}
	return err
}

// syncInTime is sync, or an error if the store hangs.
func (u *unit) syncInTime() error {
	pending, err := u.inTime(u.sync)
	if pending != nil {
		err = fmt.Errorf("LUN %q: after %v its store is not flushed", u.config.Name, u.lu.HangBound)
	}
	return err
}

// shut is the end of a LUN to which no command comes any more. What goes on in the
// background ends first, so that nothing is written after the sync.
func (u *unit) shut() error {
	u.closed.Store(true)
	if u.medium == nil {
		return nil
	}
	u.device.Close()
	err := errors.Join(u.sync(), u.close())
	u.watch.awaitSaved()
	return err
}

// newUnit opens the LUN l. An error refuses the configuration; where the image
// alone is in trouble the unit is made without it.
func (p *Provisioner) newUnit(ctx context.Context, l configs.LUN, keep *state.Directory, hangBound time.Duration, how opening) (*unit, error) {
	log := p.log.WithField("lun", l.Name)
	u := &unit{config: l, kind: kind(l), log: log, keep: keep, watch: &watch{}, sharing: &sharing{}, closed: new(atomic.Bool), expect: how.expect, struck: logStrikes(log)}
	u.report = func(err error) {
		if errors.Is(err, backstore.ErrLost) {
			u.reportLoss(err)
			return
		}
		log.WithError(err).Error("the LUN reports an error")
	}
	if how.do == nil {
		how.do = func(l configs.LUN) (backstore.Store, error) { return p.openStore(ctx, l) }
	}
	known, err := known(keep, l)
	if err != nil {
		return nil, err
	}
	if err := u.open(how, known); err != nil {
		return nil, err
	}
	p.takeAhead(u)
	if err := u.present(keep, p.revision, how.accept); err != nil {
		return nil, errors.Join(err, u.discard())
	}
	u.lu.Report = u.report
	u.lu.HangBound = hangBound
	if lost := u.lu.Reservations().Lost; lost != nil {
		u.report(lost)
	}
	return u, nil
}

// openStore opens the store of l. Where space has to be taken first that is a job, which
// ends when ctx does.
func (p *Provisioner) openStore(ctx context.Context, l configs.LUN) (store backstore.Store, err error) {
	if !lacksSpace(l) {
		return p.openers[kind(l)](l, nil)
	}
	failed := p.jobs.Run(ctx, "allocate", l.Name, func(ctx context.Context, progress *job.Progress) (string, error) {
		progress.Phase("taking space", int64(l.Size))
		store, err = p.openers[kind(l)](l, func(done, total int64) error {
			progress.Of(done, total)
			return context.Cause(ctx)
		})
		return "", err
	})
	if failed != nil && err == nil {
		return nil, failed
	}
	return store, err
}

// open opens the store and makes the device.
func (u *unit) open(how opening, known bool) error {
	missing := isMissing(u.config)
	store, err := how.openStore(u.config, known)
	if err == nil {
		u.base = store
		if u.image, _ = store.(image); u.image != nil {
			u.made = u.image.Created() // it may have come since we looked
			u.returned = u.made && known
		}
		store, err = u.stack(store)
		u.medium = backstore.Bind(store)
		if err == nil {
			u.device, err = sbc.New(u.options())
		}
		if err == nil {
			return nil
		}
		err = errors.Join(err, u.medium.Close())
		u.medium, u.base, u.image, u.breaker = nil, nil, nil, nil
	}
	if err := refusal(u.config, missing, err); err != nil && !how.again && !(missing && known) {
		return err
	}
	u.failure = err
	u.device, err = sbc.New(u.options())
	return err
}

func (u *unit) options() sbc.Options {
	l := u.config
	physical := l.PhysicalBlockSize
	if physical == 0 && kind(l) != configs.Block {
		physical = l.BlockSize
	}
	return sbc.Options{
		Medium: u.medium, BlockSize: l.BlockSize, PhysicalBlockSize: physical,
		ReadOnly: l.ReadOnly, Removable: l.Removable, WriteCache: l.WriteCache, ExplicitAccess: l.ExplicitALUA,
		Thin: l.Provisioning != configs.Fixed, DetectZeroes: l.DetectZeroes, Place: l.Path, SanitizeRate: int64(l.SanitizeRate), Report: u.report,
	}
}

// present gives the device its identity and makes the logical unit.
func (u *unit) present(keep *state.Directory, revision string, accept bool) error {
	l := u.config
	id := scsi.Identity{
		Name: l.Name, Serial: l.Serial, Revision: cmp.Or(l.Revision, revision),
		Vendor: l.Vendor, Product: l.Product, T10: l.T10, NAA: l.NAA.Bytes(), EUI64: l.EUI64.Bytes(),
	}
	if id.Serial == "" {
		var err error
		if id.Serial, err = keep.Serial(u.config.Name); err != nil {
			return err
		}
	}
	var err error
	if u.lu, err = scsi.NewLogicalUnit(id, u.device, keep); err != nil {
		return fmt.Errorf("LUN %q cannot be presented; what it saved is in %s: %w", u.config.Name, filepath.Join(keep.Path(), "lu", id.String()), err)
	}
	if u.medium == nil {
		return nil
	}
	return errors.Join(u.rememberImage(), u.rememberLoss(accept))
}

// sync makes durable what the LUN was told to keep.
func (u *unit) sync() error {
	if u.medium == nil {
		return nil
	}
	if err := u.device.Sync(); err != nil {
		return fmt.Errorf("LUN %q: what was written since the last flush may be lost: %w", u.config.Name, err)
	}
	return nil
}

// close gives the store back; it does not sync.
func (u *unit) close() error {
	if u.medium == nil {
		return nil
	}
	u.device.Close()
	if err := u.medium.Close(); err != nil {
		return fmt.Errorf("LUN %q: %w", u.config.Name, err)
	}
	return nil
}

// discard is close for a unit that nobody has seen: an image that was made for
// it is removed, as long as its lock keeps it from being somebody else's.
func (u *unit) discard() error {
	var err error
	if u.made {
		err = os.Remove(u.config.Path)
	}
	return errors.Join(err, u.close())
}

// warnings are what the operator should know of a LUN that is ready.
func (u *unit) warnings() []string {
	var w []string
	if u.returned {
		w = append(w, fmt.Sprintf("LUN %q was served before, but its image %s was missing: a new, empty one was made, as the operator said", u.config.Name, u.config.Path))
	}
	if u.replaced {
		w = append(w, fmt.Sprintf("LUN %q: its image %s is another file than the one that was served before, under the same identity; if that is not meant, stop, and put the old one back", u.config.Name, u.config.Path))
	}
	if u.medium == nil || u.config.Size == 0 {
		return w
	}
	switch has, said := configs.Size(u.medium.Geometry().Size), u.config.Size; {
	case has < said:
		w = append(w, fmt.Sprintf("LUN %q keeps the size of its image, %v; the configuration says %v: to make it that big, isantarget lun grow %s %v",
			u.config.Name, has, said, u.config.Name, said))
	case has > said:
		w = append(w, fmt.Sprintf("LUN %q keeps the size of its image, %v; the configuration says %v: if it has grown, write size = %q there",
			u.config.Name, has, said, has))
	}
	return w
}
