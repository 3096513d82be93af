package state

import (
	"maps"
	"os"
	"path/filepath"
	"testing"
)

// A target port keeps its number over restarts, and whatever other ports come and go.
func TestTargetPorts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	for _, step := range []struct {
		names []string
		want  map[string]uint16
	}{
		{nil, map[string]uint16{}},
		{[]string{"b", "a"}, map[string]uint16{"b": 1, "a": 2}},
		{[]string{"0", "a"}, map[string]uint16{"b": 1, "a": 2, "0": 3}},
		{[]string{"b"}, map[string]uint16{"b": 1, "a": 2, "0": 3}},
	} {
		d := open(t, path)
		got, err := d.TargetPorts(step.names)
		if err != nil || !maps.Equal(got, step.want) {
			t.Errorf("%q: %v, %v; want %v", step.names, got, err, step.want)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, damaged := range []string{"", "{", `{"a": 0}`, `{"a": 1, "b": 1}`, `{"a": 65536}`} {
		if err := os.WriteFile(filepath.Join(path, "target-ports.json"), []byte(damaged), 0o600); err != nil {
			t.Fatal(err)
		}
		d := open(t, path)
		if got, err := d.TargetPorts([]string{"a", "b"}); err == nil {
			t.Errorf("%q gives %v", damaged, got)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	// A hole in the numbers is filled.
	if err := os.WriteFile(filepath.Join(path, "target-ports.json"), []byte(`{"a": 1, "c": 3}`), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := open(t, path).TargetPorts([]string{"x", "y"})
	if err != nil || got["x"] != 2 || got["y"] != 4 {
		t.Errorf("%v, %v", got, err)
	}
}
