package file

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/backstore"
)

// moveStep bounds what is moved in one system call, moveWindow what is taken anew at
// once: how much room defragmenting needs on ext4.
const (
	moveStep   = 32 << 20
	moveWindow = 1 << 30
)

// Defragment moves the image into as few pieces as its file system has room for, and
// tells in how many it lay before and lies now. Holes stay holes, space that was never
// written stays so, and the file stays the same: the file system exchanges its blocks
// for those of a file without a name, each step as a whole. So whatever ends it, and
// whenever, the image holds what it held, and nothing else is left.
//
// Nobody may write to the image meanwhile. step hears of the bytes that are done, and
// its error ends it; what has been moved stays moved. It is refused with
// errors.ErrUnsupported where the file system cannot exchange blocks (it is neither ext4
// nor XFS), and where the image shares its blocks with a clone: moved, it would take
// space of its own.
func (s *Store) Defragment(step func(done, total int64) error) (before, after int, err error) {
	if s.geometry.ReadOnly {
		return 0, 0, &backstore.Error{Op: "defragment", Err: backstore.ErrReadOnly}
	}
	s.resizing.Lock()
	defer s.resizing.Unlock()
	s.ahead.hold()
	defer s.ahead.resume()
	if err := s.descriptor.Sync(); err != nil {
		return 0, 0, err
	}
	if before, err = s.Extents(); err != nil {
		return 0, 0, err
	}
	var total int64
	err = s.descriptor.Control(func(fd int) error {
		shared, err := allocatedRuns(fd, 0, s.size.Load(), moveWindow, func(r span) error { total += r.length; return nil })
		if shared {
			return fmt.Errorf("%w: it shares blocks with a clone or snapshot, and would take space of its own", errors.ErrUnsupported)
		}
		return err
	})
	if err != nil {
		return before, before, &backstore.Error{Op: "defragment", Err: err}
	}
	m := mover{store: s, step: func(done int64) error { return step(done, total) }}
	switch s.fileSystem {
	case unix.EXT4_SUPER_MAGIC:
		err = m.move(s.size.Load())
	case unix.XFS_SUPER_MAGIC:
		err = m.exchange(s.size.Load())
	default:
		err = fmt.Errorf("%w: only ext4 and XFS can exchange the blocks of files", errors.ErrUnsupported)
	}
	after, countErr := s.Extents()
	if err = errors.Join(err, countErr); err != nil {
		return before, after, &backstore.Error{Op: "defragment", Err: err}
	}
	return before, after, nil
}

// A mover gives an image other blocks.
type mover struct {
	store *Store
	step  func(done int64) error
	done  int64
}

// donor opens a file without a name beside the image, as long as that.
func (m *mover) donor(size int64) (int, error) {
	fd, err := retry(func() (int, error) {
		return unix.Open(filepath.Dir(m.store.path), unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	})
	if err != nil {
		return -1, fmt.Errorf("a file beside it cannot be made: %w", err)
	}
	if err := unix.Ftruncate(fd, size); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// move is Defragment on ext4: window by window new space is taken in the donor, and, if
// it lies better, exchanged with EXT4_IOC_MOVE_EXT, which copies what is written.
func (m *mover) move(size int64) error {
	donor, err := m.donor(size)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(donor) }()
	for off := int64(0); off < size; off += moveWindow {
		if err := m.moveOne(donor, off, min(moveWindow, size-off)); err != nil {
			return err
		}
	}
	return m.store.descriptor.Sync()
}

func (m *mover) moveOne(donor int, off, length int64) error {
	var runs []span
	var have int
	err := m.store.descriptor.Control(func(fd int) (err error) {
		runs = runs[:0]
		if have, err = pieces(fd, off, length); err != nil {
			return err
		}
		_, err = allocatedRuns(fd, off, length, moveWindow, func(r span) error { runs = append(runs, r); return nil })
		return err
	})
	if err != nil {
		return err
	}
	var need int64
	for _, r := range runs {
		need += r.length
	}
	if need == 0 {
		return nil
	}
	if err := take(donor, 0, need); err != nil { // without the holes, so that all lies together
		return noSpace(err)
	}
	got, err := pieces(donor, 0, need)
	if err != nil {
		return err
	}
	at := int64(0)
	for _, r := range runs {
		if got < have {
			err = m.moveRun(donor, at, r)
		} else {
			err = m.advance(r.length)
		}
		if err != nil {
			return err
		}
		at += r.length
	}
	return unix.Fallocate(donor, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, need)
}

func (m *mover) advance(n int64) error {
	m.done += n
	return m.step(m.done)
}

// moveExtent is struct move_extent of fs/ext4/ext4.h.
type moveExtent struct {
	_                          uint32
	donor                      uint32
	from, donorFrom, len, done uint64 // blocks of the file system
}

const ioctlMoveExtent = 0xc028660f // EXT4_IOC_MOVE_EXT

// moveRun exchanges a run for what the donor has at an offset.
func (m *mover) moveRun(donor int, at int64, r span) error {
	block := int64(m.store.block)
	for end := r.off + r.length; r.off < end; {
		n := min(end-r.off, moveStep)
		q := moveExtent{donor: uint32(donor), from: uint64(r.off / block), donorFrom: uint64(at / block), len: uint64((n + block - 1) / block)}
		err := m.store.descriptor.Control(func(fd int) error {
			if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), ioctlMoveExtent, uintptr(unsafe.Pointer(&q))); errno != 0 {
				return errno
			}
			return nil
		})
		moved := int64(q.done) * block
		if err == nil && moved == 0 {
			err = unix.EIO
		}
		if err != nil {
			return noSpace(err)
		}
		moved = min(moved, end-r.off)
		if err := m.advance(moved); err != nil {
			return err
		}
		r.off, at = r.off+moved, at+moved
	}
	return nil
}

// exchange is Defragment on XFS: all is copied to the donor, made durable there, and
// then both files exchange all their blocks at once (XFS_IOC_SWAPEXT), which XFS
// refuses if the image was changed since.
func (m *mover) exchange(size int64) error {
	donor, err := m.donor(size)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(donor) }()
	var image unix.Stat_t
	if err := m.store.descriptor.Control(func(fd int) error { return unix.Fstat(fd, &image) }); err != nil {
		return err
	}
	if err := m.copyTo(donor, size); err != nil {
		return err
	}
	if err := unix.Fsync(donor); err != nil {
		return err
	}
	have, err := m.store.Extents()
	if err != nil {
		return err
	}
	if got, err := pieces(donor, 0, size); err != nil || got >= have {
		return err // it cannot lie better
	}
	q := swapExtents{donor: int64(donor), length: size}
	q.inode, q.size = image.Ino, image.Size
	q.changed, q.changedNano = image.Ctim.Sec, int32(image.Ctim.Nsec)
	q.modified, q.modifiedNano = image.Mtim.Sec, int32(image.Mtim.Nsec)
	err = m.store.descriptor.Control(func(fd int) error {
		q.target = int64(fd)
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), ioctlSwapExtents, uintptr(unsafe.Pointer(&q))); errno != 0 {
			return errno
		}
		return nil
	})
	if err == unix.EBUSY {
		return fmt.Errorf("the image was changed meanwhile; nothing was done: %w", err)
	}
	if err != nil {
		return fmt.Errorf("XFS cannot exchange its blocks: %w", err)
	}
	return m.store.descriptor.Sync()
}

// swapExtents is struct xfs_swapext of fs/xfs/libxfs/xfs_fs.h, with the parts of struct
// xfs_bstat that count.
type swapExtents struct {
	_, target, donor, offset, length int64
	_                                [16]byte

	inode        uint64
	_            [24]byte
	size         int64
	_            [16]byte
	modified     int64
	modifiedNano int32
	_            int32
	changed      int64
	changedNano  int32
	_            int32
	_            [48]byte
}

const ioctlSwapExtents = 0xc0c0586d // XFS_IOC_SWAPEXT, of 192 bytes

// copyTo copies what has space in the image to the donor: first the space of all, so
// that it lies together, then what is written.
func (m *mover) copyTo(donor int, size int64) error {
	source := m.store.descriptor
	var runs []span
	err := source.Control(func(fd int) error {
		runs = runs[:0]
		_, err := allocatedRuns(fd, 0, size, size, func(r span) error { runs = append(runs, r); return nil })
		return err
	})
	if err != nil {
		return err
	}
	for _, r := range runs {
		if err := takeRange(donor, r.off, r.length, func(int64) error { return m.step(m.done) }); err != nil {
			return noSpace(err)
		}
	}
	p := make([]byte, zeroStep)
	for _, r := range runs {
		for end := min(r.off+r.length, size); r.off < end; {
			e, err := m.store.ExtentAt(r.off, min(end-r.off, int64(len(p))))
			if err != nil {
				return err
			}
			if e.State == backstore.Mapped {
				if _, err := source.ReadAt(p[:e.Length], r.off); err != nil {
					return err
				}
				if n, err := unix.Pwrite(donor, p[:e.Length], r.off); err != nil || int64(n) < e.Length {
					return noSpace(cmp.Or(err, error(unix.EIO)))
				}
			}
			r.off += e.Length
			if err := m.advance(e.Length); err != nil {
				return err
			}
		}
	}
	return nil
}
