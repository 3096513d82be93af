package provision

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/scsi"
	"github.com/isantarget/isantarget/state"
)

// What is recorded of a LUN, beside what package scsi keeps.
const (
	lossKind  = "loss"  // a lossRecord
	imageKind = "image" // an imageRecord
)

// A lossRecord says that writes which were acknowledged may be lost. While there is
// one the LUN is read-only to its initiators, over restarts, until the operator knows.
type lossRecord struct {
	Since time.Time `json:"since"` // the last flush that is known to have succeeded
	Found time.Time `json:"found"`
	Cause string    `json:"cause"`
}

// Error says what may be lost.
func (r *lossRecord) Error() string {
	if r.Found.IsZero() {
		return "what was written may be lost: " + r.Cause
	}
	return fmt.Sprintf("what was written from %s to %s may be lost: %s",
		r.Since.Format(time.DateTime), r.Found.Format(time.DateTime), r.Cause)
}

// An imageRecord says which file was served.
type imageRecord struct {
	Path string `json:"path"`
	File string `json:"file"` // file.Store.Identity
}

// A Recovery is what an operator allows to a LUN that does not serve as it should. All
// but one of its fields are false.
type Recovery struct {
	AcceptLoss bool `json:"accept-loss"` // go on, although writes that were acknowledged may be lost
	TakeImage  bool `json:"take-image"`  // serve the file that is at its path now, another than before
	NewImage   bool `json:"new-image"`   // make a new, empty image in the place of one that is missing
}

// A RecoveryError says why a LUN is not recovered.
type RecoveryError struct {
	LUN string
	Err error
}

// Error says why.
func (e *RecoveryError) Error() string { return fmt.Sprintf("LUN %q: %v", e.LUN, e.Err) }

// Unwrap is why.
func (e *RecoveryError) Unwrap() error { return e.Err }

// Recover opens the store of a LUN anew with what the operator allows. Initiators are
// told BUSY meanwhile. A LUN that needs no such thing is left alone: a *RecoveryError.
func (p *Provisioner) Recover(ctx context.Context, lun string, r Recovery) error {
	p.applying.Lock()
	defer p.applying.Unlock()
	now, err := p.served()
	if err != nil {
		return err
	}
	u, err := now.unit(lun)
	if err != nil {
		return err
	}
	how := opening{anew: r.NewImage, accept: r.AcceptLoss, expect: u.expect}
	lost := u.medium != nil && u.medium.Lost() != nil
	switch {
	case r.AcceptLoss && !lost:
		err = errors.New("no flush has failed; there is nothing to accept")
	case r.AcceptLoss && u.displaced():
		err = fmt.Errorf("its image is not at %s any more, and what it holds would be lost; copy it through an initiator, or take the LUN out", u.config.Path)
	case (r.TakeImage || r.NewImage) && u.medium != nil:
		err = errors.New("its image is served; there is nothing to recover")
	case r.NewImage && u.config.Size == 0:
		err = errors.New("a new image needs a size; write it into the configuration")
	case r.NewImage && !isMissing(u.config):
		err = fmt.Errorf("there is something at %s", u.config.Path)
	case r == Recovery{}:
		err = errors.New("say what is allowed: to accept what may be lost, to take the image that is there now, or to make a new, empty one")
	}
	if err != nil {
		return &RecoveryError{lun, err}
	}
	if r.TakeImage || r.NewImage {
		how.expect = ""
	}
	log := p.log.WithField("lun", lun)
	if r.AcceptLoss && !u.mayReopen() {
		err = p.trustAsItIs(u, now.state)
	} else {
		err = p.renew(ctx, now, u, how)
	}
	if err != nil {
		log.WithError(err).Errorf("the operator allowed %s, and the LUN is not recovered", r)
		return &RecoveryError{lun, err}
	}
	log.Warnf("the operator allowed %s; the LUN is served", r)
	return nil
}

// String says what the operator allows.
func (r Recovery) String() string {
	switch {
	case r.AcceptLoss:
		return "to go on although writes may be lost"
	case r.TakeImage:
		return "to serve the image that is there now"
	}
	return "to make a new, empty image"
}

// trustAsItIs goes on with a store that has nowhere to be opened from.
func (p *Provisioner) trustAsItIs(u *unit, keep *state.Directory) error {
	if u.breaker != nil {
		u.breaker.store.Mend()
	}
	if err := u.device.Trust(); err != nil {
		return err
	}
	return u.forgetLoss(keep)
}

// renew opens the store of u anew, under the same configuration; the caller holds the
// lock of Apply. The unit is not ready afterwards if it could not be opened: the error
// says why.
func (p *Provisioner) renew(ctx context.Context, now *running, u *unit, how opening) error {
	c, err := p.prepare(ctx, now.plan, &renewal{unit: u, how: how})
	if err != nil {
		return err
	}
	c.commit(ctx)
	if !p.publish(c) {
		return ErrEnded
	}
	c.removeUnits()
	return c.renewal.err
}

// A renewal is a unit that is opened anew, and everything else stays.
type renewal struct {
	unit *unit
	how  opening
	err  error // why it is not served
}

// renewUnit closes a unit without a flush, which would prove nothing, and opens it.
func (c *change) renewUnit(ctx context.Context, u *unit) {
	r := c.renewal
	if err := u.lu.Remove(scsi.Busy); err != nil {
		u.lu.Restore()
		r.err = err
		return
	}
	if !r.how.accept {
		u.noteLoss()
	} else if f, ok := u.base.(interface{ Forget() error }); ok {
		_ = f.Forget() // what is read then may be newer than what the disk has
	}
	u.watch.awaitSaved()
	u.closed.Store(true)
	pending, err := u.inTime(u.close)
	if pending != nil {
		err = fmt.Errorf("it hangs after %v", u.lu.HangBound)
		c.hanging.await(u, pending, c.log)
	}
	if err != nil {
		c.log.WithField("lun", u.config.Name).WithError(err).Warn("closing the lost store")
	}
	again, err := c.newUnitInTime(ctx, ctx, u.config, u.lu.HangBound, r.how)
	if err != nil {
		u.closed.Store(false)
		r.err = err
		c.next.units[u.config.Name] = u.gone(err)
		return
	}
	again.watch.inherit(u.watch)
	again.lu.Succeed(u.lu)
	c.next.units[u.config.Name] = again
	if r.err = again.failure; r.err == nil && again.medium.Lost() != nil && r.how.accept {
		r.err = again.medium.Lost()
	}
}

// reportLoss tells that a flush has failed, and keeps it in mind.
func (u *unit) reportLoss(err error) {
	var since time.Time
	if m := u.device.Medium(); m != nil { // another one, perhaps, than u had at first
		since, _ = m.Unsynced()
	}
	u.log.WithError(err).Errorf("a flush of the LUN has failed: what was written since %s may be lost. It refuses to write until you say that you know: isantarget lun recover %s --accept-loss",
		since.Format(time.DateTime), u.config.Name)
	u.watch.save(func() { u.keepLoss(&lossRecord{Since: since, Found: time.Now(), Cause: err.Error()}) })
}

// noteLoss keeps in mind that the store went away with writes that were not flushed.
func (u *unit) noteLoss() {
	if u.medium == nil || u.medium.Lost() != nil { // told already
		return
	}
	if since, unsynced := u.medium.Unsynced(); unsynced {
		u.keepLoss(&lossRecord{Since: since, Found: time.Now(), Cause: "the store went away before it was flushed"})
	}
}

// keepLoss records r, unless there is a record.
func (u *unit) keepLoss(r *lossRecord) {
	old, err := u.keep.Load(u.lu.Identity, lossKind)
	if err == nil && old != nil {
		return
	}
	text, err := json.Marshal(r)
	if err == nil {
		err = u.keep.Save(u.lu.Identity, lossKind, text)
	}
	if err != nil {
		u.log.WithError(err).Error("it cannot be recorded that writes may be lost; a restart will forget it")
	}
}

// rememberLoss distrusts the medium if there is a record; with accept it is the end
// of the record.
func (u *unit) rememberLoss(accept bool) error {
	text, err := u.keep.Load(u.lu.Identity, lossKind)
	if err != nil || text == nil || u.medium == nil {
		return err
	}
	if accept {
		if err := u.medium.Sync(); err != nil {
			return nil // the medium remembers it
		}
		return u.forgetLoss(u.keep)
	}
	u.device.Distrust(lossOf(text))
	return nil
}

// lossOf reads the record of a loss. One that cannot be read is still that of a loss.
func lossOf(text []byte) *lossRecord {
	r := &lossRecord{}
	if err := json.Unmarshal(text, r); err != nil {
		return &lossRecord{Cause: fmt.Sprintf("the record of what may be lost cannot be read: %v", err)}
	}
	return r
}

func (u *unit) forgetLoss(keep *state.Directory) error { return keep.Forget(u.lu.Identity, lossKind) }

// rememberImage notes which file is served, and tells if it was another one before.
func (u *unit) rememberImage() error {
	i, ok := u.base.(interface{ Identity() string })
	if !ok {
		return nil
	}
	now := imageRecord{Path: u.config.Path, File: i.Identity()}
	u.expect = now.File
	before := imageRecord{}
	text, err := u.keep.Load(u.lu.Identity, imageKind)
	if err != nil {
		return err
	}
	if text != nil {
		if err := json.Unmarshal(text, &before); err != nil {
			return fmt.Errorf("LUN %q: the record of its image: %w", u.config.Name, err)
		}
	}
	if before == now {
		return nil
	}
	u.replaced = before.Path == now.Path && before.File != "" && now.File != "" && !u.made
	if text, err = json.Marshal(now); err != nil {
		return err
	}
	return u.keep.Save(u.lu.Identity, imageKind, text)
}

// known tells whether the LUN l had an image at its path before. Of a LUN that is
// older than the records of images it is taken for granted.
func known(keep *state.Directory, l configs.LUN) (bool, error) {
	id := scsi.Identity{Name: l.Name, Serial: l.Serial}
	if l.Serial == "" {
		if !keep.Knows(l.Name) {
			return false, nil
		}
		var err error
		if id.Serial, err = keep.Serial(l.Name); err != nil {
			return false, err
		}
	}
	var before imageRecord
	text, err := keep.Load(id, imageKind)
	if err != nil || text == nil {
		return l.Serial == "", err
	}
	if err := json.Unmarshal(text, &before); err != nil {
		return false, fmt.Errorf("LUN %q: the record of its image: %w", l.Name, err)
	}
	return before.Path == l.Path, nil
}

// An opening says how the store of a LUN is opened.
type opening struct {
	do     func(configs.LUN) (backstore.Store, error) // nil: what opens its kind
	anew   bool                                       // an image that is missing may be made, though there was one before
	accept bool                                       // what may be lost is known
	expect string                                     // the identity that its image must have; empty: any
	again  bool                                       // it was served before: whatever is wrong, it is not ready
}

// An imageError is why a LUN has no image, and what of a [Recovery] would give it one.
type imageError struct{ allow, text string }

func (e *imageError) Error() string { return e.text }

// openStore opens the store of l. What was served before is never made anew, and nothing
// else is served in its place, unless the operator allows it.
func (how opening) openStore(l configs.LUN, known bool) (backstore.Store, error) {
	if known && !how.anew && kind(l) == configs.File {
		if isMissing(l) && l.Size > 0 && !l.ReadOnly {
			return nil, &imageError{"new-image", fmt.Sprintf("its image %s was served before and is missing: mount the file system that it is on, put it back, "+
				"or have a new, empty one made: isantarget lun recover %s --new-image", l.Path, l.Name)}
		}
		l.Size = 0 // it makes none
	}
	store, err := how.do(l)
	if err != nil || how.expect == "" {
		return store, err
	}
	if i, ok := store.(interface{ Identity() string }); ok && i.Identity() != "" && i.Identity() != how.expect {
		return nil, errors.Join(&imageError{"take-image", fmt.Sprintf("there is another file at %s than the one that was served: put that one back, "+
			"or say that this one is to be served: isantarget lun recover %s --take-image", l.Path, l.Name)}, store.Close())
	}
	return store, nil
}
