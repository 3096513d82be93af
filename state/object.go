package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Where objects of the configuration that were made at run time are kept, and the
// record of a change to several of them that has been decided and is being made.
const (
	objectsName = "config.d"
	changeName  = ".change.json"
)

// A Documents is the content of files by their names. In a change, nil is for a file that goes.
type Documents map[string][]byte

// Objects are the documents that the state directory path keeps of the configuration.
// It needs no lock: what it reads is what was there before a change, or after it.
func Objects(path string) (Documents, error) {
	dir := filepath.Join(path, objectsName)
	for {
		change, err := decided(dir)
		if err != nil {
			return nil, err
		}
		all, err := documents(dir)
		if err != nil {
			return nil, err
		}
		// A change that was decided while we read may be in all by half.
		again, err := decided(dir)
		if err != nil {
			return nil, err
		}
		if string(change) != string(again) {
			continue
		}
		made, err := parseChange(dir, change)
		if err != nil {
			return nil, err
		}
		for name, text := range made {
			if text == nil {
				delete(all, name)
			} else {
				all[name] = text
			}
		}
		return all, nil
	}
}

// documents reads what lies in dir.
func documents(dir string) (Documents, error) {
	all := Documents{}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("state: %w", err)
	}
	for _, e := range entries {
		if !isDocument(e.Name()) {
			continue
		}
		text, err := read(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		if text != nil { // else it has gone meanwhile
			all[e.Name()] = text
		}
	}
	return all, nil
}

// isDocument tells whether a file of this name is an object, or what is noted beside objects:
// our temporary files are not.
func isDocument(name string) bool {
	return (strings.HasSuffix(name, ".toml") || strings.HasSuffix(name, ".json")) && !strings.HasPrefix(name, ".")
}

// isName tells whether an object may be called so: as a file that lies nowhere else.
func isName(name string) bool {
	return isDocument(name) && filepath.Base(name) == name && !strings.Contains(name, "\x00")
}

// decided is the record of a change that has been decided; nil: there is none.
func decided(dir string) ([]byte, error) { return read(filepath.Join(dir, changeName)) }

// parseChange is the change that a record tells.
func parseChange(dir string, record []byte) (Documents, error) {
	if record == nil {
		return nil, nil
	}
	var texts map[string]*string
	if err := json.Unmarshal(record, &texts); err != nil {
		return nil, fmt.Errorf("state: %s is damaged (%w): what was to be changed is not known; look at the files beside it, and remove it",
			filepath.Join(dir, changeName), err)
	}
	change := Documents{}
	for name, text := range texts {
		if !isName(name) {
			return nil, fmt.Errorf("state: %s is damaged (it tells of %q): what was to be changed is not known; look at the files beside it, and remove it",
				filepath.Join(dir, changeName), name)
		}
		change[name] = nil
		if text != nil {
			change[name] = []byte(*text)
		}
	}
	return change, nil
}

// ObjectFile is the path of a document of the state directory path.
func ObjectFile(path, name string) string { return filepath.Join(path, objectsName, name) }

// ChangeObjects makes change, all of it or nothing, whatever happens: when it returns
// nil it is durable, and after an error, or when the process ends before, there is what
// was there. A name is that of a file and ends in ".toml", or in ".json": what is to change
// together with objects.
func (d *Directory) ChangeObjects(change Documents) error {
	for name := range change {
		if !isName(name) {
			return fmt.Errorf("state: %q cannot name an object", name)
		}
	}
	if len(change) == 0 {
		return nil
	}
	d.making.Lock()
	defer d.making.Unlock()
	dir := filepath.Join(d.path, objectsName)
	if err := d.finishChange(dir); err != nil {
		return err
	}
	texts := make(map[string]*string, len(change))
	for name, text := range change {
		texts[name] = nil
		if text != nil {
			s := string(text)
			texts[name] = &s
		}
	}
	record, err := json.Marshal(texts)
	if err != nil {
		return err
	}
	if err := d.replace(filepath.Join(dir, changeName), record); err != nil {
		return err
	}
	// It is decided. What cannot be done now is done by the next change, and is read as
	// if it were done.
	d.finishChange(dir)
	return nil
}

// finishChange does what has been decided and is not known to be done.
func (d *Directory) finishChange(dir string) error {
	record, err := decided(dir)
	if err != nil || record == nil {
		return err
	}
	change, err := parseChange(dir, record)
	if err != nil {
		return err
	}
	for name, text := range change {
		file := filepath.Join(dir, name)
		if text == nil {
			if err := d.disk.remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("state: cannot remove %s: %w", file, err)
			}
		} else if err := d.replace(file, text); err != nil {
			return err
		}
	}
	if err := d.disk.flush(dir); err != nil {
		return fmt.Errorf("state: cannot keep %s: %w", dir, err)
	}
	if err := d.disk.remove(filepath.Join(dir, changeName)); err != nil {
		return fmt.Errorf("state: %w", err)
	}
	return d.disk.flush(dir)
}
