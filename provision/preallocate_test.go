package provision

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/internal/loopdevice"
)

// A sparse LUN takes space ahead of a sequential writer where the configuration and the
// threshold of its file system let it, and follows them when they change.
func TestPreallocate(t *testing.T) {
	folder := loopdevice.FileSystem(t, "xfs", 1024*mib)
	config := func(threshold int, preallocate string) string {
		return fmt.Sprintf("[[store]]\nname = \"tank\"\npath = %q\novercommit = \"allow\"\nspace-threshold = %d\n[[lun]]\nname = \"disk\"\nstore = \"tank\"\nsize = \"4GiB\"\n%s\n", folder, threshold, preallocate) +
			"[[target]]\nname = \"iqn.2026-11.test:disk\"\nluns = { 0 = \"disk\" }\n"
	}
	// Half of the file system is taken, so that a threshold of 40 % is crossed.
	ballast, err := os.Create(filepath.Join(folder, "ballast"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ballast.Close() }()
	if err := unix.Fallocate(int(ballast.Fd()), 0, 0, 512*mib); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	d := start(t, dir, config(90, ""))
	at := int64(0)
	write := func() { // a region more, and tells where
		t.Helper()
		m := d.now.Load().units["disk"].medium
		p := make([]byte, 1<<20)
		for i := range p {
			p[i] = 0xa5
		}
		for range 4 {
			if _, err := m.WriteAt(p, at); err != nil {
				t.Fatal(err)
			}
			at += int64(len(p))
		}
	}
	ahead := func() bool {
		t.Helper()
		e, err := d.now.Load().units["disk"].medium.ExtentAt(at, 2<<20) // more than a unit of XFS
		if err != nil {
			t.Fatal(err)
		}
		return e.State == backstore.Anchored && e.Length == 2<<20
	}
	expect := func(when string, want bool) {
		t.Helper()
		write()
		for end := time.Now().Add(20 * time.Second); ahead() != want || !want; time.Sleep(time.Millisecond) {
			if !want && ahead() {
				t.Fatalf("%s space is taken ahead", when)
			}
			if !want && time.Now().After(end.Add(-19*time.Second)) {
				return // there was time to
			}
			if time.Now().After(end) {
				t.Fatalf("%s no space is taken ahead", when)
			}
		}
	}
	expect("without a word", true)
	d.apply(t, dir, config(40, ""))
	for end := time.Now().Add(20 * time.Second); ahead(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("above the threshold what was taken ahead is kept")
		}
	}
	expect("above the threshold", false)
	d.apply(t, dir, config(90, `preallocate = "off"`))
	expect("when it is off", false)
	d.apply(t, dir, config(90, `preallocate = "auto"`))
	expect("when it is on", true)
}
