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

// shrinkable is what a store of an image can give up of it.
type shrinkable interface {
	Shrink(size int64) error
}

// Shrink makes the image of a LUN smaller, as a job: what lies behind size, which is
// written as in the configuration ("20GiB"), is lost, and its space is given back. That
// is refused unless lossAllowed says that it is meant. Nobody may be logged in to a target
// that shows the LUN; who logs in meanwhile is told BUSY until it is over, and then, as
// every I_T nexus that the LUN knows, CAPACITY DATA HAS CHANGED (SBC-3 4.6: 2A/09).
//
// The new size is durable before anybody is told. However the daemon ends meanwhile, the
// image has the old size or the new one. The image keeps it, whatever the configuration
// says.
func (p *Provisioner) Shrink(lun, size string, lossAllowed bool) (job.Status, error) {
	r, u, err := p.servedUnit(lun)
	if err != nil {
		return job.Status{}, err
	}
	want, err := u.smallerSize(size)
	if err != nil {
		return job.Status{}, err
	}
	if !lossAllowed {
		return job.Status{}, refuse("what LUN %q holds behind %v would be lost for good; make its file systems smaller first, and say so: --allow-data-loss",
			lun, configs.Size(want))
	}
	if _, err := p.mayShrink(r, u); err != nil {
		return job.Status{}, err
	}
	j, err := p.jobs.Start("shrink", lun, func(ctx context.Context, progress *job.Progress) (string, error) {
		r, u, err := p.inTurn(ctx, lun)
		if err != nil {
			return "", err
		}
		image, err := p.mayShrink(r, u)
		if err != nil {
			return "", err
		}
		text, err := p.shrink(r, u, image, progress, want)
		return p.andRecord(ctx, text, err)
	})
	if err != nil {
		return job.Status{}, err
	}
	return j.Status(), nil
}

// smallerSize is the size in bytes that a word means for u, which is less than it has.
func (u *unit) smallerSize(word string) (int64, error) {
	name := u.config.Name
	if u.medium == nil {
		return 0, refuse("LUN %q is not ready: %v", name, u.failure)
	}
	var size configs.Size
	if err := size.UnmarshalText([]byte(word)); err != nil {
		return 0, refuse("%v", err)
	}
	now := configs.Size(u.medium.Geometry().Size)
	switch {
	case size <= 0:
		return 0, refuse("a LUN has at least one block; to be rid of it: isantarget lun delete")
	case size%configs.Size(u.config.BlockSize) != 0:
		return 0, refuse("%d bytes are not whole blocks of %d", int64(size), u.config.BlockSize)
	case size == now:
		return 0, refuse("LUN %q has %v already", name, now)
	case size > now:
		return 0, refuse("LUN %q has %v; to make it bigger: isantarget lun grow %s %v", name, now, name, size)
	}
	return int64(size), nil
}

// mayShrink refuses a LUN whose image cannot be made smaller as it is now.
func (p *Provisioner) mayShrink(r *running, u *unit) (shrinkable, error) {
	name := u.config.Name
	image, ok := u.base.(shrinkable)
	switch {
	case u.kind != configs.File:
		return nil, refuse("LUN %q is of kind %s; only image files can be made smaller", name, u.kind)
	case u.config.ReadOnly:
		return nil, refuse("LUN %q is served read-only; its image is not changed", name)
	case len(u.config.Layers) > 0:
		return nil, refuse("LUN %q has layers; take them out of the configuration first", name)
	}
	if _, ok := u.sanitizing(); ok {
		return nil, refuse("LUN %q is being sanitized; wait for the end of that (isantarget job list)", name)
	}
	snapshots, err := p.Snapshots(name)
	switch {
	case err != nil:
		return nil, err
	case len(snapshots) > 0:
		return nil, refuse("LUN %q has snapshots, which hold what would be cut off; delete those first (isantarget snapshot list)", name)
	case !ok:
		return nil, refuse("the image of LUN %q is a clone, which lies upon the snapshot of another; it cannot be made smaller", name)
	}
	return image, r.unused(name)
}

// shrink is the job.
func (p *Provisioner) shrink(r *running, u *unit, image shrinkable, progress *job.Progress, want int64) (string, error) {
	name, before := u.config.Name, u.medium.Geometry().Size
	progress.Phase("giving back space", 0)
	if err := u.lu.Remove(scsi.Busy); err != nil {
		u.lu.Restore()
		return "", fmt.Errorf("LUN %q: %w", name, err)
	}
	defer u.lu.Restore()
	// Somebody may have logged in or taken a snapshot since it was looked for. From here
	// on the job keeps snapshots away, and BUSY commands.
	if _, err := p.mayShrink(r, u); err != nil {
		return "", err
	}
	if err := u.calm(); err != nil {
		return "", err
	}
	switch err := image.Shrink(want); {
	case errors.Is(err, backstore.ErrLost):
		u.medium.Distrust(err)
		return "", err
	case err != nil:
		return "", fmt.Errorf("LUN %q has %v: %w", name, configs.Size(u.medium.Geometry().Size), err)
	}
	u.lu.Attention(scsi.ASCCapacityDataHasChanged, nil, nil)
	text := fmt.Sprintf("LUN %s has %v, before %v", name, configs.Size(want), configs.Size(before))
	if u.config.Size > 0 {
		text += fmt.Sprintf("; the image keeps it, and the configuration may say so: size = %q", configs.Size(want))
	}
	return text, nil
}
