package provision

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/backstore/file"
	"github.com/isantarget/isantarget/backstore/snapshot"
	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/job"
	"github.com/isantarget/isantarget/scsi"
	"github.com/isantarget/isantarget/state"
)

const (
	// copyPiece is what a copy reads at once, copyHole what of it stays a hole if it is
	// zeros, and copySettle after how many bytes it has them written to the disk.
	copyPiece  = 1 << 20
	copyHole   = 64 << 10
	copySettle = 64 << 20
)

// A Copying says what copy of a LUN is to be made.
type Copying struct {
	Name         string `json:"name"`                   // of the LUN that is to be
	Snapshot     string `json:"snapshot,omitempty"`     // whose content it gets; empty: that of the LUN, which nobody uses
	Store        string `json:"store,omitempty"`        // where its image is to be
	Path         string `json:"path,omitempty"`         // or here; neither: as that of the LUN, beside it
	Provisioning string `json:"provisioning,omitempty"` // "sparse" or "fixed"; empty: as the LUN
	Target       string `json:"target,omitempty"`       // that shows it; empty: none
	Number       *int   `json:"number,omitempty"`       // under this LUN number; none: the lowest that is free
}

// Copy makes another LUN that holds what a snapshot of a LUN holds, or what the LUN holds
// now, as a job. It shares nothing with it, is as sparse, or fixed, and is another disk,
// with a serial of its own. Without a snapshot nobody may be logged in to a target that
// shows the LUN; who logs in meanwhile is told BUSY until it is over.
//
// The image has no name until it is whole and durable, and the LUN is recorded after that:
// whatever ends the job, or the daemon, there is the whole LUN or nothing.
func (s *Sides) Copy(lun string, c Copying) (job.Status, error) {
	r, u, err := s.servedUnit(lun)
	if err != nil {
		return job.Status{}, err
	}
	batch, l, err := s.copyOf(u, c)
	if err != nil {
		return job.Status{}, err
	}
	if err := r.mayCopy(u, c, l); err != nil {
		return job.Status{}, err
	}
	j, err := s.jobs.Start("copy", lun, func(ctx context.Context, progress *job.Progress) (string, error) {
		r, u, err := s.inTurn(ctx, lun)
		if err == nil {
			err = r.mayCopy(u, c, l)
		}
		if err != nil {
			return "", err
		}
		p := &copying{Sides: s, r: r, from: u, Copying: c, lun: l, progress: progress}
		return p.run(ctx, batch)
	})
	if err != nil {
		return job.Status{}, err
	}
	return j.Status(), nil
}

// copyOf is the LUN that c makes of u: the change that makes it, and what it will be.
func (s *Sides) copyOf(u *unit, c Copying) (Batch, configs.LUN, error) {
	if err := configs.CheckName("LUN", c.Name); err != nil {
		return Batch{}, configs.LUN{}, refuse("%v", err)
	}
	if c.Store == "" && c.Path == "" {
		c.Store = u.config.Store
	}
	settings := settingsOf(u.config, c.Name, cmp.Or(c.Path, filepath.Join(filepath.Dir(u.config.Path), c.Name+".img")))
	switch {
	case c.Store != "" && c.Path != "":
		return Batch{}, configs.LUN{}, refuse("the image is in a store, or at a path; say one of them")
	case c.Path != "" && !filepath.IsAbs(c.Path):
		return Batch{}, configs.LUN{}, refuse("the path of the image has to be absolute")
	case c.Store != "":
		delete(settings, "path")
		settings["store"] = c.Store
	case c.Path == "" && u.kind != configs.File:
		delete(settings, "path")
	}
	if how := cmp.Or(c.Provisioning, string(u.config.Provisioning)); how != "" {
		settings["provisioning"] = how
	}
	batch := Batch{}
	put := func(t configs.Table, tree map[string]any) error {
		text, err := json.Marshal(tree)
		if err != nil {
			return err
		}
		o, err := configs.ObjectFromJSON(t, text)
		batch.Puts = append(batch.Puts, Put{Object: o})
		return err
	}
	err := put(configs.LUNTable, settings)
	if c.Target != "" && err == nil {
		shown := map[string]any{"target": c.Target, "lun": c.Name}
		if c.Number != nil {
			shown["number"] = *c.Number
		}
		err = put(configs.MapTable, shown)
	}
	if err != nil {
		return Batch{}, configs.LUN{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e := edit{Sides: s, objects: slices.Clone(s.objects), change: state.Documents{}, files: map[string]string{}}
	if err := e.make(batch); err != nil {
		return Batch{}, configs.LUN{}, err
	}
	want, err := s.written.With(e.objects...)
	if err != nil {
		return Batch{}, configs.LUN{}, err
	}
	i := slices.IndexFunc(want.LUNs, func(l configs.LUN) bool { return l.Name == c.Name })
	return batch, want.LUNs[i], nil
}

// mayCopy refuses a copy of u that cannot be made as things are.
func (r *running) mayCopy(u *unit, c Copying, l configs.LUN) error {
	name := u.config.Name
	if u.medium == nil {
		return refuse("LUN %q is not ready: %v", name, u.failure)
	}
	if _, ok := u.sanitizing(); ok {
		return refuse("LUN %q is being sanitized; wait for the end of that (isantarget job list)", name)
	}
	if _, err := os.Lstat(l.Path); err == nil {
		return refuse("there is a file %s already; take another name, or a path", l.Path)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return refuse("%v", err)
	}
	if c.Snapshot != "" {
		_, _, err := r.imageOf(name)
		return err
	}
	if err := r.unused(name); err != nil {
		return refuse("%v; or copy a snapshot of it (isantarget lun snapshot %s, and lun copy %s@SNAPSHOT %s)", err, name, name, c.Name)
	}
	return nil
}

// A copying is a Copy that runs.
type copying struct {
	*Sides
	Copying
	r        *running
	from     *unit
	lun      configs.LUN // that is to be
	progress *job.Progress

	size  int64        // bytes of the image
	taken atomic.Int64 // what the image has got of it
}

func (c *copying) document() string { return removal{LUN: c.lun.Name}.called(copyPrefix) }

// run is the job.
func (c *copying) run(ctx context.Context, batch Batch) (string, error) {
	warning, read, err := c.write(ctx)
	if err != nil {
		return "", errors.Join(err, c.undo())
	}
	c.progress.Phase("adding the LUN", 0)
	report, err := c.enact(ctx, batch)
	if errors.Is(err, ErrEnded) { // the next start finds the LUN, or removes its image
		return "", err
	}
	if err != nil {
		return "", errors.Join(err, c.undo())
	}
	text := fmt.Sprintf("LUN %s holds what %s held, in %s: %s of %v", c.lun.Name, c.source(), c.lun.Path, humanize.IBytes(uint64(read)), configs.Size(c.size))
	for _, w := range append(report.Warnings, warning) {
		if w != "" {
			text += "; " + w
		}
	}
	return text, nil
}

func (c *copying) source() string {
	if c.Snapshot != "" {
		return c.from.config.Name + "@" + c.Snapshot
	}
	return c.from.config.Name
}

// write makes the image.
func (c *copying) write(ctx context.Context) (warning string, read int64, err error) {
	source := c.from.medium
	if c.Snapshot != "" {
		store, err := snapshot.At(c.from.config.Path).OpenSnapshot(c.Snapshot)
		if err != nil {
			return "", 0, named(err)
		}
		source = backstore.Bind(store)
		defer func() { err = errors.Join(err, source.Close()) }()
	} else {
		if err := c.from.lu.Remove(scsi.Busy); err != nil {
			c.from.lu.Restore()
			return "", 0, fmt.Errorf("LUN %q: %w", c.from.config.Name, err)
		}
		defer c.from.lu.Restore()
		if err := c.r.unused(c.from.config.Name); err != nil { // somebody may have come since it was looked for
			return "", 0, err
		}
		if err := c.from.calm(); err != nil {
			return "", 0, err
		}
	}
	c.size = source.Geometry().Size
	if warning, err = c.r.admit(c.lun, c.size, nil); err != nil {
		return "", 0, refuse("%v", err)
	}
	defer c.questions.promise(c)()
	c.progress.Phase("taking space", 0)
	store, err := file.Open(file.Options{
		Path: c.lun.Path, Create: true, Size: c.size, Provisioning: provisioning(c.lun), Direct: c.lun.Direct,
		Step: func(done, total int64) error {
			c.progress.Of(done, total)
			c.taken.Store(done)
			return context.Cause(ctx)
		},
		Fill: func(b *file.Blank) (err error) {
			read, err = c.fill(ctx, source, b)
			return err
		},
	})
	if err != nil {
		return "", 0, err
	}
	made := store.Created()
	if err := store.Close(); err != nil {
		return "", 0, err // what is recorded has the next start remove it
	}
	if !made {
		return "", 0, refuse("somebody else has made a file %s meanwhile", c.lun.Path)
	}
	return warning, read, nil
}

// fill copies what is mapped of source into b, and records that it is to be removed again
// if there is no LUN of it.
func (c *copying) fill(ctx context.Context, source *backstore.Medium, b *file.Blank) (read int64, err error) {
	c.progress.Phase("copying", c.size)
	buffer := make([]byte, copyPiece)
	unsettled := int64(0)
	for off := int64(0); off < c.size; {
		if ctx.Err() != nil {
			return read, context.Cause(ctx)
		}
		e, err := source.ExtentAt(off, c.size-off)
		if err != nil {
			return read, err
		}
		for ; e.State == backstore.Mapped && off < e.End(); c.progress.Set(off) {
			if ctx.Err() != nil {
				return read, context.Cause(ctx)
			}
			p := buffer[:min(copyPiece-off%copyPiece, e.End()-off)]
			if err := c.read(source, p, off); err != nil {
				return read, err
			}
			n, err := writeData(b, p, off)
			if err != nil {
				return read, fmt.Errorf("the copy %s: %w", c.lun.Path, err)
			}
			if c.lun.Provisioning != configs.Fixed {
				c.taken.Add(n)
			}
			if unsettled += n; unsettled >= copySettle {
				if err := b.Settle(); err != nil {
					return read, fmt.Errorf("the copy %s: %w", c.lun.Path, err)
				}
				unsettled = 0
			}
			read += int64(len(p))
			off += int64(len(p))
		}
		off = max(off, e.End())
		c.progress.Set(off)
	}
	if err := b.Settle(); err != nil {
		return read, fmt.Errorf("the copy %s: %w", c.lun.Path, err)
	}
	m := removal{LUN: c.lun.Name, Path: c.lun.Path}
	if m.File, err = b.Identity(); err != nil {
		return read, err
	}
	return read, c.r.state.ChangeObjects(state.Documents{c.document(): m.record()})
}

// read fills p from off of source, and names the first block that cannot be read.
func (c *copying) read(source *backstore.Medium, p []byte, off int64) error {
	_, failure := source.ReadAt(p, off)
	if failure == nil {
		if c.Snapshot == "" { // nobody uses it
			source.UncacheAt(off, int64(len(p)))
		}
		return nil
	}
	block := int64(max(c.from.config.BlockSize, 1))
	for at := int64(0); at < int64(len(p)); at += block {
		_, err := source.ReadAt(p[at:min(at+block, int64(len(p)))], off+at)
		if err == nil {
			continue
		}
		return fmt.Errorf("block %d of %s cannot be read: %w", (off+at)/block, c.source(), err)
	}
	return nil // it can, the second time
}

// writeData writes what of p is not zeros to off, in pieces that a hole can be.
func writeData(b *file.Blank, p []byte, off int64) (written int64, err error) {
	for len(p) > 0 {
		n := min(copyHole-off%copyHole, int64(len(p)))
		if !backstore.IsZero(p[:n]) {
			if _, err := b.WriteAt(p[:n], off); err != nil {
				return written, err
			}
			written += n
		}
		p, off = p[n:], off+n
	}
	return written, nil
}

// enact makes the LUN of the image, and forgets that the image is to be removed, in one step.
func (c *copying) enact(ctx context.Context, batch Batch) (Report, error) {
	for !c.mu.TryLock() { // a change that waits for the end of the job has it
		select {
		case <-ctx.Done():
			return Report{}, context.Cause(ctx)
		case <-time.After(10 * time.Millisecond):
		}
	}
	defer c.mu.Unlock()
	return c.change(ctx, batch, state.Documents{c.document(): nil})
}

// undo removes the image, if there is one already, and what is recorded of it.
func (c *copying) undo() error {
	documents, err := state.Objects(c.r.plan.State)
	if err != nil || documents[c.document()] == nil {
		return err
	}
	m, err := parseRemoval(copyPrefix, c.document(), documents[c.document()])
	if err != nil {
		return err
	}
	if is, err := file.IdentityAt(m.Path); err == nil && is == m.File {
		if err := os.Remove(m.Path); err != nil {
			return err
		}
	}
	return c.r.state.ChangeObjects(state.Documents{c.document(): nil})
}

// copyPrefix begins the documents of images that are whole, and of which a LUN is to be
// made by the step that removes the document. They are as those of removals.
const copyPrefix = "copy-"

func isCopy(document string) bool {
	return strings.HasPrefix(document, copyPrefix) && strings.HasSuffix(document, removalSuffix)
}

// finishCopies removes images of which LUNs were to be made by a daemon that was killed
// before it could. mu is held.
func (s *Sides) finishCopies() {
	documents, err := state.Objects(s.config.State)
	if err != nil {
		s.log.WithError(err).Warn("images of copies that were not finished may be left")
		return
	}
	for name, text := range documents {
		if !isCopy(name) {
			continue
		}
		m, err := parseRemoval(copyPrefix, name, text)
		if err == nil {
			err = s.finishCopy(m)
		}
		log := s.log.WithField("lun", m.LUN)
		if errors.Is(err, errHangs) {
			log.WithError(err).Warnf("the image %s, of a copy that was not finished, is removed with the next start", m.Path)
			continue
		}
		if err = errors.Join(err, s.forgetRemoval(name)); err != nil {
			log.WithError(err).Warn("the image of a copy that was not finished may be left")
		}
	}
}

func (s *Sides) finishCopy(m removal) error {
	if _, err := s.questions.spaceAt(filepath.Dir(m.Path)); errors.Is(err, errHangs) {
		return err
	}
	is, err := file.IdentityAt(m.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist) || err == nil && is != m.File: // never named, or another file
		return nil
	case err != nil:
		return err
	}
	for name, u := range s.now.Load().units {
		if u.config.Path == m.Path {
			return fmt.Errorf("the image %s is not removed: LUN %q has it", m.Path, name)
		}
	}
	if err := os.Remove(m.Path); err != nil {
		return err
	}
	s.log.WithField("lun", m.LUN).Infof("image %s removed, of a copy that was not finished when the daemon was killed", m.Path)
	return nil
}

// promised are the copies that are being made: their images count before they have a name.
type promised struct {
	mu   sync.Mutex
	list map[*copying]bool
}

// promise counts the image of c until the call of what it gives.
func (q *questions) promise(c *copying) (end func()) {
	q.copies.mu.Lock()
	defer q.copies.mu.Unlock()
	if q.copies.list == nil {
		q.copies.list = map[*copying]bool{}
	}
	q.copies.list[c] = true
	return func() {
		q.copies.mu.Lock()
		defer q.copies.mu.Unlock()
		delete(q.copies.list, c)
	}
}

// addCopies counts what is promised to the copies that are being made.
func (q *questions) addCopies(pools map[string]*pool) {
	q.copies.mu.Lock()
	var list []*copying
	for c := range q.copies.list {
		list = append(list, c)
	}
	q.copies.mu.Unlock()
	for _, c := range list {
		space, err := q.spaceAt(filepath.Dir(c.lun.Path))
		if err != nil {
			continue
		}
		p := pools[space.Pool]
		if p == nil {
			space.Used = 0
			p = &pool{Space: space}
			pools[space.Pool] = p
		}
		taken := c.taken.Load()
		p.Used += max(min(taken, p.Capacity-p.Available-p.Used), 0)
		p.promised += c.size
		p.owed += max(c.size-taken, 0)
	}
}
