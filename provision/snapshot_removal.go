package provision

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/backstore/snapshot"
	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/job"
)

const (
	// mergeAtOnce is how much is merged while the commands of a LUN wait: a fraction of
	// a second on a disk.
	mergeAtOnce = 32 << 20

	// mergeRounds bounds how often a LUN that is written about as fast as it can be merged
	// is frozen again. Then up to mergeAtLast is merged while commands wait: seconds.
	mergeRounds = 8
	mergeAtLast = 512 << 20
)

// DeleteSnapshot begins to delete a snapshot of a LUN, which is served meanwhile: a job,
// for what was written since may have to be merged into it. Cancelled, it leaves a
// snapshot that cannot be used and can be deleted again.
func (p *Provisioner) DeleteSnapshot(lun, name string) (job.Status, error) {
	if s, err := p.Snapshot(lun, name); err != nil {
		return job.Status{}, err
	} else if err := p.idle(s.LUN); err != nil {
		return job.Status{}, err
	}
	j, err := p.jobs.Start("delete snapshot", lun, func(ctx context.Context, progress *job.Progress) (string, error) {
		if err := p.removeSnapshot(ctx, lun, name, progress); err != nil {
			return "", err
		}
		return fmt.Sprintf("snapshot %s of LUN %s is deleted", name, lun), nil
	})
	if err != nil {
		return job.Status{}, err
	}
	return j.Status(), nil
}

func (p *Provisioner) removeSnapshot(ctx context.Context, lun, name string, progress *job.Progress) error {
	path, begun := "", false
	for round := 0; ; round++ {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		var to snapshot.Removal
		var u *unit
		err := p.withImage(ctx, lun, path, func(r *running, one *unit, i *snapshot.Image) (err error) {
			u, path = one, one.config.Path
			to, err = i.Remove(name)
			return err
		})
		var missing *snapshot.NotFoundError
		switch {
		case errors.As(err, &missing) && begun, err == nil && to.Done:
			return nil
		case err != nil:
			return err
		}
		begun = true
		switch {
		case !to.Image:
			err = p.mergeBeside(ctx, u, name, to, progress)
		case to.Bytes > mergeAtOnce && round < mergeRounds:
			err = p.withClosed(ctx, lun, path, func(i *snapshot.Image) error { return i.Freeze(name, to) })
			if to.Bytes <= mergeAtLast && (errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT)) {
				return p.mergeRest(ctx, u, name, to, progress) // on a full file system, whose space it gives back
			}
		case to.Bytes > mergeAtLast:
			return refuseSnapshot("LUN %q is written faster than its snapshot can be merged; delete it again when less is written", lun)
		default:
			return p.mergeRest(ctx, u, name, to, progress)
		}
		if err != nil {
			return err
		}
	}
}

// mergeBeside merges what never changes, while the LUN is served.
func (p *Provisioner) mergeBeside(ctx context.Context, u *unit, name string, to snapshot.Removal, progress *job.Progress) error {
	if err := merge(ctx, u, name, to, progress); err != nil {
		return err
	}
	return p.withClosed(ctx, u.config.Name, u.config.Path, func(i *snapshot.Image) error { return i.Join(name, to) })
}

// mergeRest merges the image itself, while its commands wait.
func (p *Provisioner) mergeRest(ctx context.Context, u *unit, name string, to snapshot.Removal, progress *job.Progress) error {
	return p.withClosed(ctx, u.config.Name, u.config.Path, func(i *snapshot.Image) error {
		if err := merge(ctx, u, name, to, progress); err != nil {
			return err
		}
		return i.Join(name, to)
	})
}

func merge(ctx context.Context, u *unit, name string, to snapshot.Removal, progress *job.Progress) error {
	progress.Phase("merging", to.Bytes)
	done := int64(0)
	err := snapshot.At(u.config.Path).Merge(ctx, name, to, u.config.Provisioning == configs.Fixed, func(n int64) {
		done += n
		progress.Of(done, max(done, to.Bytes))
	})
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// withImage does something with the image of a LUN that may be served meanwhile. path,
// if it is not empty, is the one that is meant.
func (p *Provisioner) withImage(ctx context.Context, lun, path string, do func(*running, *unit, *snapshot.Image) error) error {
	if err := p.turn(ctx); err != nil {
		return err
	}
	defer p.applying.Unlock()
	defer p.snapshots.begin()()
	r, err := p.served()
	if err != nil {
		return err
	}
	u, i, err := r.imageOf(lun)
	if err != nil {
		return err
	}
	if path != "" && u.config.Path != path {
		return fmt.Errorf("LUN %q has another image by now: %s", lun, u.config.Path)
	}
	if err := r.answering(u); err != nil {
		return err
	}
	defer p.questions.snapshots.Add(1)
	return do(r, u, i)
}

// withClosed does something with the image of a LUN while that is closed.
func (p *Provisioner) withClosed(ctx context.Context, lun, path string, do func(*snapshot.Image) error) error {
	return p.withImage(ctx, lun, path, func(r *running, _ *unit, i *snapshot.Image) error {
		return p.quietly(ctx, r, []string{lun}, true, func() error { return do(i) })
	})
}
