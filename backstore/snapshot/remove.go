package snapshot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/backstore/internal/fiemap"
)

// A Removal is what has to be done yet before a snapshot is gone.
type Removal struct {
	Done bool // it is gone

	// What lies above the snapshot has to be merged into it: the image, or another
	// snapshot. Bytes is what the one above holds, at most.
	Image bool
	Bytes int64

	above string // id of that one
}

// An above is what lies above a snapshot.
type above struct {
	mark  mark
	path  string
	image bool
	entry int // of the snapshot that it is, in the record
	clone bool
}

func (i *Image) above(r *record, m mark, e entry) ([]above, error) {
	var all []above
	if m.BaseID == e.ID {
		all = append(all, above{mark: m, path: i.path, image: true})
	}
	for n, other := range r.Snapshots {
		o, err := i.identify(r, other)
		if err != nil {
			return nil, err
		}
		if o.BaseID == e.ID && other.ID != e.ID {
			all = append(all, above{mark: o, path: i.file(other), entry: n})
		}
	}
	for _, c := range i.living(r) {
		if c.Base == e.ID {
			all = append(all, above{path: c.told(), clone: true})
		}
	}
	return all, nil
}

// Remove deletes a snapshot where nothing lies above it. Else it tells what has to be
// merged first (see Merge), and from then on the snapshot can only be deleted. It is
// refused where more than one thing depends on it, and where there is no space for what
// has to be merged: that would fill the file system up for nothing.
func (i *Image) Remove(name string) (Removal, error) {
	r, m, err := i.begin()
	if err != nil {
		return Removal{}, err
	}
	n := r.find(name)
	if n < 0 {
		return Removal{}, &NotFoundError{Name: name, Known: r.names()}
	}
	e := r.Snapshots[n]
	if _, err := i.identify(r, e); err != nil {
		return Removal{}, err
	}
	all, err := i.above(r, m, e)
	if err != nil {
		return Removal{}, err
	}
	if err := refuseShared(r, e, all); err != nil {
		return Removal{}, err
	}
	if len(all) == 0 {
		return Removal{Done: true}, i.drop(r, e)
	}
	if err := i.refuseFull(e, all[0]); err != nil {
		return Removal{}, err
	}
	if !e.Deleting {
		r.Snapshots[n].Deleting = true
		if err := r.write(i.steps, i.folder()); err != nil {
			return Removal{}, err
		}
	}
	bytes, err := allocated(all[0].path)
	return Removal{Image: all[0].image, Bytes: bytes, above: all[0].mark.ID}, err
}

// refuseShared says who depends on e, if that keeps it.
func refuseShared(r *record, e entry, all []above) error {
	var clones, snapshots []string
	for _, a := range all {
		switch {
		case a.clone:
			clones = append(clones, a.path)
		case !a.image:
			snapshots = append(snapshots, r.Snapshots[a.entry].Name)
		}
	}
	if len(clones) > 0 {
		return fmt.Errorf("the snapshot %q cannot be deleted: clones lie above it: %s; delete them first, or copy them", e.Name, strings.Join(clones, ", "))
	}
	if len(all) > 1 {
		return fmt.Errorf("the snapshot %q cannot be deleted: more than one thing lies above it; delete first: %s", e.Name, strings.Join(snapshots, ", "))
	}
	return nil
}

// refuseFull says what is missing where what a holds cannot be merged into the file of e
// with the space that there is. What both hold takes none.
func (i *Image) refuseFull(e entry, a above) error {
	var system unix.Statfs_t
	if err := unix.Statfs(i.file(e), &system); err != nil {
		return err
	}
	left, marks := int64(system.Bavail)*system.Bsize, int64(0)
	if system.Type != unix.EXT4_SUPER_MAGIC {
		marks = marksTake
	}
	if most, err := allocated(a.path); err != nil || most+marks <= left {
		return err
	}
	more, err := mergeTakes(a.path, i.file(e))
	if more += marks; err == nil && more > left {
		err = fmt.Errorf("to delete the snapshot %q, what was written since is merged into it, which takes %d KiB more, and its file system has %d KiB left: make room first (%w)",
			e.Name, (more+1023)>>10, left>>10, unix.ENOSPC)
	}
	return err
}

// marksTake is what must be free for an attribute to be changed. XFS wants to have some
// blocks then, also where it takes none; ext4 writes over those that are there.
const marksTake = 256 << 10

// mergeTakes is how many bytes of space the file at into takes when what the one at from
// holds is merged into it: those that it has no blocks of its own for.
func mergeTakes(from, into string) (more int64, err error) {
	upper, err := os.Open(from)
	if err != nil {
		return 0, err
	}
	defer upper.Close()
	lower, err := os.Open(into)
	if err != nil {
		return 0, err
	}
	defer lower.Close()
	block, err := blockSize(int(upper.Fd()))
	if err != nil {
		return 0, err
	}
	info, err := upper.Stat()
	if err != nil {
		return 0, err
	}
	below, err := lower.Stat()
	if err != nil {
		return 0, err
	}
	var failed error
	err = heldRuns(upper, info.Size(), below.Size(), int64(block), func(first, last int64) {
		off, length := first*int64(block), (last-first)*int64(block)
		more += length
		for x, err := range fiemap.Extents(int(lower.Fd()), off, length) {
			if err != nil {
				failed = err
				return
			}
			if x.Flags&fiemap.Shared == 0 {
				more -= max(min(x.End(), off+length)-max(x.Offset, off), 0)
			}
		}
	})
	return more, errors.Join(err, failed)
}

// drop removes the file of e, and then what is noted of it.
func (i *Image) drop(r *record, e entry) error {
	if err := i.steps.remove(i.file(e)); err != nil {
		return err
	}
	r.Snapshots = slices.DeleteFunc(r.Snapshots, func(o entry) bool { return o.ID == e.ID })
	return i.tidy(r)
}

// tidy writes r, or removes it when it says nothing any more.
func (i *Image) tidy(r *record) error {
	m, err := readMark(i.path)
	if err != nil {
		return err
	}
	r.Clones = i.living(r)
	if len(r.Snapshots) == 0 && len(r.Clones) == 0 && m.whole() {
		return i.forget()
	}
	return r.write(i.steps, i.folder())
}

// Freeze is the step of a removal for an image that has much to be merged while it is
// served: what it holds becomes a snapshot that is merged next. Nothing may have the
// image open.
func (i *Image) Freeze(name string, to Removal) error {
	r, m, err := i.begin()
	if err != nil {
		return err
	}
	n := r.find(name)
	if n < 0 || m.ID != to.above || !r.Snapshots[n].Deleting {
		return errChanged
	}
	e := r.Snapshots[n]
	e.File = name + "." + newID() + ".img"
	size, err := sizeOf(i.path)
	if err != nil {
		return err
	}
	return i.freeze(r, m, e, size)
}

var errChanged = errors.New("the snapshots have changed meanwhile; try again")

// Merge brings what lies above a snapshot into its file, durably; nothing that is read
// changes by it. It may be broken off (ctx) and begun again. While the snapshot is below
// the image itself nothing may have that open; else it may be served meanwhile. With
// thick the file keeps all its space. step hears of each piece how many bytes it has.
func (i *Image) Merge(ctx context.Context, name string, to Removal, thick bool, step func(int64)) error {
	e, a, m, err := i.merging(name, to)
	if err != nil {
		return err
	}
	from, err := os.Open(a.path)
	if err != nil {
		return err
	}
	defer from.Close()
	into, err := os.OpenFile(i.file(e), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	size, err := sizeOf(a.path)
	if err == nil {
		err = mergeFile(ctx, from, into, size, m.whole() && !thick, step)
	}
	return errors.Join(err, into.Close())
}

// merging finds the snapshot, what lies above it, and the snapshot's mark.
func (i *Image) merging(name string, to Removal) (e entry, a above, m mark, err error) {
	r, image, err := i.load()
	if err != nil {
		return e, a, m, err
	}
	n := r.find(name)
	if n < 0 || !r.Snapshots[n].Deleting {
		return e, a, m, errChanged
	}
	e = r.Snapshots[n]
	if m, err = i.identify(r, e); err != nil {
		return e, a, m, err
	}
	all, err := i.above(r, image, e)
	if err == nil && (len(all) != 1 || all[0].mark.ID != to.above || all[0].clone) {
		err = errChanged
	}
	if err != nil {
		return e, a, m, err
	}
	return e, all[0], m, nil
}

// mergeStep is what is copied at once, and syncStep after how much it is made durable,
// so that a sync at the end does not take long.
const (
	mergeStep = 1 << 20
	syncStep  = 256 << 20
)

// mergeFile writes what from holds of size bytes into the file into. With punch blocks
// of zeros give their space back.
func mergeFile(ctx context.Context, from, into *os.File, size int64, punch bool, step func(int64)) error {
	block, err := blockSize(int(from.Fd()))
	if err != nil {
		return err
	}
	info, err := into.Stat()
	if err == nil && info.Size() < size {
		err = into.Truncate(size)
	}
	if err != nil {
		return err
	}
	buffer := make([]byte, mergeStep)
	unsynced := int64(0)
	var failed error
	err = heldRuns(from, size, info.Size(), int64(block), func(first, last int64) {
		end := min(last*int64(block), size)
		for at := first * int64(block); at < end && failed == nil; {
			p := buffer[:min(end-at, mergeStep)]
			if failed = ctx.Err(); failed == nil {
				failed = mergePiece(from, into, p, at, punch)
			}
			at += int64(len(p))
			step(int64(len(p)))
			if unsynced += int64(len(p)); unsynced >= syncStep && failed == nil {
				failed = unix.Fdatasync(int(into.Fd()))
				unsynced = 0
			}
		}
	})
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	return into.Sync()
}

func mergePiece(from, into *os.File, p []byte, at int64, punch bool) error {
	if _, err := from.ReadAt(p, at); err != nil {
		return err
	}
	if punch && backstore.IsZero(p) {
		err := unix.Fallocate(int(into.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, at, int64(len(p)))
		if err == nil {
			return nil
		}
	}
	_, err := into.WriteAt(p, at)
	return err
}

// Join ends what Merge has begun: the file of the snapshot takes the place of what was
// above it. Nothing may have the image open.
func (i *Image) Join(name string, to Removal) error {
	e, a, m, err := i.merging(name, to)
	if err != nil {
		return err
	}
	r, _, err := i.begin()
	if err != nil {
		return err
	}
	if m.ID != e.ID { // by a Join that was cut short, and perhaps for another place
		m.ID = e.ID
		if err := writeMark(i.steps, i.file(e), m); err != nil {
			return err
		}
	}
	into := a.mark.ID
	if a.image {
		into = newID()
		r.Image = []string{a.mark.ID, into}
	}
	r.Merging = &merge{From: e.ID, Into: into}
	if err := r.write(i.steps, i.folder()); err != nil {
		return err
	}
	m.ID = into
	if err := writeMark(i.steps, i.file(e), m); err != nil {
		return err
	}
	if err := i.steps.rename(i.file(e), a.path); err != nil {
		return err
	}
	if r, _, err = i.begin(); err != nil {
		return err
	}
	return i.tidy(r)
}
