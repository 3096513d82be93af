package fiemap

import (
	"iter"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What an extent can be, from linux/fiemap.h.
const (
	Last      = 0x001  // it is the last of the file
	Unwritten = 0x800  // it has space, and no data: it reads as zeros
	Shared    = 0x2000 // another file has these blocks too
)

// An Extent is a range of a file that has space. Its numbers are bytes.
type Extent struct {
	Offset, Length int64
	Place          int64 // on the file system; 0: none yet
	Flags          uint32
}

// End is the first byte behind e.
func (e Extent) End() int64 { return e.Offset + e.Length }

// From linux/fs.h and linux/fiemap.h.
const (
	ioctl = 0xc020660b // FS_IOC_FIEMAP
	sync  = 0x1        // FIEMAP_FLAG_SYNC: what waits in the page cache is written first

	few, batch = 16, 128 // extents asked for at first, and later on, at once
)

type extent struct {
	logical, physical, length uint64
	_                         [2]uint64
	flags                     uint32
	_                         [3]uint32
}

type request struct {
	start, length        uint64
	flags, mapped, count uint32
	_                    uint32
	extents              [batch]extent
}

// Extents are those that reach into a range of the file that fd is open on, by offset, as
// they are; what waits in the page cache may have no place yet. The last one may come with an error
// of the system: unix.EOPNOTSUPP where the file system does not tell.
func Extents(fd int, off, length int64) iter.Seq2[Extent, error] { return extents(fd, off, length, 0) }

// Synced are Extents after what waits in the page cache has been written.
func Synced(fd int, off, length int64) iter.Seq2[Extent, error] {
	return extents(fd, off, length, sync)
}

func extents(fd int, off, length int64, flags uint32) iter.Seq2[Extent, error] {
	return func(yield func(Extent, error) bool) {
		var q request
		at, end := off, off+length
		for count := uint32(few); at < end; count = batch {
			q.start, q.length, q.flags, q.mapped, q.count = uint64(at), uint64(end-at), flags, 0, count
			_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), ioctl, uintptr(unsafe.Pointer(&q)))
			switch {
			case errno == unix.EINTR:
				continue
			case errno == unix.ENOTTY, errno == unix.EBADR:
				errno = unix.EOPNOTSUPP
			}
			if errno != 0 {
				yield(Extent{}, errno)
				return
			}
			mapped := min(q.mapped, count)
			for _, e := range q.extents[:mapped] {
				found := Extent{Offset: int64(e.logical), Length: int64(e.length), Place: int64(e.physical), Flags: e.flags}
				if !yield(found, nil) {
					return
				}
				at = found.End()
			}
			if mapped < count || q.extents[mapped-1].flags&Last != 0 {
				return
			}
		}
	}
}
