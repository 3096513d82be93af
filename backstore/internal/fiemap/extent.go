package fiemap

import (
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
	Flags          uint32
}

// End is the first byte behind e.
func (e Extent) End() int64 { return e.Offset + e.Length }

// From linux/fs.h and linux/fiemap.h.
const (
	ioctl = 0xc020660b // FS_IOC_FIEMAP
	sync  = 0x1        // FIEMAP_FLAG_SYNC: what waits in the page cache is written first
	batch = 512        // extents asked for at once
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

// Each calls f with each extent of the first size bytes of the file that fd is open
// on, by offset, after what waits in the page cache has been written. It ends with
// the first error of f, or of the system: unix.EOPNOTSUPP where the file system does
// not tell.
func Each(fd int, size int64, f func(Extent) error) error {
	q := new(request)
	for at := int64(0); at < size; {
		*q = request{start: uint64(at), length: uint64(size - at), flags: sync, count: batch}
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), ioctl, uintptr(unsafe.Pointer(q)))
		switch {
		case errno == unix.EINTR:
			continue
		case errno == unix.ENOTTY, errno == unix.EBADR:
			return unix.EOPNOTSUPP
		case errno != 0:
			return errno
		}
		for _, e := range q.extents[:min(q.mapped, batch)] {
			found := Extent{Offset: int64(e.logical), Length: int64(e.length), Flags: e.flags}
			if err := f(found); err != nil {
				return err
			}
			at = found.End()
		}
		if q.mapped == 0 || q.extents[min(q.mapped, batch)-1].flags&Last != 0 {
			return nil
		}
	}
	return nil
}
