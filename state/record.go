package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// A disk is the steps by which a record becomes durable. Tests let them fail.
type disk interface {
	mkdir(name string) error
	write(name string, record []byte) error // a new file, flushed
	rename(from, to string) error
	flush(dir string) error // the names in a directory
	remove(name string) error
}

// osDisk is the disk of the operating system.
type osDisk struct{}

func (osDisk) rename(from, to string) error { return os.Rename(from, to) }
func (osDisk) remove(name string) error     { return os.Remove(name) }

// What is kept is the daemon's own, and the daemon's to read, whatever umask it was
// started with.
const (
	fileMode   = 0o600
	folderMode = 0o700
)

func (osDisk) mkdir(name string) error {
	if err := os.Mkdir(name, folderMode); err != nil {
		return err
	}
	return os.Chmod(name, folderMode)
}

func (osDisk) write(name string, record []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, fileMode)
	if err != nil {
		return err
	}
	if err = f.Chmod(fileMode); err == nil {
		_, err = f.Write(record)
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func (osDisk) flush(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// replace makes record the durable content of the file name. If it fails the
// old content holds: in particular, when the flush after the rename fails, the
// old record is put back, for nobody can say what a power loss would leave.
func (d *Directory) replace(name string, record []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	dir := filepath.Dir(name)
	if err := d.make(dir); err != nil {
		return fmt.Errorf("state: cannot keep %s: %w", name, err)
	}
	old, err := read(name)
	if err != nil {
		return err
	}
	if err := d.put(name, record); err != nil {
		if rolledBack := d.putBack(name, old); rolledBack != nil {
			err = fmt.Errorf("%w; and the old record could not be put back: %w", err, rolledBack)
		}
		return fmt.Errorf("state: cannot keep %s: %w", name, err)
	}
	return nil
}

// put is temp, flush, rename, flush.
func (d *Directory) put(name string, record []byte) error {
	temp := beside(name, ".new")
	if err := d.disk.write(temp, record); err != nil {
		d.disk.remove(temp) // best effort: the next put writes over it
		return err
	}
	if err := d.disk.rename(temp, name); err != nil {
		d.disk.remove(temp)
		return err
	}
	return d.disk.flush(filepath.Dir(name))
}

// beside is a temporary file of a record. No record has such a name: those that are called
// by somebody, as LUNs are ("vm.new"), do not begin with a dot.
func beside(name, what string) string {
	return filepath.Join(filepath.Dir(name), "."+filepath.Base(name)+what)
}

// putBack has the file hold old again if a failed put got as far as to change it.
func (d *Directory) putBack(name string, old []byte) error {
	now, err := read(name)
	if err != nil {
		return err
	}
	switch {
	case old == nil && now == nil, old != nil && now != nil && string(old) == string(now):
		return nil
	case old == nil:
		return d.disk.remove(name)
	}
	temp := beside(name, ".old")
	if err := d.disk.write(temp, old); err != nil {
		return err
	}
	return d.disk.rename(temp, name)
}

// make makes a directory and what is above it, durably.
func (d *Directory) make(dir string) error {
	if info, err := os.Stat(dir); err == nil {
		if !info.IsDir() {
			return fmt.Errorf("%s is not a directory", dir)
		}
		return nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	above := filepath.Dir(dir)
	if err := d.make(above); err != nil {
		return err
	}
	if err := d.disk.mkdir(dir); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := d.disk.flush(above); err != nil {
		return errors.Join(err, d.disk.remove(dir)) // or it would pass for durable the next time
	}
	return nil
}
