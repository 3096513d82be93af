package snapshot

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// attribute is the extended attribute that a mark is kept in.
const attribute = "user.isantarget.snapshot"

// A mark says of an image file which one it is and, if it is an overlay, above which
// snapshot it lies. It is set before the file gets its name, so a rename changes both
// at once. A file without one is whole.
type mark struct {
	ID     string `json:"id"`
	Base   string `json:"base,omitempty"`    // path of the snapshot's file, from the folder of this one; empty: the file is whole
	BaseID string `json:"base-id,omitempty"` // which that has to be
}

// whole tells whether the file needs no other.
func (m mark) whole() bool { return m.Base == "" }

// basePath is the file below the one with this mark, whose image is in the folder home.
func (m mark) basePath(home string) string {
	if filepath.IsAbs(m.Base) {
		return m.Base
	}
	return filepath.Join(home, m.Base)
}

// parent is the folder of the image whose snapshot is at path.
func parent(path string) string { return filepath.Dir(filepath.Dir(path)) }

// readMark is the mark of the file at path; the zero mark: it has none.
func readMark(path string) (mark, error) {
	var m mark
	value := make([]byte, 4096)
	n, err := unix.Getxattr(path, attribute, value)
	switch {
	case errors.Is(err, unix.ENODATA), errors.Is(err, unix.EOPNOTSUPP):
		return m, nil
	case err != nil:
		return m, fmt.Errorf("what is noted of %s cannot be read: %w", path, err)
	}
	if err := json.Unmarshal(value[:n], &m); err != nil || m.ID == "" {
		return m, fmt.Errorf("the extended attribute %s of %s is damaged; nobody can say what the file is", attribute, path)
	}
	return m, nil
}

// write gives the file that fd is open on its mark. Only a sync makes it durable.
func (m mark) write(fd int) error {
	value, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if err := unix.Fsetxattr(fd, attribute, value, 0); err != nil {
		return fmt.Errorf("its file system keeps no extended attributes: %w", err)
	}
	return nil
}
