package snapshot

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/backstore/file"
)

// FuzzRecord: whatever stands in the record of an image's snapshots, and in the marks of the
// image and of a file beside it, it is refused or taken, but nothing is done to files that
// are not the image's own, and nothing goes on for ever.
func FuzzRecord(f *testing.F) {
	whole := `{"version":1,"image":["B"],"snapshots":[{"name":"s","id":"A","taken":"2026-11-29T12:00:00Z","file":"s.img"}]}`
	for _, s := range []struct{ record, image, other string }{
		{whole, `{"id":"B","base":"disk.img.snapshots/s.img","base-id":"A"}`, `{"id":"A"}`},
		{whole, `{"id":"B","base":"disk.img.snapshots/s.img","base-id":"A"}`, `{"id":"A","base":"disk.img.snapshots/s.img","base-id":"A"}`},
		{whole, `{"id":"A"}`, ``}, {whole, ``, ``}, {whole, `{}`, `{`},
		{`{"version":1,"image":["","B"],"snapshots":[{"name":"s","id":"A","file":"../theirs.img"}]}`, ``, `{"id":"A"}`},
		{`{"version":1,"image":["B"],"snapshots":[{"name":"s","id":"","file":"../theirs.img","deleting":true}]}`, `{"id":"B"}`, ``},
		{`{"version":1,"image":["B"],"snapshots":[{"name":"s","id":"A","file":"s.img","deleting":true}],"merging":{"from":"A","into":"B"}}`, `{"id":"B","base":"disk.img.snapshots/s.img","base-id":"A"}`, `{"id":"B"}`},
		{`{"version":1,"image":[""],"snapshots":[],"clones":[{"path":"theirs.img","id":"C","base":"A","mount":"/nowhere"}]}`, ``, ``},
		{`{"version":2}`, ``, ``}, {`null`, ``, ``}, {`[]`, ``, ``}, {`{"version":1,"snapshots":[{"file":""}]}`, ``, ``}, {`{"version":1,"image":[""],"snapshots":[{"name":"s","file":"..","id":"A"}]}`, ``, ``},
	} {
		f.Add([]byte(s.record), []byte(s.image), []byte(s.other), true)
		f.Add([]byte(s.record), []byte(s.image), []byte(s.other), false)
	}
	f.Fuzz(func(t *testing.T, text, image, other []byte, intact bool) {
		home := t.TempDir()
		path, theirs := filepath.Join(home, "disk.img"), filepath.Join(home, "theirs.img")
		if intact && json.Valid(text) {
			var err error
			if text, err = json.Marshal(sealed{Record: text, SHA256: hash(text)}); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(os.Mkdir(Folder(path), 0o700), os.WriteFile(recordFile(Folder(path)), text, 0o600)); err != nil {
			t.Fatal(err)
		}
		for name, value := range map[string][]byte{path: image, filepath.Join(Folder(path), "s.img"): other, theirs: other} {
			if err := os.WriteFile(name, make([]byte, 8192), 0o600); err != nil {
				t.Fatal(err)
			}
			if len(value) > 0 && len(value) < 2000 {
				if err := unix.Setxattr(name, attribute, value, 0); err != nil {
					t.Skipf("no extended attributes here: %v", err)
				}
			}
		}
		before, err := os.Stat(theirs)
		if err != nil {
			t.Fatal(err)
		}
		i := At(path)
		all, _ := i.Snapshots()
		for _, s := range all {
			if filepath.Dir(s.File) != Folder(path) {
				t.Errorf("the snapshot %q is at %s", s.Name, s.File)
			}
		}
		if s, err := Open(file.Options{Path: path}); err == nil {
			if _, err := s.ReadAt(make([]byte, 512), 0); err != nil {
				t.Errorf("read: %v", err)
			}
			if err := s.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		}
		_ = i.Take("t", time.Unix(0, 0))
		_ = i.Rollback("s")
		for _, name := range []string{"s", "t"} {
			if to, err := i.Remove(name); err == nil && !to.Done {
				if i.Merge(t.Context(), name, to, false, func(int64) {}) == nil {
					_ = i.Join(name, to)
				}
			}
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		_ = i.Forget()
		if after, err := os.Stat(theirs); err != nil || !os.SameFile(before, after) || after.Size() != before.Size() || !after.ModTime().Equal(before.ModTime()) {
			t.Errorf("a file that is not the image's: %v, %v", after, err)
		}
		if entries, err := os.ReadDir(home); err != nil || len(entries) > 3 {
			t.Errorf("beside the image there are %v, %v", entries, err)
		}
	})
}
