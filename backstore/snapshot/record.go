package snapshot

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// recordVersion is that of records we know.
const recordVersion = 1

// A record is what is known of an image and its snapshots: record.json in the folder
// beside the image. It is replaced whole, and bears its own SHA-256.
//
// The step that a change takes effect with is the rename of an image file, not the
// record: that is written before, and knows the old and the new state. Settle then
// finds out which one it is.
type record struct {
	Version   int      `json:"version"`
	Image     []string `json:"image"` // ids that the image may have; "": none, for it is whole
	Snapshots []entry  `json:"snapshots"`
	Clones    []clone  `json:"clones,omitempty"`
	Merging   *merge   `json:"merging,omitempty"`
}

// An entry is a snapshot.
type entry struct {
	Name     string    `json:"name"`
	ID       string    `json:"id"`
	Taken    time.Time `json:"taken"`
	File     string    `json:"file"`               // in the folder of the record
	Deleting bool      `json:"deleting,omitempty"` // its content is being merged into what lies above it
}

// A clone is an overlay elsewhere that lies above a snapshot.
type clone struct {
	Path string `json:"path"`
	ID   string `json:"id"`
	Base string `json:"base"` // id of the snapshot
	// Mount is where the file system of the clone is mounted; empty: that of the snapshot.
	Mount string `json:"mount,omitempty"`
}

// away tells whether nobody knows if the clone is there, for its file system is not.
func (c clone) away() bool { return c.Mount != "" && !isMountPoint(c.Mount) }

// told is how a person is told of the clone.
func (c clone) told() string {
	if c.away() {
		return fmt.Sprintf("%s (nothing is mounted at %s)", c.Path, c.Mount)
	}
	return c.Path
}

// A merge says that the file of the snapshot From may bear the id Into already, in
// whose place it is about to come.
type merge struct {
	From string `json:"from"`
	Into string `json:"into"`
}

// A sealed record has its hash.
type sealed struct {
	Record json.RawMessage `json:"record"`
	SHA256 string          `json:"sha256"`
}

// Folder is where the snapshots of an image are: a folder beside it.
func Folder(image string) string { return image + ".snapshots" }

func recordFile(folder string) string { return filepath.Join(folder, "record.json") }

// readRecord reads the record in a folder; nil: there is none.
func readRecord(folder string) (*record, error) {
	name := recordFile(folder)
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("the record of the snapshots: %w", err)
	}
	var s sealed
	r := &record{}
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, fmt.Errorf("the record of the snapshots, %s, is damaged: %w; put it back from a backup", name, err)
	}
	if hash(s.Record) != s.SHA256 {
		return nil, fmt.Errorf("the record of the snapshots, %s, is damaged: its checksum is wrong; put it back from a backup", name)
	}
	if err := json.Unmarshal(s.Record, r); err != nil || r.Version != recordVersion {
		return nil, fmt.Errorf("the record of the snapshots, %s, is of a version that this isantarget does not know", name)
	}
	for _, e := range r.Snapshots {
		if e.File != filepath.Base(e.File) || !strings.HasSuffix(e.File, ".img") || e.File[0] == '.' {
			return nil, fmt.Errorf("the record of the snapshots, %s, is damaged: it tells of a file %q; put it back from a backup", name, e.File)
		}
	}
	return r, nil
}

func hash(text []byte) string {
	var compact bytes.Buffer
	if json.Compact(&compact, text) != nil {
		return ""
	}
	sum := sha256.Sum256(compact.Bytes())
	return hex.EncodeToString(sum[:])
}

// write makes r the durable record in a folder, which it makes if it is missing. After
// an error nobody knows which of the two is there; both are right until the next step.
func (r *record) write(s steps, folder string) error {
	if err := s.makeFolder(folder); err != nil {
		return err
	}
	r.Version = recordVersion
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	text, err = json.MarshalIndent(sealed{Record: text, SHA256: hash(text)}, "", "\t")
	if err != nil {
		return err
	}
	return s.replace(recordFile(folder), append(text, '\n'))
}

// find is the snapshot of this name, or -1.
func (r *record) find(name string) int {
	return slices.IndexFunc(r.Snapshots, func(e entry) bool { return e.Name == name })
}

// is tells whether a file with the id got may be the one that is called want.
func (r *record) is(want, got string) bool {
	return got == want || r.Merging != nil && r.Merging.From == want && r.Merging.Into == got
}
