package snapshot

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"
)

// Take takes a snapshot of the image: of what it holds at this moment, durably. The
// image must not change meanwhile. Unless it [Image.Shares]
// its blocks nothing may have it open, for it becomes an overlay.
//
// Whatever fails, and whenever the machine stops: there is no snapshot and the image is
// as it was, or there is one.
func (i *Image) Take(name string, now time.Time) error {
	if err := CheckName(name); err != nil {
		return err
	}
	r, m, err := i.begin()
	if err != nil {
		return err
	}
	if r.find(name) >= 0 {
		return fmt.Errorf("there is a snapshot %q already; take another name", name)
	}
	e := entry{Name: name, Taken: now.UTC().Truncate(time.Second), File: name + ".img"}
	return i.take(r, m, e)
}

// Shares tells whether a snapshot can share the blocks of the image, so that it may stay
// open, and does not become an overlay. It tries.
func (i *Image) Shares() (bool, error) {
	_, m, err := i.load()
	if err != nil || !m.whole() {
		return false, err
	}
	size, err := sizeOf(i.path)
	if err != nil {
		return false, err
	}
	made, err := reflink(i.path, i.home(), mark{}, size)
	if errors.Is(err, errors.ErrUnsupported) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, os.Remove(made)
}

// CheckName tells whether a snapshot can be called so.
func CheckName(name string) error {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
	if name == "" || len(name) > 64 || strings.Trim(name, letters) != "" || strings.ContainsAny(name[:1], ".-") {
		return fmt.Errorf("%q cannot name a snapshot; use up to 64 of a-z A-Z 0-9 . _ - and begin with a letter or digit", name)
	}
	return nil
}

func (i *Image) take(r *record, m mark, e entry) error {
	if _, err := os.Lstat(i.file(e)); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(err, fmt.Errorf("%s is there already, and nothing is known of it: move it away", i.file(e)))
	}
	size, err := sizeOf(i.path)
	if err != nil {
		return err
	}
	if err := i.steps.makeFolder(i.folder()); err != nil {
		return err
	}
	if m.whole() {
		err := i.takeShared(r, e, size)
		if !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
	}
	return i.freeze(r, m, e, size)
}

// takeShared takes the snapshot e by sharing blocks.
func (i *Image) takeShared(r *record, e entry, size int64) error {
	e.ID = newID()
	made, err := reflink(i.path, i.folder(), mark{ID: e.ID}, size)
	if err != nil {
		return err
	}
	before := len(r.Snapshots)
	r.Snapshots = append(r.Snapshots, e)
	if err = r.write(i.steps, i.folder()); err == nil {
		err = i.steps.place(made, i.file(e))
	}
	if err == nil {
		return nil
	}
	r.Snapshots = r.Snapshots[:before]
	return errors.Join(err, ignoreMissing(os.Remove(made)), r.write(i.steps, i.folder()))
}

// freeze makes the image itself the snapshot e, and puts an empty overlay in its place.
func (i *Image) freeze(r *record, m mark, e entry, size int64) error {
	if depth, err := i.depth(m); err != nil || depth >= maxDepth {
		return errors.Join(err, fmt.Errorf("there are %d snapshots below each other, and there can be no more; delete some", depth))
	}
	e.ID = m.ID
	if e.ID == "" {
		e.ID = newID()
	}
	top := mark{ID: newID(), Base: i.inHome(e), BaseID: e.ID}
	made, err := makeOverlay(i.folder(), top, size)
	if err != nil {
		return err
	}
	r.Image = []string{m.ID, e.ID, top.ID}
	r.Snapshots = append(r.Snapshots, e)
	err = r.write(i.steps, i.folder())
	if err == nil && m.ID == "" {
		err = i.markImage(mark{ID: e.ID})
	}
	if err == nil {
		err = i.steps.link(i.path, i.file(e))
	}
	if err == nil {
		err = i.steps.rename(made, i.path)
	}
	if err != nil {
		_, _, again := i.begin() // finds out what has happened, and clears away
		return errors.Join(err, ignoreMissing(os.Remove(made)), again)
	}
	r.Image = []string{top.ID}
	return r.write(i.steps, i.folder())
}

// markImage gives the image a mark, durably.
func (i *Image) markImage(m mark) error { return writeMark(i.steps, i.path, m) }

func writeMark(s steps, path string, m mark) error {
	s.step("mark")
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err = m.write(int(f.Fd())); err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// depth is how many files lie below one with the mark m.
func (i *Image) depth(m mark) (int, error) {
	n, home := 0, i.home()
	for ; !m.whole() && n < maxDepth; n++ {
		path := m.basePath(home)
		var err error
		if m, err = readMark(path); err != nil {
			return n, err
		}
		home = parent(path)
	}
	return n, nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Undo takes back a snapshot that has just been taken, before anything was written.
// Nothing may have the image open.
func (i *Image) Undo(name string) error {
	r, m, err := i.begin()
	if err != nil {
		return err
	}
	e, _, err := i.snapshot(r, name)
	if err != nil {
		return err
	}
	if m.BaseID != e.ID {
		return i.drop(r, e)
	}
	r.Image = []string{m.ID, e.ID}
	if err := r.write(i.steps, i.folder()); err != nil {
		return err
	}
	if err := i.steps.rename(i.file(e), i.path); err != nil {
		return err
	}
	r, _, err = i.begin()
	return errors.Join(err, i.tidy(r))
}
