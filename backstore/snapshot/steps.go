package snapshot

import (
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

// replace makes text the durable content of a file.
func (s steps) replace(name string, text []byte) error {
	temporary := name + ".new"
	s.step("write " + filepath.Base(name))
	f, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if _, err = f.Write(text); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	return s.rename(temporary, name)
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
