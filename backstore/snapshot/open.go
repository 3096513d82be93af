package snapshot

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/backstore/file"
)

const (
	// maxDepth bounds how many overlays may lie above each other: each is asked for
	// what those above it do not hold.
	maxDepth = 64

	// openTries bounds how often Open looks again when the image is replaced meanwhile.
	openTries = 10
)

// Open opens an image as file.Open does. Where it is an overlay the store is an Overlay
// above the snapshot; else it is the image's own, with no layer above it.
//
// An overlay is refused where it would be taken for what it is not: without the record
// beside it, above a file that is not its snapshot, or where the record wants an
// overlay and the image is none.
func Open(o file.Options) (backstore.Store, error) {
	i := At(o.Path)
	for range openTries {
		info, err := os.Stat(o.Path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			if err := i.makeWay(); err != nil {
				return nil, fmt.Errorf("image %s: %w", o.Path, err)
			}
			return file.Open(o)
		case err != nil || !info.Mode().IsRegular():
			return file.Open(o) // which says what is wrong
		}
		s, err := i.open(o)
		if errors.Is(err, errReplaced) {
			continue
		}
		return s, err
	}
	return nil, fmt.Errorf("image %s: %w", o.Path, errReplaced)
}

var errReplaced = errors.New("the image was replaced while it was opened")

// makeWay removes what was noted of an image that is gone, so that there can be a new
// one, unless it had snapshots.
func (i *Image) makeWay() error {
	r, err := readRecord(i.folder())
	if r == nil || err != nil {
		return err
	}
	if err := i.settle(r, mark{}); err != nil {
		return err
	}
	if len(r.Snapshots) > 0 {
		return fmt.Errorf("there is none, but there are snapshots of it in %s: put the image back, or move that folder away", i.folder())
	}
	return i.forget()
}

// Forget removes what is noted of the image, which was removed. It does nothing where
// there are snapshots still.
func (i *Image) Forget() error { return i.makeWay() }

// forget removes the record and its folder.
func (i *Image) forget() error {
	if err := i.steps.remove(recordFile(i.folder())); err != nil {
		return err
	}
	if err := ignoreMissing(os.Remove(spareOf(recordFile(i.folder())))); err != nil {
		return err
	}
	err := os.Remove(i.folder())
	if errors.Is(err, fs.ErrNotExist) || err != nil && i.hasOtherFiles() {
		return nil
	}
	return err
}

func (i *Image) hasOtherFiles() bool {
	names, err := os.ReadDir(i.folder())
	return err == nil && len(names) > 0
}

// open opens the image, which is there.
func (i *Image) open(o file.Options) (backstore.Store, error) {
	_, m, err := i.load()
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", o.Path, err)
	}
	own := o
	if !m.whole() {
		own.Create, own.Provisioning = false, file.Sparse
	}
	top, err := file.Open(own)
	if err != nil {
		return nil, err
	}
	if again, err := readMark(o.Path); err != nil || again != m {
		return nil, errors.Join(errReplaced, err, top.Close())
	}
	s, err := lay(top, o.Path, m, i.home(), o, 0)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", o.Path, err)
	}
	return s, nil
}

// OpenSnapshot opens the snapshot of this name for reading. Until it is closed the snapshot
// must not be deleted.
func (i *Image) OpenSnapshot(name string) (backstore.Store, error) {
	r, _, err := i.load()
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", i.path, err)
	}
	if r == nil {
		return nil, &NotFoundError{Name: name}
	}
	e, m, err := i.snapshot(r, name)
	if err != nil {
		return nil, err
	}
	return openFrozen(i.file(e), m.ID, file.Options{}, 0)
}

// lay puts the open file at path, whose mark is m, above what it needs. It closes the
// file if that fails.
func lay(top *file.Store, path string, m mark, home string, o file.Options, depth int) (backstore.Store, error) {
	if m.whole() {
		return top, nil
	}
	base, err := openFrozen(m.basePath(home), m.BaseID, o, depth+1)
	if err != nil {
		return nil, errors.Join(err, top.Close())
	}
	f, err := os.Open(path)
	if err == nil {
		defer f.Close()
		var block int
		if block, err = blockSize(int(f.Fd())); err == nil {
			var held *blockMap
			if held, err = heldBlocks(f, top.Geometry().Size, base.Geometry().Size, block); err == nil {
				return newOverlay(top, base, held, block, o.Provisioning == file.Fixed), nil
			}
		}
	}
	return nil, errors.Join(err, base.Close(), top.Close())
}

// openFrozen opens the snapshot at path, which has to be the one called id.
func openFrozen(path, id string, o file.Options, depth int) (backstore.Store, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("it lies above more than %d snapshots", maxDepth)
	}
	m, err := readMark(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the snapshot that it lies above, %s, is not there: put it back; without it the image is worth nothing", path)
	}
	if err != nil {
		return nil, err
	}
	r, err := readRecord(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	if r == nil {
		r = &record{}
	}
	if !r.is(id, m.ID) {
		return nil, fmt.Errorf("%s is not the snapshot that it lies above: it was replaced, or copied without its extended attributes; put the right one back", path)
	}
	s, err := file.Open(file.Options{Path: path, ReadOnly: true, Direct: o.Direct})
	if err != nil {
		return nil, err
	}
	return lay(s, path, m, parent(path), file.Options{Direct: o.Direct, ReadOnly: true}, depth)
}
