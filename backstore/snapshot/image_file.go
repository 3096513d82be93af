package snapshot

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/backstore/internal/fiemap"
)

// newID is an id that no other file has.
func newID() string { return rand.Text() }

// blockSize is the size of the blocks by which a file knows what it holds: those of its
// file system, and not less than a page, which is what the system writes back.
func blockSize(fd int) (int, error) {
	var system unix.Statfs_t
	if err := unix.Fstatfs(fd, &system); err != nil {
		return 0, err
	}
	block := int(system.Bsize)
	if block <= 0 || block&(block-1) != 0 || block > 1<<20 {
		return 0, fmt.Errorf("its file system has blocks of %d bytes, and nothing is known of such ones", block)
	}
	return max(block, os.Getpagesize()), nil
}

// heldBlocks finds out which blocks of a file of size bytes have been written, above one
// of base bytes.
func heldBlocks(f *os.File, size, base int64, block int) (*blockMap, error) {
	held := newBlockMap((size + int64(block) - 1) / int64(block))
	return held, heldRuns(f, size, base, int64(block), held.set)
}

// heldRuns calls f with each run of blocks, up to but without last, of a file of size
// bytes that have been written. What waits in the page cache is written first.
//
// Space that was allocated and never written is none: a crash leaves such space where a
// write was on its way. SEEK_DATA would not do, since it takes such a block for data
// once something has read it into the page cache. Nor is a block that was written in a
// part, which a crash leaves where blocks of the file system are smaller. But behind the
// end of the file below, base, there is nothing that the rest could hide: there a block
// may have been the last one, shorter, when it was written.
func heldRuns(file *os.File, size, base, block int64, f func(first, last int64)) error {
	return writtenRuns(file, size, func(from, to int64) {
		first, last := (from+block-1)/block, to/block
		if to >= base {
			last = (to + block - 1) / block
		}
		if first < last {
			f(first, last)
		}
	})
}

// writtenRuns calls f with each run of bytes of a file of size bytes that has been
// written, by offset.
func writtenRuns(file *os.File, size int64, f func(from, to int64)) error {
	if err := file.Sync(); err != nil {
		return err
	}
	from, to := int64(-1), int64(-1)
	flush := func() {
		if from < to {
			f(from, min(to, size))
		}
	}
	for e, err := range fiemap.Synced(int(file.Fd()), 0, size) {
		if errors.Is(err, unix.EOPNOTSUPP) && onMemory(file) {
			return seekRuns(file, size, f)
		}
		if err != nil {
			return fmt.Errorf("its file system does not tell what a file holds: %w", err)
		}
		if e.Flags&fiemap.Unwritten != 0 {
			continue
		}
		if e.Offset != to {
			flush()
			from = e.Offset
		}
		to = e.End()
	}
	flush()
	return nil
}

// onMemory tells whether a file is on tmpfs, which has no extents to tell of and loses
// everything with the power, so that SEEK_DATA is right there.
func onMemory(f *os.File) bool {
	var system unix.Statfs_t
	return unix.Fstatfs(int(f.Fd()), &system) == nil && system.Type == unix.TMPFS_MAGIC
}

func seekRuns(file *os.File, size int64, f func(from, to int64)) error {
	for at := int64(0); at < size; {
		data, err := unix.Seek(int(file.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil
		}
		if err != nil {
			return err
		}
		hole, err := unix.Seek(int(file.Fd()), data, unix.SEEK_HOLE)
		if err != nil {
			return err
		}
		f(data, min(hole, size))
		at = hole
	}
	return nil
}

// temporary makes a new file in a folder that nobody looks for.
func temporary(folder string) (*os.File, error) {
	return os.OpenFile(filepath.Join(folder, ".isantarget-"+newID()+".new"), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
}

// makeOverlay makes an empty overlay of size bytes with the mark m in a folder, durably.
// It is refused where the file system does not do what overlays rely on.
func makeOverlay(folder string, m mark, size int64) (path string, err error) {
	f, err := temporary(folder)
	if err != nil {
		return "", err
	}
	defer func() {
		err = errors.Join(err, f.Close())
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	if err := f.Truncate(size); err != nil {
		return "", err
	}
	if err := probe(f, size); err != nil {
		return "", fmt.Errorf("no snapshot can be kept in %s: %w", folder, err)
	}
	if err := m.write(int(f.Fd())); err != nil {
		return "", fmt.Errorf("no snapshot can be kept in %s: %w", folder, err)
	}
	return f.Name(), f.Sync()
}

// probe finds out, on the file itself, whether what was written is told from what was
// not: a block of zeros must be held, and not be held any more when it is punched out.
func probe(f *os.File, size int64) error {
	block, err := blockSize(int(f.Fd()))
	if err != nil {
		return err
	}
	length := min(int64(block), size)
	if _, err := f.WriteAt(make([]byte, length), 0); err != nil {
		return err
	}
	held, err := heldBlocks(f, size, size, block)
	if err != nil {
		return err
	}
	if own, run := held.run(0, (size+int64(block)-1)/int64(block)); !own || run != 1 {
		return errors.New("its file system does not tell a block of zeros from a hole")
	}
	if err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, length); err != nil {
		return fmt.Errorf("its file system cannot punch holes: %w", err)
	}
	if held, err = heldBlocks(f, size, size, block); err != nil {
		return err
	}
	if held.has(0) {
		return errors.New("its file system keeps what was punched out")
	}
	return nil
}

// reflink makes a file in a folder that shares all blocks of the one at from, has the
// mark m and is size bytes long, durably. It fails with errors.ErrUnsupported where the
// file system cannot share blocks.
func reflink(from, folder string, m mark, size int64) (path string, err error) {
	source, err := os.Open(from)
	if err != nil {
		return "", err
	}
	defer source.Close()
	f, err := temporary(folder)
	if err != nil {
		return "", err
	}
	defer func() {
		err = errors.Join(err, f.Close())
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	switch err := unix.IoctlFileClone(int(f.Fd()), int(source.Fd())); {
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOTTY), errors.Is(err, unix.EXDEV), errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOSYS):
		return "", errors.ErrUnsupported
	case err != nil:
		return "", fmt.Errorf("its blocks cannot be shared: %w", err)
	}
	if err := f.Truncate(size); err != nil {
		return "", err
	}
	if m != (mark{}) {
		if err := m.write(int(f.Fd())); err != nil {
			return "", err
		}
	}
	return f.Name(), f.Sync()
}
