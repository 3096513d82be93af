package provision

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/job"
	"github.com/isantarget/isantarget/scsi"
)

// A RefusedError says why something is not done to a LUN as it is, and what would have
// to change first.
type RefusedError struct{ Why string }

// Error is why.
func (e *RefusedError) Error() string { return e.Why }

func refuse(format string, args ...any) error { return &RefusedError{fmt.Sprintf(format, args...)} }

// Grow makes a LUN bigger while initiators use it, as a job. size is written as in the
// configuration ("20GiB"), or with a plus in front for what comes to it ("+10GiB"); empty
// means the size that what lies below the LUN has become, a device for instance. The
// new size is durable before anybody is told; then READ CAPACITY has it, and every I_T
// nexus the unit attention CAPACITY DATA HAS CHANGED (SBC-3 4.6: 2A/09).
//
// The image keeps that size, whatever the configuration says, over every restart. A
// LUN that is smaller than its store may promise is asked of the overcommit policy first
// (Admit).
func (p *Provisioner) Grow(lun, size string) (job.Status, error) {
	_, u, err := p.servedUnit(lun)
	if err != nil {
		return job.Status{}, err
	}
	want, err := u.wantedSize(size)
	if err != nil {
		return job.Status{}, err
	}
	before := u.medium.Geometry().Size
	if want != 0 {
		warning, err := p.Admit(lun, want-before)
		if err != nil {
			return job.Status{}, &RefusedError{err.Error()}
		}
		if warning != "" {
			p.log.WithField("lun", lun).Warn(warning)
		}
	}
	j, err := p.jobs.Start("grow", lun, func(ctx context.Context, progress *job.Progress) (string, error) {
		_, u, err := p.inTurn(ctx, lun)
		if err != nil {
			return "", err
		}
		text, err := u.grow(ctx, progress, want)
		return p.andRecord(ctx, text, err)
	})
	if err != nil {
		return job.Status{}, err
	}
	return j.Status(), nil
}

// inTurn is the unit of this name for a job that changes its image, when what began before the
// job has ended: a snapshot that is being taken closes the image, and opens another one. What
// begins later finds the job and leaves the LUN alone, or ends it.
func (p *Provisioner) inTurn(ctx context.Context, lun string) (*running, *unit, error) {
	if err := p.turn(ctx); err != nil {
		return nil, nil, err
	}
	defer p.applying.Unlock()
	r, u, err := p.servedUnit(lun)
	if err == nil && u.medium == nil {
		err = refuse("LUN %q is not ready: %v", lun, u.failure)
	}
	return r, u, err
}

// andRecord is the end of a job that gives a LUN another size: what was recorded of one
// that was made at run time is to say that too. The image comes first, for it is what
// counts: if the record cannot be written now, the next start does it.
func (p *Provisioner) andRecord(ctx context.Context, text string, err error) (string, error) {
	if err != nil {
		return text, err
	}
	if err := p.resized(ctx); err != nil {
		text += fmt.Sprintf("; that cannot be recorded now, and is with the next start: %v", err)
	}
	return text, nil
}

// wantedSize is the size in bytes that a word means for u; 0: that of what is below.
func (u *unit) wantedSize(word string) (int64, error) {
	name := u.config.Name
	if u.medium == nil {
		return 0, refuse("LUN %q is not ready: %v", name, u.failure)
	}
	if _, ok := u.sanitizing(); ok {
		return 0, refuse("LUN %q is being sanitized; wait for the end of that (isantarget job list)", name)
	}
	if word == "" {
		return 0, nil
	}
	more, relative := strings.CutPrefix(word, "+")
	var size configs.Size
	if err := size.UnmarshalText([]byte(more)); err != nil {
		return 0, refuse("%v", err)
	}
	now := configs.Size(u.medium.Geometry().Size)
	if relative {
		size += now
	}
	switch {
	case size < 0:
		return 0, refuse("%s is more than a LUN can have", word)
	case size%configs.Size(u.config.BlockSize) != 0:
		return 0, refuse("%d bytes are not whole blocks of %d", int64(size), u.config.BlockSize)
	case size < now:
		return 0, refuse("LUN %q has %v, and does not grow by that; made smaller it loses what is behind: isantarget lun shrink, with --allow-data-loss", name, now)
	case size == now:
		return 0, refuse("LUN %q has %v already", name, now)
	}
	return int64(size), nil
}

// grow is the job.
func (u *unit) grow(ctx context.Context, progress *job.Progress, want int64) (string, error) {
	before := u.medium.Geometry().Size
	progress.Phase("taking space", 0)
	now, err := u.medium.Grow(want, func(done, total int64) error {
		progress.Of(done, total)
		return context.Cause(ctx)
	})
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return "", refuse("LUN %q is of kind %s, whose size is what it is", u.config.Name, u.kind)
	case err != nil:
		return "", fmt.Errorf("LUN %q has %v as before: %w", u.config.Name, configs.Size(before), err)
	case now == before:
		return fmt.Sprintf("LUN %s has %v, as before: what lies below it is not bigger", u.config.Name, configs.Size(now)), nil
	}
	u.lu.Attention(scsi.ASCCapacityDataHasChanged, nil, nil)
	text := fmt.Sprintf("LUN %s has %v, before %v", u.config.Name, configs.Size(now), configs.Size(before))
	if u.config.Size > 0 && u.kind == configs.File {
		text += fmt.Sprintf("; the image keeps it, and the configuration may say so: size = %q", configs.Size(now))
	}
	return text, nil
}
