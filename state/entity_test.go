package state

import (
	"os"
	"path/filepath"
	"testing"
)

func TestEntityIdentifierStays_RFC4171_6_2_1(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	name := func(dir string) (string, error) {
		d, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		return d.EntityIdentifier()
	}
	first, err := name(dir)
	if err != nil || first == "" {
		t.Fatal(first, err)
	}
	if again, err := name(dir); err != nil || again != first {
		t.Errorf("then %q, %v; first %q", again, err, first)
	}
	if another, err := name(other); err != nil || another == first {
		t.Errorf("two daemons are %q and %q, %v", first, another, err)
	}
	for _, wrong := range []string{"", "two words\n", "isantarget-\x00"} {
		if err := os.WriteFile(filepath.Join(dir, "isns-entity"), []byte(wrong), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := name(dir); err == nil {
			t.Errorf("of the record %q: %q", wrong, got)
		}
	}
}
