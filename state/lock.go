package state

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// A lock is held by the process that uses a state directory. The kernel lets go
// of it when the process ends, however it ends.
type lock struct{ file *os.File }

// takeLock takes the lock file name, or says whose it is.
func takeLock(name string) (*lock, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		return nil, bare(err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("cannot lock it: %w", err)
		}
		return nil, fmt.Errorf("another isantarget%s uses it; stop that one, or give this one a directory of its own (--state)", holder(f))
	}
	if err = errors.Join(f.Chmod(fileMode), f.Truncate(0)); err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	if err != nil { // the file system is full or read-only: nothing could be kept
		return nil, errors.Join(bare(err), f.Close())
	}
	return &lock{file: f}, nil
}

// holder is " (process 123)", or nothing while the holder has not written it.
func holder(f *os.File) string {
	var b [32]byte
	n, _ := f.ReadAt(b[:], 0)
	if pid, err := strconv.Atoi(strings.TrimSpace(string(b[:n]))); err == nil {
		return fmt.Sprintf(" (process %d)", pid)
	}
	return ""
}

// release gives the lock back, also where a child has inherited it that was forked and has
// not come to its exec yet.
func (l *lock) release() error {
	err := syscall.Flock(int(l.file.Fd()), syscall.LOCK_UN)
	return errors.Join(err, l.file.Close())
}
