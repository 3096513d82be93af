package snapshot

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// steps are what changes on the disk, one after the other. Tests have them end at each.
type steps struct {
	before func(step string) // nil: nothing happens
}

func (s steps) step(name string) {
	if s.before != nil {
		s.before(name)
	}
}

// makeFolder makes a folder, durably, that only its owner may enter.
func (s steps) makeFolder(folder string) error {
	if err := os.Mkdir(folder, 0o700); errors.Is(err, fs.ErrExist) {
		return nil
	} else if err != nil {
		return err
	}
	s.step("make folder")
	return syncFolder(filepath.Dir(folder))
}

// replace makes text the durable content of a file. What that held before stays beside
// it, and is what the next text is written over: so it has space where there is no other,
// and a snapshot can be deleted on a full file system.
func (s steps) replace(name string, text []byte) error {
	spare := spareOf(name)
	s.step("write " + filepath.Base(name))
	// A process that was killed may have exchanged the names and not made that durable.
	if err := syncFolder(filepath.Dir(name)); err != nil {
		return err
	}
	if err := writeOver(spare, text); err != nil {
		return err
	}
	s.step("rename " + filepath.Base(name))
	err := unix.Renameat2(unix.AT_FDCWD, spare, unix.AT_FDCWD, name, unix.RENAME_EXCHANGE)
	if err != nil { // there is none yet, or the file system cannot exchange names
		err = os.Rename(spare, name)
	}
	if err == nil {
		err = s.syncFolders(name)
	}
	if err != nil {
		// Nobody knows which of the two is there after a crash, so neither is written over.
		return errors.Join(err, ignoreMissing(os.Remove(spare)))
	}
	if _, err := os.Stat(spare); errors.Is(err, fs.ErrNotExist) {
		_ = writeOver(spare, text) // else the next replace has to find space
	}
	return nil
}

// spareOf is where replace keeps the space for what a file will hold next.
func spareOf(name string) string { return name + ".new" }

const (
	spareStep  = 4096 // a file that is replaced is so many bytes long, or a multiple,
	spareSlack = 512  // and its text may become so much longer before it needs more
)

// writeOver makes text the durable content of a file, and fills it up with empty lines,
// unless there is no space for these. A file that is there keeps its blocks.
func writeOver(name string, text []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	length := (len(text) + spareSlack + spareStep - 1) / spareStep * spareStep
	n, err := f.WriteAt(append(bytes.Clone(text), bytes.Repeat([]byte("\n"), length-len(text))...), 0)
	if err != nil && n >= len(text) {
		err = nil
	}
	if err == nil {
		err = f.Truncate(int64(n))
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// rename gives a file another name, whose file before goes, durably.
func (s steps) rename(from, to string) error {
	s.step("rename " + filepath.Base(to))
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return s.syncFolders(from, to)
}

// link gives a file a second name, durably.
func (s steps) link(from, to string) error {
	s.step("link " + filepath.Base(to))
	if err := os.Link(from, to); err != nil {
		return err
	}
	return s.syncFolders(to)
}

// place gives a file a name that no other has, durably.
func (s steps) place(from, to string) error {
	s.step("place " + filepath.Base(to))
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if err != nil {
		return fmt.Errorf("%s: %w", to, err)
	}
	return s.syncFolders(from, to)
}

// remove removes a file, durably. One that is not there is no error.
func (s steps) remove(name string) error {
	s.step("remove " + filepath.Base(name))
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return s.syncFolders(name)
}

func (s steps) syncFolders(names ...string) error {
	s.step("sync the folder of " + filepath.Base(names[len(names)-1]))
	done := ""
	for _, name := range names {
		if folder := filepath.Dir(name); folder != done {
			if err := syncFolder(folder); err != nil {
				return err
			}
			done = folder
		}
	}
	return nil
}

func syncFolder(folder string) error {
	f, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
