package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/isantarget/isantarget/scsi"
)

// A Directory is the state directory of one daemon. It is a scsi.Keeper. Its
// methods may be called at once from many goroutines.
type Directory struct {
	path string
	lock *lock
	disk disk
	mu   sync.Mutex // one write at a time

	reserve *reserve // of space, for records

	making sync.Mutex // one serial at a time; before mu
}

var _ scsi.Keeper = (*Directory)(nil)

// Open makes the directory if it is missing and takes it for this process. A
// directory that another daemon uses is refused, with its process id.
func Open(path string) (*Directory, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	d := &Directory{path: path, disk: osDisk{}}
	if err := d.make(path); err != nil {
		return nil, fmt.Errorf("cannot make the state directory %s: %w", path, bare(err))
	}
	if d.lock, err = takeLock(filepath.Join(path, "lock")); err != nil {
		return nil, fmt.Errorf("state directory %s: %w", path, err)
	}
	d.reserve = newReserve(d.disk, path)
	d.disk = d.reserve
	_ = d.reserve.fill() // Refill will tell; without it records are written as long as there is space
	return d, nil
}

// Refill makes the space whole again that is kept for records, so that they can be
// written on a full file system. It costs nothing while nothing of it was used. The
// error says what is missing.
func (d *Directory) Refill() error { return d.reserve.fill() }

// Path is the directory, absolute.
func (d *Directory) Path() string { return d.path }

// Close gives the directory to the next daemon.
func (d *Directory) Close() error { return d.lock.release() }

// Load is the record of this kind of id; nil without an error when there is none.
func (d *Directory) Load(id scsi.Identity, kind string) ([]byte, error) {
	name, err := d.unitRecord(id, kind)
	if err != nil {
		return nil, err
	}
	return read(name)
}

// Save has made record durable when it returns nil. After an error the old
// record holds.
func (d *Directory) Save(id scsi.Identity, kind string, record []byte) error {
	name, err := d.unitRecord(id, kind)
	if err != nil {
		return err
	}
	return d.replace(name, record)
}

// Forget removes a record durably. There need not be one.
func (d *Directory) Forget(id scsi.Identity, kind string) error {
	name, err := d.unitRecord(id, kind)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch err := d.disk.remove(name); {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("state: cannot forget %s: %w", name, bare(err))
	}
	if err := d.disk.flush(filepath.Dir(name)); err != nil {
		return fmt.Errorf("state: cannot forget %s: %w", name, bare(err))
	}
	return nil
}

// Keep makes a record of the daemon itself durable, under a name that nothing else has:
// "admin-token". Only the owner of the directory may read it.
func (d *Directory) Keep(name string, record []byte) error {
	return d.replace(filepath.Join(d.path, name), record)
}

// Kept is the record of this name; nil without an error when there is none.
func (d *Directory) Kept(name string) ([]byte, error) { return read(filepath.Join(d.path, name)) }

// unitRecord is the file of a record of a logical unit.
func (d *Directory) unitRecord(id scsi.Identity, kind string) (string, error) {
	if kind == "" || strings.Trim(kind, "abcdefghijklmnopqrstuvwxyz-") != "" {
		return "", fmt.Errorf("state: %q cannot name a kind of record", kind)
	}
	return filepath.Join(d.path, "lu", id.String(), kind+".json"), nil
}

// Serial is the unit serial number of the LUN called name: made at the first
// call, and the same ever after. It returns when the serial is durable.
func (d *Directory) Serial(name string) (string, error) {
	if err := namesLUN(name); err != nil {
		return "", err
	}
	d.making.Lock()
	defer d.making.Unlock()
	file := filepath.Join(d.path, "serial", name)
	record, err := read(file)
	if err != nil {
		return "", err
	}
	if serial := strings.TrimSpace(string(record)); serial != "" {
		return serial, nil
	}
	if record != nil {
		return "", fmt.Errorf("state: %s is empty: write the serial that LUN %q had into it, or remove it to make a new disk of the LUN", file, name)
	}
	serial := scsi.NewSerial()
	if err := d.replace(file, []byte(serial+"\n")); err != nil {
		return "", err
	}
	return serial, nil
}

// namesLUN says so if name cannot be that of a LUN, for it leads elsewhere.
func namesLUN(name string) error {
	if name == "" || strings.HasPrefix(name, ".") || strings.ContainsRune(name, filepath.Separator) {
		return fmt.Errorf("state: %q cannot name a LUN", name)
	}
	return nil
}

// Knows tells whether the LUN called name was given a serial before.
func (d *Directory) Knows(name string) bool {
	_, err := os.Stat(filepath.Join(d.path, "serial", name))
	return err == nil
}

// ForgetSerial ends the identity that the LUN called name had: one that is made under this
// name later is another disk.
func (d *Directory) ForgetSerial(name string) error {
	if err := namesLUN(name); err != nil {
		return err
	}
	d.making.Lock()
	defer d.making.Unlock()
	dir := filepath.Join(d.path, "serial")
	if err := d.disk.remove(filepath.Join(dir, name)); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return fmt.Errorf("state: %w", err)
	}
	return d.disk.flush(dir)
}

// read is the content of a file; nil when there is none.
func read(name string) ([]byte, error) {
	record, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	return record, nil
}

// bare is err without the operation and path around it.
func bare(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
