package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// A readyFile tells others that logins are accepted, and under which URLs.
type readyFile string

// write makes the file appear whole: a URL a line.
func (f readyFile) write(urls []string) error {
	if f == "" {
		return nil
	}
	temp, err := os.CreateTemp(filepath.Dir(string(f)), "."+filepath.Base(string(f))+"-*")
	if err != nil {
		return fmt.Errorf("cannot write the ready file: %w", err)
	}
	_, err = temp.WriteString(strings.Join(urls, "\n") + "\n")
	err = errors.Join(err, temp.Chmod(0o644), temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), string(f))
	}
	if err != nil {
		os.Remove(temp.Name())
		return fmt.Errorf("cannot write the ready file: %w", err)
	}
	return nil
}

// remove takes the file away; one that is not there is no error.
func (f readyFile) remove() error {
	if f == "" {
		return nil
	}
	if err := os.Remove(string(f)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot remove the ready file: %w", err)
	}
	return nil
}
