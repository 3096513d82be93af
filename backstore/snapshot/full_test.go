package snapshot_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/backstore/file"
	"github.com/isantarget/isantarget/backstore/snapshot"
)

// fillUp takes all the space there is, to the last block, and what is freed late as well.
func fillUp(t testing.TB, folder string) {
	t.Helper()
	f, err := os.Create(filepath.Join(folder, "filler"))
	must(t, err)
	off := int64(0)
	for range 3 {
		must(t, unix.Syncfs(int(f.Fd())))
		for step := int64(64 << 20); step >= 1024; {
			if err := unix.Fallocate(int(f.Fd()), 0, off, step); err != nil {
				step /= 2
				continue
			}
			off += step
		}
	}
	must(t, errors.Join(f.Sync(), f.Close()))
}

// overwrite writes all of the image from off on anew.
func (d *disk) overwrite(t testing.TB, off int) {
	t.Helper()
	s := open(t, file.Options{Path: d.path})
	copy(d.want[off:], noise(len(d.want)-off, d.r))
	_, err := s.WriteAt(d.want[off:], int64(off))
	must(t, errors.Join(err, s.Sync(), s.Close()))
}

// eachOverlay runs a test on each file system that does not share blocks.
func eachOverlay(t *testing.T, test func(t *testing.T, d *disk)) {
	for name, fs := range fileSystems {
		if fs.shares {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDisk(t, filepath.Join(mounted(t, name, 320<<20), "disk.img"), 8<<20, 23)
			test(t, d)
		})
	}
}

// On a full file system snapshots can be deleted, which gives space back: what is noted of
// them has its space.
func TestRemove_OutOfSpace(t *testing.T) {
	eachOverlay(t, func(t *testing.T, d *disk) {
		d.overwrite(t, 0)
		d.take(t, "one")
		d.overwrite(t, 0)
		d.take(t, "two")
		d.overwrite(t, 0)
		fillUp(t, filepath.Dir(d.path))
		if err := d.Take("three", now()); !errors.Is(err, unix.ENOSPC) {
			t.Fatalf("the file system is not full: %v", err)
		}
		if strings.HasSuffix(t.Name(), "/xfs-no-reflink") {
			if err := remove(t, d.Image, "one"); !errors.Is(err, unix.ENOSPC) || names(t, d.path) != "one two" {
				t.Errorf("without a block for marks: %v, and there are %q", err, names(t, d.path))
			}
			must(t, os.Truncate(filepath.Join(filepath.Dir(d.path), "filler"), 200<<20))
		}
		before := freeOf(t, d.path)
		for _, name := range []string{"one", "two"} {
			if err := remove(t, d.Image, name); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			holds(t, d.path, d.want, "without the snapshot "+name)
		}
		now := freeOf(t, d.path)
		for end := time.Now().Add(time.Minute); now < before+15<<20 && time.Now().Before(end); now = freeOf(t, d.path) {
			time.Sleep(10 * time.Millisecond) // XFS frees what was removed in the background
		}
		if now < before+15<<20 {
			t.Errorf("%d bytes are free, before they were deleted %d", now, before)
		}
		if _, err := os.Stat(snapshot.Folder(d.path)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the folder of the snapshots is still there: %v", err)
		}
	})
}

// A snapshot whose deletion takes more space than there is stays what it is, and takes none.
func TestRemove_TooMuch(t *testing.T) {
	eachOverlay(t, func(t *testing.T, d *disk) {
		s := open(t, file.Options{Path: d.path})
		clear(d.want)
		must(t, errors.Join(s.(interface{ UnmapAt(off, length int64) error }).UnmapAt(0, int64(len(d.want))), s.Close()))
		d.take(t, "one")
		d.overwrite(t, 1<<20)
		fillUp(t, filepath.Dir(d.path))
		err := remove(t, d.Image, "one")
		if err == nil || !strings.Contains(err.Error(), "takes 7") {
			t.Errorf("it says: %v", err)
		}
		if got := names(t, d.path); got != "one" {
			t.Errorf("the snapshots are %q", got)
		}
		must(t, os.Remove(filepath.Join(filepath.Dir(d.path), "filler")))
		d.check(t, "with space again")
		must(t, remove(t, d.Image, "one"))
		holds(t, d.path, d.want, "without the snapshot")
	})
}

// freeOf are the bytes that the file system of a file has free, what root alone may take included.
func freeOf(t testing.TB, path string) int64 {
	t.Helper()
	var s unix.Statfs_t
	must(t, unix.Statfs(path, &s))
	return int64(s.Bfree) * s.Bsize
}
