package provision

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"github.com/isantarget/isantarget/backstore/snapshot"
	"github.com/isantarget/isantarget/configs"
)

// Clone makes an image that holds what the snapshot of a LUN holds, or what the LUN holds
// now if no snapshot is named, at path: empty, NAME.img beside the image of the LUN. Where
// the file system can share blocks it depends on nothing; elsewhere the snapshot (one is
// taken, if need be) has to stay as long as the clone does. A LUN made of it is another
// disk: it gets a serial of its own.
func (p *Provisioner) Clone(ctx context.Context, lun, name, clone, path string) (CloneStatus, error) {
	if err := configs.CheckName("LUN", clone); err != nil {
		return CloneStatus{}, refuseSnapshot("%v", err)
	}
	p.applying.Lock()
	defer p.applying.Unlock()
	defer p.snapshots.begin()()
	r, err := p.served()
	if err != nil {
		return CloneStatus{}, err
	}
	u, i, err := r.imageOf(lun)
	if err == nil {
		err = p.idle(lun)
	}
	if err == nil {
		err = r.answering(u)
	}
	if err != nil {
		return CloneStatus{}, err
	}
	if r.units[clone] != nil {
		return CloneStatus{}, refuseSnapshot("there is a LUN %q already; take another name", clone)
	}
	if path == "" {
		path = filepath.Join(filepath.Dir(u.config.Path), clone+".img")
	}
	out := CloneStatus{Path: path, LUN: settingsOf(u.config, clone, path), Warnings: []string{}}
	if u.medium != nil {
		out.Size = u.medium.Geometry().Size
		if out.Warnings, err = r.admitClone(u, name, clone, path, out.Size); err != nil {
			return out, err
		}
	}
	taken := name == ""
	if taken {
		name = "clone-" + clone
		said, err := p.take(ctx, []string{lun}, name, time.Now())
		if err != nil {
			return out, err
		}
		out.Warnings = append(out.Warnings, said.Warnings...)
	}
	defer p.questions.snapshots.Add(1) // when the snapshot is gone as well
	err = named(i.Clone(name, path))
	above, known := i.Above(name)
	if taken && known == nil && !above { // nothing needs the snapshot
		if _, gone := i.Remove(name); gone != nil {
			err = errors.Join(err, gone)
		}
	}
	if err != nil {
		return out, err
	}
	if below, err := snapshot.Below(path); err != nil {
		return out, err
	} else if below {
		out.Below = name
	}
	p.log.WithField("lun", lun).Infof("the snapshot %s was cloned to %s", name, path)
	return out, nil
}

// admitClone asks whether there may be another image of size bytes, made of u or, if
// one is named, of a snapshot of it. What u has for itself it will share, and be owed anew.
func (r *running) admitClone(u *unit, name, clone, path string, size int64) ([]string, error) {
	l := u.config
	l.Name, l.Path = clone, path
	origin := u
	if name != "" {
		origin = nil
	}
	warning, err := r.admit(l, size, origin)
	if err != nil {
		return nil, &SnapshotError{err.Error()}
	}
	if warning != "" {
		return []string{warning}, nil
	}
	return []string{}, nil
}

// settingsOf are those of a LUN that is like l, with the keys of the configuration. What
// makes it that disk, its serial, is not among them.
func settingsOf(l configs.LUN, name, path string) map[string]any {
	s := map[string]any{"name": name, "path": path, "kind": string(configs.File), "block-size": l.BlockSize, "write-cache": l.WriteCache}
	if l.PhysicalBlockSize != 0 {
		s["physical-block-size"] = l.PhysicalBlockSize
	}
	if l.Direct {
		s["direct"] = true
	}
	return s
}
