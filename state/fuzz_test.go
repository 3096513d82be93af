package state

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/isantarget/isantarget/scsi"
)

// FuzzTargetPorts: whatever stands in the record, two ports never have one number, those
// that have one keep it, and what cannot be read is not overwritten.
func FuzzTargetPorts(f *testing.F) {
	for _, s := range []string{"", "{}", `{"a":1,"b":2}`, `{"a":1,"b":1}`, `{"":3}`, `{"a":0}`, `{"a":65535}`, `{"a":65536}`, `{"a":-1}`, `{"a":"1"}`, "[]", "null", `{"a":1`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, record []byte) {
		dir := t.TempDir()
		file := filepath.Join(dir, "target-ports.json")
		if err := os.WriteFile(file, record, 0o600); err != nil {
			t.Fatal(err)
		}
		d, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		ports, err := d.TargetPorts([]string{"a", "b", "c"})
		if err != nil {
			if after, _ := os.ReadFile(file); string(after) != string(record) {
				t.Errorf("a record that cannot be read (%v) is overwritten", err)
			}
			return
		}
		seen := map[uint16]bool{0: true}
		for name, id := range ports {
			if seen[id] {
				t.Errorf("%q has the number %d of another, or none: %v", name, id, ports)
			}
			seen[id] = true
		}
		again, err := d.TargetPorts([]string{"c", "b", "a"})
		if err != nil || again["a"] != ports["a"] || again["b"] != ports["b"] || again["c"] != ports["c"] {
			t.Errorf("%v, and then %v, %v", ports, again, err)
		}
	})
}

// FuzzDirectory: what stands in the place of any record is refused, or taken, but opens no
// way out of the directory and breaks nothing.
func FuzzDirectory(f *testing.F) {
	f.Add("disk", []byte("0123456789abcdef"))
	f.Add("../../outside", []byte{})
	f.Add("a/b", []byte("\x00"))
	f.Fuzz(func(t *testing.T, name string, record []byte) {
		dir := t.TempDir()
		d, err := Open(filepath.Join(dir, "state"))
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		_ = d.Knows(name)
		if serial, err := d.Serial(name); err == nil {
			if again, err := d.Serial(name); err != nil || again != serial {
				t.Errorf("the serial of %q is %q, and then %q, %v", name, serial, again, err)
			}
		}
		id := scsi.Identity{Name: name, Serial: name}
		if err := d.Save(id, "mode", record); err == nil {
			if got, err := d.Load(id, "mode"); err != nil || string(got) != string(record) {
				t.Errorf("saved %q, loaded %q, %v", record, got, err)
			}
		}
		if err := d.ForgetSerial(name); err == nil && d.Knows(name) {
			t.Errorf("the serial of %q is forgotten, and known", name)
		}
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) != 1 {
			t.Errorf("outside of the state directory: %v, %v", entries, err)
		}
	})
}

// FuzzChange: whatever stands in the record of a change that has been decided, it is
// refused, and stays, or carried out among the objects: nothing elsewhere is touched.
func FuzzChange(f *testing.F) {
	for _, s := range []string{
		"", "null", "{}", `{"lun-a.toml":"[[lun]]"}`, `{"lun-b.toml":null}`, `{"../outside.toml":"x"}`, `{"../outside":null}`, `{"a/b.toml":"x"}`, `{"/outside.toml":"x"}`, `{".change.json":"{}"}`,
		`{".hidden.toml":"x"}`, `{"":"x"}`, `{".toml":null}`, `{"..":null}`, `{"lun-a.toml":7}`, `[]`, `{"lun-a.toml":"x"`, `{"a\u0000.toml":"x"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, record []byte) {
		dir := t.TempDir()
		objects, outside := filepath.Join(dir, "state", objectsName), filepath.Join(dir, "outside")
		if err := errors.Join(os.MkdirAll(objects, 0o700), os.WriteFile(outside, []byte("theirs"), 0o600), os.WriteFile(filepath.Join(dir, "state", "outside"), []byte("theirs"), 0o600),
			os.WriteFile(filepath.Join(objects, "lun-b.toml"), []byte("b"), 0o600), os.WriteFile(filepath.Join(objects, changeName), record, 0o600)); err != nil {
			t.Fatal(err)
		}
		d, err := Open(filepath.Join(dir, "state"))
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		told, unread := Objects(d.Path())
		made := d.ChangeObjects(Documents{"lun-c.toml": []byte("c")})
		if (unread == nil) != (made == nil) && len(record) < 200 { // a name may be too long for a file
			t.Errorf("the objects are read with %v, and changed with %v", unread, made)
		}
		for name := range told {
			if !isName(name) || strings.Contains(name, "/") {
				t.Errorf("%q passes for an object", name)
			}
		}
		if unread != nil {
			if after, _ := os.ReadFile(filepath.Join(objects, changeName)); string(after) != string(record) {
				t.Errorf("a record that cannot be read (%v) is overwritten", unread)
			}
		}
		for _, file := range []string{outside, filepath.Join(dir, "state", "outside")} {
			if text, err := os.ReadFile(file); err != nil || string(text) != "theirs" {
				t.Errorf("outside of the objects: %q, %v", text, err)
			}
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 2 {
			t.Errorf("outside of the state directory: %v, %v", entries, err)
		}
	})
}
