package provision

import (
	"context"
	"errors"
	"fmt"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/job"
	"github.com/isantarget/isantarget/scsi"
)

// Defragment moves the image of a LUN into as few pieces as its file system has room
// for, as a job. Nobody may be logged in to a target that shows the LUN; who logs in
// meanwhile is told BUSY until it is over. Whatever ends it, the image holds what it held.
func (p *Provisioner) Defragment(lun string) (job.Status, error) {
	r, u, err := p.servedUnit(lun)
	if err != nil {
		return job.Status{}, err
	}
	_, ok := u.base.(fragmented)
	switch {
	case u.medium == nil:
		return job.Status{}, refuse("LUN %q is not ready: %v", lun, u.failure)
	case !ok && u.kind == configs.File:
		return job.Status{}, refuse("the image of LUN %q lies in layers, upon its snapshots; delete those first (isantarget snapshot list)", lun)
	case !ok:
		return job.Status{}, refuse("LUN %q is of kind %s; only image files can lie in pieces", lun, u.kind)
	case u.config.ReadOnly:
		return job.Status{}, refuse("LUN %q is served read-only; its image is not moved", lun)
	}
	if _, ok := u.sanitizing(); ok {
		return job.Status{}, refuse("LUN %q is being sanitized; wait for the end of that (isantarget job list)", lun)
	}
	if err := r.unused(lun); err != nil {
		return job.Status{}, err
	}
	j, err := p.jobs.Start("defragment", lun, func(ctx context.Context, progress *job.Progress) (string, error) {
		_, u, err := p.inTurn(ctx, lun)
		if err != nil {
			return "", err
		}
		image, ok := u.base.(fragmented)
		if !ok {
			return "", refuse("a snapshot of LUN %q was taken meanwhile, and its image lies upon that now", lun)
		}
		return u.defragment(ctx, progress, image)
	})
	if err != nil {
		return job.Status{}, err
	}
	return j.Status(), nil
}

// unused refuses a LUN that somebody may be using.
func (r *running) unused(lun string) error {
	_, users := r.usersOf(lun)
	if len(users) == 0 {
		return nil
	}
	more := ""
	if len(users) > 1 {
		more = fmt.Sprintf(" and %d others", len(users)-1)
	}
	return refuse("LUN %q is in use: %s is logged in to %s (session %d)%s; have it log out, or take the LUN from the target (isantarget lun unmap)",
		lun, users[0].Initiator, users[0].Target, users[0].TSIH, more)
}

// defragment is the job.
func (u *unit) defragment(ctx context.Context, progress *job.Progress, image fragmented) (string, error) {
	progress.Phase("moving", 0)
	if err := u.lu.Remove(scsi.Busy); err != nil {
		u.lu.Restore()
		return "", fmt.Errorf("LUN %q: %w", u.config.Name, err)
	}
	defer u.lu.Restore()
	if err := u.calm(); err != nil { // what goes on after its command has ended must not write beside it
		return "", err
	}
	before, after, err := image.Defragment(func(done, total int64) error {
		progress.Of(done, total)
		return context.Cause(ctx)
	})
	switch {
	case errors.Is(err, backstore.ErrLost):
		u.medium.Distrust(err)
		return "", err
	case err != nil && ctx.Err() != nil:
		return fmt.Sprintf("of %d extents %d are left", before, after), err
	case err != nil:
		return "", fmt.Errorf("the image of LUN %q lies as before: %w", u.config.Name, err)
	}
	return fmt.Sprintf("LUN %s lies in %d extents, before in %d", u.config.Name, after, before), nil
}
