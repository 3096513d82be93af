package snapshot

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// An Image is an image file with its snapshots. Its methods are called one at a time
// for all images that depend on each other. Those that say so need that nothing has the
// image open; those that say nothing of it may be called while it is served.
type Image struct {
	path  string
	steps steps
}

// At is the image at path.
func At(path string) *Image { return &Image{path: path} }

func (i *Image) folder() string { return Folder(i.path) }

// home is the folder from which the mark of a file names what is below it: that of the
// image, be the file the image or one of its snapshots.
func (i *Image) home() string { return filepath.Dir(i.path) }

// inHome is how a mark names the snapshot e.
func (i *Image) inHome(e entry) string { return filepath.Join(filepath.Base(i.folder()), e.File) }

func (i *Image) file(e entry) string { return filepath.Join(i.folder(), e.File) }

// load reads what is known of the image, and brings it to the state that the last step
// which took effect has made of it.
func (i *Image) load() (*record, mark, error) {
	m, err := readMark(i.path)
	if err != nil {
		return nil, m, err
	}
	r, err := readRecord(i.folder())
	switch {
	case err != nil:
		return nil, m, err
	case r == nil && !m.whole():
		return nil, m, fmt.Errorf("it holds only what was written since a snapshot, and the record of it, %s, is not there: put the folder %s back beside the image; alone the image is worth nothing", recordFile(i.folder()), filepath.Base(i.folder()))
	case r == nil:
		return &record{Image: []string{m.ID}}, m, nil
	case !slices.Contains(r.Image, m.ID):
		return nil, m, fmt.Errorf("it is not the file that %s tells of: it was replaced, or copied without its extended attributes (cp --preserve=all, rsync -X); put the right one back, or move the folder %s away if the image is whole without it", recordFile(i.folder()), filepath.Base(i.folder()))
	}
	return r, m, i.settle(r, m)
}

// settle forgets what never came to be, and what is gone. It changes r only.
func (i *Image) settle(r *record, m mark) error {
	r.Image = []string{m.ID}
	var kept []entry
	for _, e := range r.Snapshots {
		if e.ID == m.ID && m.ID != "" {
			continue // the image was to become this snapshot, and is still the image
		}
		switch _, err := os.Lstat(i.file(e)); {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return err
		}
		kept = append(kept, e)
	}
	r.Snapshots = kept
	if r.Merging != nil && !slices.ContainsFunc(kept, func(e entry) bool { return e.ID == r.Merging.From }) {
		r.Merging = nil
	}
	return nil
}

// begin is load for a change: what an interrupted one has left behind is removed, and
// the record says so.
func (i *Image) begin() (*record, mark, error) {
	r, m, err := i.load()
	if err != nil {
		return nil, m, err
	}
	before, err := readRecord(i.folder())
	if err != nil || before == nil {
		return r, m, err
	}
	for _, e := range before.Snapshots {
		if e.ID == m.ID && m.ID != "" {
			if err := i.removeLink(e); err != nil {
				return nil, m, err
			}
		}
	}
	left, err := filepath.Glob(filepath.Join(escape(i.folder()), ".isantarget-*.new"))
	if err != nil {
		return nil, m, err
	}
	for _, name := range left {
		if err := os.Remove(name); err != nil {
			return nil, m, err
		}
	}
	if len(before.Image) == len(r.Image) && len(before.Snapshots) == len(r.Snapshots) && (before.Merging == nil) == (r.Merging == nil) {
		return r, m, nil
	}
	return r, m, r.write(i.steps, i.folder())
}

// removeLink removes the second name that the image got when e was to be taken.
func (i *Image) removeLink(e entry) error {
	image, err := os.Stat(i.path)
	if err != nil {
		return err
	}
	other, err := os.Lstat(i.file(e))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil || !os.SameFile(image, other) {
		return err
	}
	return i.steps.remove(i.file(e))
}

// escape takes their meaning from the characters of a path that Glob would read.
func escape(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// snapshot finds the snapshot of this name, which must not be on its way out.
func (i *Image) snapshot(r *record, name string) (entry, mark, error) {
	n := r.find(name)
	if n < 0 {
		return entry{}, mark{}, &NotFoundError{Name: name, Known: r.names()}
	}
	e := r.Snapshots[n]
	if e.Deleting {
		return e, mark{}, fmt.Errorf("the snapshot %q is being deleted; what it held is gone", name)
	}
	m, err := i.identify(r, e)
	return e, m, err
}

// identify is the mark of the file of e, if it is that.
func (i *Image) identify(r *record, e entry) (mark, error) {
	m, err := readMark(i.file(e))
	if err == nil && !r.is(e.ID, m.ID) {
		err = fmt.Errorf("%s is not the file of the snapshot %q: it was replaced, or copied without its extended attributes", i.file(e), e.Name)
	}
	return m, err
}

func (r *record) names() []string {
	var names []string
	for _, e := range r.Snapshots {
		names = append(names, e.Name)
	}
	return names
}

// A NotFoundError says that an image has no snapshot of a name.
type NotFoundError struct {
	Name  string
	Known []string
}

// Error says which there are.
func (e *NotFoundError) Error() string {
	if len(e.Known) == 0 {
		return fmt.Sprintf("there is no snapshot %q; there are none", e.Name)
	}
	return fmt.Sprintf("there is no snapshot %q; there are: %s", e.Name, strings.Join(e.Known, ", "))
}

// sizeOf is the length of the file at path.
func sizeOf(path string) (int64, error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
