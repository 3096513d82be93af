package snapshot

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Rollback makes the image what it was when the snapshot was taken; what has been
// written since is gone, but for what other snapshots keep. Nothing may have the image
// open. It does not become shorter: a LUN that has grown since keeps its size, and
// reads zeros behind what the snapshot has.
func (i *Image) Rollback(name string) error {
	r, before, err := i.begin()
	if err != nil {
		return err
	}
	e, m, err := i.snapshot(r, name)
	if err != nil {
		return err
	}
	size, err := sizeOf(i.path)
	if err != nil {
		return err
	}
	made, id, err := i.newAbove(e, m, i.folder(), i.inHome(e), size)
	if err != nil {
		return err
	}
	r.Image = []string{before.ID, id}
	if err = r.write(i.steps, i.folder()); err == nil {
		err = i.steps.rename(made, i.path)
	}
	if err != nil {
		_, _, again := i.begin()
		return errors.Join(err, ignoreMissing(os.Remove(made)), again)
	}
	r.Image = []string{id}
	return r.write(i.steps, i.folder())
}

// newAbove makes a file in a folder that has the content of the snapshot e, whose mark
// is m: one that shares its blocks, or an overlay above it, which its mark calls base.
// It is as long as e, and not less than size.
func (i *Image) newAbove(e entry, m mark, folder, base string, size int64) (path, id string, err error) {
	long, err := sizeOf(i.file(e))
	if err != nil {
		return "", "", err
	}
	id, size = newID(), max(size, long)
	if m.whole() {
		path, err = reflink(i.file(e), folder, mark{ID: id}, size)
		if !errors.Is(err, errors.ErrUnsupported) {
			return path, id, err
		}
	}
	path, err = makeOverlay(folder, mark{ID: id, Base: base, BaseID: e.ID}, size)
	return path, id, err
}

// Clone makes an image of its own at path, which must not be there yet, with the content
// of a snapshot: one that shares its blocks and depends on nothing or, where the file
// system cannot share, an overlay above the snapshot, which cannot be deleted before.
func (i *Image) Clone(name, path string) error {
	r, _, err := i.begin()
	if err != nil {
		return err
	}
	e, m, err := i.snapshot(r, name)
	if err != nil {
		return err
	}
	size, err := sizeOf(i.file(e))
	if err != nil {
		return err
	}
	to := At(path)
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(err, fmt.Errorf("%s is there already", path))
	}
	if err := to.makeWay(); err != nil {
		return fmt.Errorf("image %s: %w", path, err)
	}
	if m.whole() {
		made, err := reflink(i.file(e), i.folder(), mark{}, size)
		if err == nil {
			if err = i.steps.place(made, path); err == nil {
				return nil
			}
			_ = os.Remove(made)
		}
		if !errors.Is(err, errors.ErrUnsupported) && !isElsewhere(err) {
			return err
		}
	}
	return i.cloneAbove(r, e, to, size)
}

// cloneAbove makes the image to, an overlay above e.
func (i *Image) cloneAbove(r *record, e entry, to *Image, size int64) error {
	base, err := filepath.Rel(to.home(), i.file(e))
	if err != nil {
		base = i.file(e)
	}
	own := mark{ID: newID(), Base: base, BaseID: e.ID}
	noted := clone{Path: to.path, ID: own.ID, Base: e.ID}
	ours, err := mountPoint(i.home())
	if err != nil {
		return err
	}
	switch theirs, err := mountPoint(to.home()); {
	case err != nil:
		return err
	case theirs != ours:
		noted.Mount = theirs
	}
	r.Clones = append(i.living(r), noted)
	if err := r.write(i.steps, i.folder()); err != nil {
		return err
	}
	if err := (&record{Image: []string{own.ID}}).write(i.steps, to.folder()); err != nil {
		return err
	}
	made, err := makeOverlay(to.folder(), own, size)
	if err == nil {
		if err = i.steps.place(made, to.path); err != nil {
			_ = os.Remove(made)
		}
	}
	if err != nil {
		return errors.Join(err, to.makeWay())
	}
	return nil
}

// living are the clones of r that are there, and those that may be.
func (i *Image) living(r *record) []clone {
	var kept []clone
	for _, c := range r.Clones {
		if _, err := cloneFile(c); !errors.Is(err, fs.ErrNotExist) || c.away() {
			kept = append(kept, c)
		}
	}
	return kept
}

// cloneFile is what still lies above the snapshot of a clone: its image or, if that has
// snapshots of its own, the oldest of them. fs.ErrNotExist: nothing does any more.
func cloneFile(c clone) (string, error) {
	m, err := readMark(c.Path)
	if err == nil && m.ID == c.ID {
		return c.Path, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	names, err := filepath.Glob(filepath.Join(escape(Folder(c.Path)), "*.img"))
	if err != nil {
		return "", err
	}
	for _, name := range append(names, c.Path) {
		m, err := readMark(name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		if m.BaseID == c.Base {
			return name, nil
		}
	}
	return "", fs.ErrNotExist
}

// isElsewhere tells whether a file could not be placed since it is on another file system.
func isElsewhere(err error) bool { return errors.Is(err, unix.EXDEV) }

// Below tells whether the image at path depends on a snapshot: it is an overlay.
func Below(path string) (bool, error) {
	m, err := readMark(path)
	return !m.whole(), err
}

// Above tells whether anything depends on a snapshot.
func (i *Image) Above(name string) (bool, error) {
	r, m, err := i.load()
	if err != nil {
		return false, err
	}
	e, _, err := i.snapshot(r, name)
	if err != nil {
		return false, err
	}
	all, err := i.above(r, m, e)
	return len(all) > 0, err
}
