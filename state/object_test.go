package state

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// A dyingDisk does so many steps and then no more: the process is gone, by a panic that
// the test takes. Where fail is set it lives on, and the step alone fails.
type dyingDisk struct {
	osDisk
	steps *int // until the end
	fail  bool
}

// errDead is the panic of a process that is gone.
var errDead = errors.New("dead")

func (d dyingDisk) step(do func() error) error {
	*d.steps--
	if *d.steps == 0 && d.fail {
		return errInjected
	}
	if *d.steps <= 0 && !d.fail {
		panic(errDead)
	}
	return do()
}

func (d dyingDisk) mkdir(n string) error {
	return d.step(func() error { return d.osDisk.mkdir(n) })
}
func (d dyingDisk) flush(n string) error {
	return d.step(func() error { return d.osDisk.flush(n) })
}
func (d dyingDisk) remove(n string) error {
	return d.step(func() error { return d.osDisk.remove(n) })
}
func (d dyingDisk) rename(a, b string) error {
	return d.step(func() error { return d.osDisk.rename(a, b) })
}
func (d dyingDisk) write(n string, r []byte) error {
	if *d.steps == 1 {
		os.WriteFile(n, r[:len(r)/2], 0o600)
	}
	return d.step(func() error { return d.osDisk.write(n, r) })
}

func objects(t *testing.T, path string) string {
	t.Helper()
	all, err := Objects(path)
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		words = append(words, name+"="+string(all[name]))
	}
	return fmt.Sprint(words)
}

// TestChangeOfObjectsIsWhole ends the process at every step of a change of several
// objects, and lets every step fail: there is what was there, or what was wanted, and what
// was acknowledged is there.
func TestChangeOfObjectsIsWhole(t *testing.T) {
	before := Documents{"a.toml": []byte("one"), "b.toml": []byte("two")}
	change := Documents{"a.toml": nil, "b.toml": []byte("three"), "c.toml": []byte("four")}
	const was, wanted = "[a.toml=one b.toml=two]", "[b.toml=three c.toml=four]"
	for _, fail := range []bool{false, true} {
		seen := map[string]int{}
		for steps := 1; ; steps++ {
			path := t.TempDir()
			d := open(t, path)
			if err := d.ChangeObjects(before); err != nil {
				t.Fatal(err)
			}
			left := steps
			d.disk = dyingDisk{steps: &left, fail: fail}
			died := false
			err := func() error {
				defer func() {
					if p := recover(); p != nil {
						if p != errDead {
							panic(p)
						}
						died = true
					}
				}()
				return d.ChangeObjects(change)
			}()
			got := objects(t, path)
			seen[got]++
			switch {
			case got != was && got != wanted:
				t.Fatalf("step %d: there is %s", steps, got)
			case !died && err == nil && got != wanted:
				t.Errorf("step %d: acknowledged, and there is %s", steps, got)
			case err != nil && got != was:
				t.Errorf("step %d: %v, and there is %s", steps, err, got)
			}
			d.disk = osDisk{}
			if died {
				d = &Directory{path: path, disk: osDisk{}} // the next process
			}
			if err := d.ChangeObjects(Documents{"d.toml": []byte("five")}); err != nil {
				t.Fatalf("step %d: the next change: %v", steps, err)
			}
			later := objects(t, path)
			if want := got[:len(got)-1] + " d.toml=five]"; later != want {
				t.Errorf("step %d: after the next change there is %s, want %s", steps, later, want)
			}
			if left > 0 {
				t.Logf("%d steps: %v", steps-1, seen)
				break
			}
		}
		if len(seen) != 2 || seen[was] < 2 || seen[wanted] < 8 {
			t.Errorf("fail %v: outcomes %v; not every step is tried", fail, seen)
		}
	}
}

func TestObjectsAreKept(t *testing.T) {
	path := t.TempDir()
	if got := objects(t, path); got != "[]" {
		t.Errorf("nothing is %s", got)
	}
	d := open(t, path)
	for _, name := range []string{"a", ".toml", "../a.toml", "x/a.toml", ""} {
		if err := d.ChangeObjects(Documents{name: []byte("x")}); err == nil {
			t.Errorf("%q is a name", name)
		}
	}
	if err := d.ChangeObjects(Documents{"a.toml": []byte("one")}); err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]os.FileMode{"config.d": 0o700 | os.ModeDir, "config.d/a.toml": 0o600} {
		if info, err := os.Stat(filepath.Join(path, name)); err != nil || info.Mode() != mode {
			t.Errorf("%s: %v %v, want mode %v", name, info.Mode(), err, mode)
		}
	}
	if err := os.WriteFile(filepath.Join(path, "config.d", changeName), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Objects(path); err == nil {
		t.Error("a change that cannot be read is taken for none")
	}
	if err := d.ChangeObjects(Documents{"a.toml": nil}); err == nil {
		t.Error("a change that cannot be read is forgotten")
	}
}
