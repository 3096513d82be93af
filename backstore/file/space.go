package file

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/backstore"
)

// Space implements backstore.SpaceTeller.
func (s *Store) Space() (space backstore.Space, err error) {
	err = s.descriptor.Control(func(fd int) error {
		space, err = spaceOf(fd)
		return err
	})
	if err != nil {
		return backstore.Space{}, &backstore.Error{Op: "space", Err: err}
	}
	return space, nil
}

// SpaceAt is what the file or folder at path takes of its file system, and what is
// left there.
func SpaceAt(path string) (backstore.Space, error) {
	fd, err := openToLook(path)
	if err != nil {
		return backstore.Space{}, fmt.Errorf("the space at %s: %w", path, err)
	}
	defer func() { _ = unix.Close(fd) }()
	space, err := spaceOf(fd)
	if err != nil {
		return backstore.Space{}, fmt.Errorf("the space at %s: %w", path, err)
	}
	return space, nil
}

// spaceOf asks the file system of fd. What only root may use is not counted: a
// daemon need not be root, and a root needs some room.
//
// Used is bounded by the length of the file. What it takes may be more: of a file that
// shares blocks XFS counts the new ones, which it takes ahead of writes, a MiB for a block
// of 4 KiB, beside those that they will replace.
func spaceOf(fd int) (backstore.Space, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return backstore.Space{}, err
	}
	var system unix.Statfs_t
	if err := unix.Fstatfs(fd, &system); err != nil {
		return backstore.Space{}, err
	}
	block := int64(system.Frsize)
	if block == 0 {
		block = int64(system.Bsize)
	}
	taken := st.Blocks * 512
	used := taken
	if st.Mode&unix.S_IFMT == unix.S_IFREG {
		used = min(taken, st.Size)
	}
	reserved := int64(system.Bfree) - int64(system.Bavail)
	return backstore.Space{
		Pool:      poolOf(fd, st.Dev, int64(system.Type)),
		Used:      used,
		Taken:     taken,
		Available: max(int64(system.Bavail), 0) * block,
		Capacity:  max(int64(system.Blocks)-max(reserved, 0), 0) * block,
	}, nil
}

// poolOf names the file system of fd. It is its device number; but subvolumes of
// one btrfs have numbers of their own and share their space.
func poolOf(fd int, device uint64, fileSystem int64) string {
	if fileSystem == unix.BTRFS_SUPER_MAGIC {
		var info struct {
			_    [2]uint64
			fsid [16]byte
			_    [992]byte
		}
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), ioctlBtrfsInfo, uintptr(unsafe.Pointer(&info))); errno == 0 {
			return fmt.Sprintf("btrfs %x", info.fsid)
		}
	}
	return fmt.Sprintf("device %d:%d", unix.Major(device), unix.Minor(device))
}

// ioctlBtrfsInfo is BTRFS_IOC_FS_INFO, from linux/btrfs.h: a structure of 1024 bytes.
const ioctlBtrfsInfo = 0x8400941f
