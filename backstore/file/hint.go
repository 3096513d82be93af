package file

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// extentHint is in what units XFS takes the space of a sparse image, aligned to that: what
// is written here and there, by turns with other images, lies together in pieces of this
// size at least. It is what QEMU gives its images. What is taken and not written stays
// unwritten, counts as allocated, and is given back by UNMAP as any other.
const extentHint = 1 << 20

// hintExtents sets the extent size hint of a new file, before it has any block. It is a
// hint: most file systems have none, and nothing fails without it.
func hintExtents(fd int) {
	var a fileAttributes
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), ioctlGetAttributes, uintptr(unsafe.Pointer(&a))); errno != 0 {
		return
	}
	a.flags |= flagExtentSize
	a.extentSize = extentHint
	_, _, _ = unix.Syscall(unix.SYS_IOCTL, uintptr(fd), ioctlSetAttributes, uintptr(unsafe.Pointer(&a)))
}

// fileAttributes is struct fsxattr of linux/fs.h: 28 bytes.
type fileAttributes struct {
	flags, extentSize, _, _, _ uint32
	_                          [8]byte
}

// From linux/fs.h.
const (
	ioctlGetAttributes = 0x801c581f // FS_IOC_FSGETXATTR
	ioctlSetAttributes = 0x401c5820 // FS_IOC_FSSETXATTR
	flagExtentSize     = 0x800      // FS_XFLAG_EXTSIZE
)
