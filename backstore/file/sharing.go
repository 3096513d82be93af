package file

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/backstore/internal/fiemap"
)

// Sharing is what of an image other files have as well. Amounts are bytes.
type Sharing struct {
	Mapped int64 // that the file has blocks for, without those that wait for what is being written
	Shared int64 // the part of Mapped that another file has too, or the same one elsewhere
	Places []Run // of what is shared; nil also where they are too many
}

// A Run is a range of bytes of a file system: From, and up to To.
type Run struct{ From, To int64 }

// A SharingWalk goes through the extents of an image, a bounded number at a time.
type SharingWalk struct {
	Sharing        // of what has been seen
	NoPlaces bool  // are remembered
	at       int64 // what is to be seen next
	tooMany  bool  // places
	finished bool
}

// placesKept bounds the memory that a walk takes: 16 bytes for each.
const placesKept = 1 << 16

// Finished tells whether all of the image has been seen.
func (w *SharingWalk) Finished() bool { return w.finished }

// Placed tells whether Places are all that were seen.
func (w *SharingWalk) Placed() bool { return !w.NoPlaces && !w.tooMany }

// Step sees as many extents more of the image at path, or what there is. It refuses with
// errors.ErrUnsupported where the file system does not tell (FIEMAP).
func (w *SharingWalk) Step(path string, extents int) error {
	fd, err := openToLook(path)
	if err != nil {
		return fmt.Errorf("what %s shares: %w", path, err)
	}
	defer func() { _ = unix.Close(fd) }()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("what %s shares: %w", path, err)
	}
	for e, err := range fiemap.Extents(fd, w.at, st.Size-w.at) {
		if err == unix.EOPNOTSUPP {
			err = errors.ErrUnsupported
		}
		if err != nil {
			return fmt.Errorf("what %s shares: %w", path, err)
		}
		w.see(e, st.Size)
		if extents--; extents <= 0 {
			return nil
		}
	}
	w.finished = true
	return nil
}

// see counts an extent, but for what of it was counted already, or lies behind the end.
func (w *SharingWalk) see(e fiemap.Extent, size int64) {
	from, to := max(e.Offset, w.at), min(e.End(), size)
	if from >= to {
		return
	}
	w.at = to
	w.Mapped += to - from
	if e.Flags&fiemap.Shared == 0 {
		return
	}
	w.Shared += to - from
	if e.Place == 0 || !w.Placed() {
		return
	}
	place := Run{e.Place + from - e.Offset, e.Place + to - e.Offset}
	if n := len(w.Places); n > 0 && w.Places[n-1].To == place.From {
		w.Places[n-1].To = place.To
		return
	}
	if len(w.Places) == placesKept {
		w.Places, w.tooMany = nil, true
		return
	}
	w.Places = append(w.Places, place)
}

// A Trace is what changes of an image, or of its file system, when what it shares may
// have. Two that are equal say that nothing was written.
type Trace struct {
	Image      ImageTrace
	FileSystem FileSystemTrace
	// Sharing: the file system is of a kind that can have blocks in several files.
	Sharing bool
}

// An ImageTrace is that of the file alone.
type ImageTrace struct {
	Device, Inode    uint64
	Size, Blocks     int64
	Changed, Written unix.Timespec
}

// A FileSystemTrace is what is free.
type FileSystemTrace struct{ Blocks, Files uint64 }

// TraceAt is the trace of the image at path.
func TraceAt(path string) (Trace, error) {
	fd, err := openToLook(path)
	if err != nil {
		return Trace{}, fmt.Errorf("what %s shares: %w", path, err)
	}
	defer func() { _ = unix.Close(fd) }()
	var st unix.Stat_t
	var system unix.Statfs_t
	if err := errors.Join(unix.Fstat(fd, &st), unix.Fstatfs(fd, &system)); err != nil {
		return Trace{}, fmt.Errorf("what %s shares: %w", path, err)
	}
	return Trace{
		Image:      ImageTrace{st.Dev, st.Ino, st.Size, st.Blocks, st.Ctim, st.Mtim},
		FileSystem: FileSystemTrace{system.Bfree, system.Ffree},
		Sharing:    canShare(int64(system.Type)),
	}, nil
}

// canShare tells whether a kind of file system can have blocks in several files. Of one
// that is not known here it is taken to be so.
func canShare(kind int64) bool {
	switch kind {
	case unix.EXT4_SUPER_MAGIC, unix.TMPFS_MAGIC, unix.RAMFS_MAGIC, unix.F2FS_SUPER_MAGIC, unix.MSDOS_SUPER_MAGIC, unix.EXFAT_SUPER_MAGIC:
		return false // ext2 and ext3 have the number of ext4
	}
	return true
}

func openToLook(path string) (int, error) {
	return retry(func() (int, error) { return unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0) })
}
