package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	reserveName   = "reserve"
	reservePieces = 8
	pieceSize     = 256 << 10
)

// A reserve is space that is kept for records, so that they can be written when
// images, or anybody, have taken all the rest. It lies in files of one size. A record
// for which there is no space is written into one of them, in its place: so nobody
// else can be quicker to take what would be given back, and it costs no inode either.
// Where that cannot be done (a directory is to be made, a record is bigger, the file
// system copies on write) pieces are removed, one by one, until it goes.
//
// It is a disk upon another one.
type reserve struct {
	disk
	dir string

	mu    sync.Mutex
	short bool // a piece is missing
}

func newReserve(below disk, state string) *reserve {
	return &reserve{disk: below, dir: filepath.Join(state, reserveName), short: true}
}

// fill makes the pieces that are missing. When it fails it may be tried again.
func (r *reserve) fill() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.short {
		return nil
	}
	if err := (osDisk{}).mkdir(r.dir); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("state: no space can be kept for records: %w", err)
	}
	for i := range reservePieces {
		if err := makePiece(r.piece(i)); err != nil {
			return fmt.Errorf("state: %d of %d KiB that are kept for records cannot be had: %w", (reservePieces-i)*pieceSize>>10, reservePieces*pieceSize>>10, err)
		}
	}
	r.short = false
	return nil
}

func (r *reserve) piece(i int) string { return filepath.Join(r.dir, fmt.Sprint(i)) }

// makePiece makes a file that has its space, unless it is there.
func makePiece(name string) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE, fileMode)
	if err != nil {
		return err
	}
	if err := f.Chmod(fileMode); err != nil {
		return errors.Join(err, f.Close())
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err == nil && st.Size >= pieceSize && st.Blocks*512 >= pieceSize {
		return f.Close()
	}
	err = unix.Fallocate(int(f.Fd()), 0, 0, pieceSize)
	if err == unix.EOPNOTSUPP || err == unix.ENOSYS {
		_, err = f.WriteAt(make([]byte, pieceSize), 0)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(name))
	}
	return nil
}

// write implements disk.
func (r *reserve) write(name string, record []byte) error {
	err := r.disk.write(name, record)
	if !isFull(err) {
		return err
	}
	if len(record) <= pieceSize && r.spend(func(piece string) error { return overwrite(piece, name, record) }) == nil {
		return nil
	}
	if r.spend(func(piece string) error {
		if err := os.Remove(piece); err != nil {
			return err
		}
		return r.disk.write(name, record)
	}) == nil {
		return nil
	}
	return err
}

// mkdir implements disk.
func (r *reserve) mkdir(name string) error {
	err := r.disk.mkdir(name)
	if !isFull(err) {
		return err
	}
	return r.spend(func(piece string) error {
		if err := os.Remove(piece); err != nil {
			return err
		}
		return r.disk.mkdir(name)
	})
}

// spend has do use one piece after the other, until it has not failed for want of
// space.
func (r *reserve) spend(do func(piece string) error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var err error = unix.ENOSPC
	for i := range reservePieces {
		piece := r.piece(i)
		if _, gone := os.Stat(piece); gone != nil {
			continue
		}
		r.short = true
		if err = do(piece); err == nil || !isFull(err) {
			return err
		}
	}
	return err
}

// overwrite makes a file name of a piece, with record in place of what is in it.
func overwrite(piece, name string, record []byte) error {
	if err := os.Rename(piece, name); err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_WRONLY, fileMode)
	if err != nil {
		return err
	}
	if _, err = f.WriteAt(record, 0); err == nil {
		err = f.Truncate(int64(len(record)))
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// isFull tells whether err says that a file system has no space, or no inodes, or that
// a quota allows no more.
func isFull(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }
