package snapshot

import (
	"errors"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/backstore/internal/fiemap"
)

// A Snapshot is what is known of one.
type Snapshot struct {
	Name     string
	Taken    time.Time
	File     string // path of its file
	Size     int64  // bytes of the LUN when it was taken
	Usage    Usage
	Overlay  bool // its file holds only what was written since the one below it
	Deleting bool // it is being merged into what lies above it
}

// Usage is what a file takes of its file system, in bytes.
type Usage struct {
	Own    int64 // what would be free without it
	Shared int64 // what another file has as well
}

// Allocated is what du(1) tells of the file.
func (u Usage) Allocated() int64 { return u.Own + u.Shared }

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
			s.Usage, err = UsageOf(s.File)
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

// UsageOf asks the file system what the file at path takes. Where it does not know of
// blocks that are shared, none are.
func UsageOf(path string) (Usage, error) {
	f, err := os.Open(path)
	if err != nil {
		return Usage{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return Usage{}, err
	}
	var shared int64
	err = fiemap.Each(int(f.Fd()), max(info.Size(), 1), func(e fiemap.Extent) error {
		if e.Flags&fiemap.Shared != 0 {
			shared += e.Length
		}
		return nil
	})
	if err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
		return Usage{}, err
	}
	all, err := allocated(path)
	shared = min(shared, all)
	return Usage{Own: all - shared, Shared: shared}, err
}

// allocated is what du(1) tells of the file at path, in bytes.
func allocated(path string) (int64, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return 0, err
	}
	return st.Blocks * 512, nil
}
