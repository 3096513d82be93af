package snapshot

import (
	"errors"
	"io/fs"
	"time"

	"golang.org/x/sys/unix"
)

// A Snapshot is what is known of one.
type Snapshot struct {
	Name      string
	Taken     time.Time
	File      string // path of its file
	Size      int64  // bytes of the LUN when it was taken
	Allocated int64  // bytes that du(1) tells of its file, those that other files have as well included
	Overlay   bool   // its file holds only what was written since the one below it
	Deleting  bool   // it is being merged into what lies above it
}

// Snapshots are those of the image, the oldest first.
func (i *Image) Snapshots() ([]Snapshot, error) {
	r, _, err := i.load()
	if err != nil {
		return nil, err
	}
	var all []Snapshot
	for _, e := range r.Snapshots {
		s := Snapshot{Name: e.Name, Taken: e.Taken, File: i.file(e), Deleting: e.Deleting}
		m, err := i.identify(r, e)
		if err != nil {
			return nil, err
		}
		s.Overlay = !m.whole()
		if s.Size, err = sizeOf(s.File); err == nil {
			s.Allocated, err = allocated(s.File)
		}
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted just now
		}
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// allocated is what du(1) tells of the file at path, in bytes.
func allocated(path string) (int64, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return 0, err
	}
	return st.Blocks * 512, nil
}
