package snapshot_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/backstore/file"
	"github.com/isantarget/isantarget/backstore/snapshot"
	"github.com/isantarget/isantarget/internal/loopdevice"
)

// A disk is an image and what it should hold, now and at each snapshot.
type disk struct {
	path string
	*snapshot.Image
	want []byte
	kept map[string][]byte
	r    *rand.Rand
}

func newDisk(t testing.TB, path string, length int64, seed uint64) *disk {
	create(t, path, length)
	d := &disk{path: path, Image: snapshot.At(path), want: make([]byte, length), kept: map[string][]byte{}, r: rand.New(rand.NewPCG(seed, 5))}
	d.scribble(t)
	return d
}

func (d *disk) scribble(t testing.TB) {
	t.Helper()
	s := open(t, file.Options{Path: d.path})
	scribble(t, s, d.want, d.r, 12)
	must(t, errors.Join(s.Sync(), s.Close()))
}

func (d *disk) take(t testing.TB, name string) {
	t.Helper()
	must(t, d.Take(name, now()))
	d.kept[name] = append([]byte(nil), d.want...)
}

// check compares the image and each snapshot, by way of a clone.
func (d *disk) check(t testing.TB, when string) {
	t.Helper()
	holds(t, d.path, d.want, when)
	for name, want := range d.kept {
		clone := filepath.Join(filepath.Dir(d.path), "check.img")
		must(t, d.Clone(name, clone))
		holds(t, clone, want, when+", the snapshot "+name)
		must(t, os.Remove(clone))
	}
}

// Snapshots can be rolled back to and deleted in every order, and what is left holds
// what it held.
func TestRollbackAndRemove(t *testing.T) {
	eachFileSystem(t, func(t *testing.T, folder string, shares bool) {
		for seed := range uint64(2) {
			d := newDisk(t, filepath.Join(folder, "disk"+strconv.Itoa(int(seed))), 1<<20+512, seed)
			for round := range 8 {
				name := "s" + strconv.Itoa(round)
				switch have := sortedKeys(d.kept); {
				case len(have) == 0 || d.r.IntN(3) == 0:
					d.take(t, name)
				case d.r.IntN(2) == 0:
					name = have[d.r.IntN(len(have))]
					must(t, d.Rollback(name))
					copy(d.want, d.kept[name])
				default:
					name = have[d.r.IntN(len(have))]
					err := remove(t, d.Image, name)
					if err != nil && strings.Contains(err.Error(), "more than one thing lies above") && !shares {
						break
					}
					must(t, err)
					delete(d.kept, name)
				}
				d.check(t, "after round "+strconv.Itoa(round))
				d.scribble(t)
			}
			for len(d.kept) > 0 { // leaves first, if there is no other way
				before := len(d.kept)
				for _, name := range sortedKeys(d.kept) {
					if remove(t, d.Image, name) == nil {
						delete(d.kept, name)
					}
				}
				if len(d.kept) == before {
					t.Fatalf("none of %v can be deleted", sortedKeys(d.kept))
				}
			}
			holds(t, d.path, d.want, "with no snapshot left")
			if _, err := os.Stat(snapshot.Folder(d.path)); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the folder of the snapshots is still there: %v", err)
			}
			s := open(t, file.Options{Path: d.path})
			if _, plain := s.(*file.Store); !plain {
				t.Errorf("without snapshots the image is a %T", s)
			}
			must(t, s.Close())
		}
	})
}

func sortedKeys(m map[string][]byte) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	for i := range keys {
		for j := i; j > 0 && keys[j] < keys[j-1]; j-- {
			keys[j], keys[j-1] = keys[j-1], keys[j]
		}
	}
	return keys
}

// A clone is an image of its own: what is written to it is in no other, and it can have
// snapshots and clones itself.
func TestClone(t *testing.T) {
	eachFileSystem(t, func(t *testing.T, folder string, shares bool) {
		d := newDisk(t, filepath.Join(folder, "disk.img"), 4<<20, 9)
		d.take(t, "one")
		must(t, os.Mkdir(filepath.Join(folder, "elsewhere"), 0o700))
		second := &disk{path: filepath.Join(folder, "elsewhere", "second.img"), kept: map[string][]byte{}, r: d.r}
		second.Image, second.want = snapshot.At(second.path), append([]byte(nil), d.want...)
		must(t, d.Clone("one", second.path))
		second.scribble(t)
		d.scribble(t)
		second.take(t, "two")
		second.scribble(t)
		second.check(t, "the clone")
		d.check(t, "the image")
		if err := remove(t, d.Image, "one"); shares {
			must(t, err)
			delete(d.kept, "one")
		} else if err == nil || !strings.Contains(err.Error(), "clones lie above it: "+second.path) {
			t.Fatalf("the snapshot below a clone is deleted: %v", err)
		}
		must(t, remove(t, second.Image, "two"))
		delete(second.kept, "two")
		second.check(t, "the clone without a snapshot")
		d.check(t, "the image at the end")
		must(t, os.Remove(second.path)) // the clone is gone, and holds nothing back any more
		if !shares {
			must(t, remove(t, d.Image, "one"))
			delete(d.kept, "one")
		}
		create(t, second.path, 1<<20) // and its name is free
		d.check(t, "without clones")
	})
}

// What is told of sizes is what the file system and du(1) say.
func TestSnapshots_Usage(t *testing.T) {
	eachFileSystem(t, func(t *testing.T, folder string, shares bool) {
		d := newDisk(t, filepath.Join(folder, "disk.img"), 32<<20, 11)
		s := open(t, file.Options{Path: d.path})
		_, err := s.WriteAt(noise(8<<20, d.r), 0)
		must(t, errors.Join(err, s.Sync(), s.Close()))
		must(t, d.Take("one", now()))
		must(t, d.Take("two", now()))
		all, err := d.Snapshots()
		must(t, err)
		if len(all) != 2 || all[0].Name != "one" || all[1].Name != "two" || !all[0].Taken.Equal(now()) || all[0].Size != 32<<20 {
			t.Fatalf("the snapshots are %+v", all)
		}
		for _, one := range all {
			if du := diskUsage(t, one.File); one.Allocated != du {
				t.Errorf("%s: %d bytes are told of, du says %d", one.Name, one.Allocated, du)
			}
		}
		before := free(t, folder)
		must(t, remove(t, d.Image, "two"))
		if shares && free(t, folder)+1<<20 < before {
			t.Error("deleting a snapshot took space")
		}
	})
}

func diskUsage(t testing.TB, path string) int64 {
	t.Helper()
	out, err := exec.Command("du", "-B1", path).Output()
	must(t, err)
	n, err := strconv.ParseInt(strings.Fields(string(out))[0], 10, 64)
	must(t, err)
	return n
}

func free(t testing.TB, folder string) int64 {
	t.Helper()
	var s unix.Statfs_t
	must(t, unix.Statfs(folder, &s))
	return int64(s.Bavail) * s.Bsize
}

// A write that finds no space for a block says so, and leaves the block as it was.
func TestOverlay_OutOfSpace(t *testing.T) {
	for name, fs := range fileSystems {
		if fs.shares {
			continue
		}
		for _, direct := range []bool{false, true} {
			if direct && name != "ext4" {
				continue // one will do
			}
			t.Run(name+"/direct="+strconv.FormatBool(direct), func(t *testing.T) {
				t.Parallel()
				folder := mounted(t, name, 320<<20)
				d := newDisk(t, filepath.Join(folder, "disk.img"), 8<<20, 21)
				s := open(t, file.Options{Path: d.path})
				d.want = noise(len(d.want), d.r)
				_, err := s.WriteAt(d.want, 0)
				must(t, errors.Join(err, s.Sync(), s.Close()))
				must(t, d.Take("one", now()))
				fill(t, folder)
				s = open(t, file.Options{Path: d.path, Direct: direct})
				full := 0
				for range 1000 {
					length := 512 * (1 + d.r.IntN(32))
					off := 512 * d.r.IntN((len(d.want)-length)/512)
					p := noise(length, d.r)
					n, err := backstore.Bind(s).WriteAt(p, int64(off))
					var failed *backstore.Error
					switch {
					case err == nil:
						copy(d.want[off:], p)
					case !errors.As(err, &failed) || !errors.Is(err, backstore.ErrNoSpace) || failed.Offset != int64(off+n):
						t.Fatalf("a write of %d bytes at %d: %d, %v", length, off, n, err)
					default:
						full++
						copy(d.want[off:], p[:n]) // what is told of as written is
						d.settle(t, s, off+n, p[n:])
					}
				}
				if full == 0 {
					t.Fatal("the file system was never full")
				}
				same(t, content(t, s), d.want, "on a full file system")
				must(t, errors.Join(s.Sync(), s.Close()))
				holds(t, d.path, d.want, "after a restart on a full file system")
				must(t, os.Remove(filepath.Join(folder, "filler")))
				d.scribble(t)
				holds(t, d.path, d.want, "with space again")
			})
		}
	}
}

// settle finds out what a failed write of p at off has left: of each sector the old
// content or the new.
func (d *disk) settle(t testing.TB, s backstore.Store, off int, p []byte) {
	t.Helper()
	got := make([]byte, len(p))
	_, err := s.ReadAt(got, int64(off))
	must(t, err)
	for at := 0; at < len(p); at += 512 {
		sector, old, next := got[at:at+512], d.want[off+at:off+at+512], p[at:at+512]
		if !bytes.Equal(sector, old) && !bytes.Equal(sector, next) {
			t.Fatalf("after a failed write the sector at %d is neither what it was nor what was written", off+at)
		}
		copy(old, sector)
	}
}

func fill(t testing.TB, folder string) {
	t.Helper()
	f, err := os.Create(filepath.Join(folder, "filler"))
	must(t, err)
	for off, step := int64(0), int64(64<<20); step >= 512<<10; { // a little is left, so that some writes succeed
		if err := unix.Fallocate(int(f.Fd()), 0, off, step); err != nil {
			step /= 2
			continue
		}
		off += step
	}
	must(t, errors.Join(f.Sync(), f.Close()))
}

// An overlay is never taken for a whole image, nor put above what is not its snapshot.
func TestOpen_Refuses(t *testing.T) {
	folder := mounted(t, "ext4", 256<<20)
	d := newDisk(t, filepath.Join(folder, "disk.img"), 4<<20, 31)
	d.take(t, "one")
	d.scribble(t)
	base := filepath.Join(snapshot.Folder(d.path), "one.img")
	record := filepath.Join(snapshot.Folder(d.path), "record.json")
	for what, c := range map[string]struct {
		do   func()
		undo func()
		want string
	}{
		"the record is gone": {func() { move(t, record, record+".away") }, func() { move(t, record+".away", record) }, "put the folder disk.img.snapshots back"},
		"the record is damaged": {
			func() { move(t, record, record+".away"); edit(t, record+".away", record) }, func() { move(t, record+".away", record) }, "is damaged",
		},
		"the snapshot is gone":     {func() { move(t, base, base+".away") }, func() { move(t, base+".away", base) }, "one.img, is not there: put it back"},
		"the snapshot is replaced": {func() { move(t, base, base+".away"); run(t, "cp", base+".away", base) }, func() { move(t, base+".away", base) }, "is not the snapshot that it lies above"},
		"the image was copied without its mark": {
			func() { move(t, d.path, d.path+".away"); run(t, "cp", "--sparse=always", d.path+".away", d.path) }, func() { move(t, d.path+".away", d.path) }, "copied without its extended attributes",
		},
		"the image is gone": {func() { move(t, d.path, d.path+".away") }, func() { move(t, d.path+".away", d.path) }, "there are snapshots of it"},
	} {
		c.do()
		s, err := snapshot.Open(file.Options{Path: d.path, Create: true, Size: 4 << 20})
		if err == nil {
			_ = s.Close()
			t.Errorf("%s: it is opened", what)
		} else if !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; it should say %q", what, err, c.want)
		}
		c.undo()
		d.check(t, "after it was mended")
	}
	for name, mode := range map[string]os.FileMode{record: 0o600, base: 0o600, d.path: 0o600, snapshot.Folder(d.path): 0o700} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v; want %v", name, info.Mode(), err, mode)
		}
	}
}

func move(t testing.TB, from, to string) { t.Helper(); must(t, os.Rename(from, to)) }

func edit(t testing.TB, from, to string) {
	t.Helper()
	text, err := os.ReadFile(from)
	must(t, errors.Join(err, os.WriteFile(to, []byte(strings.Replace(string(text), "one", "two", 1)), 0o600)))
}

func run(t testing.TB, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

// The image and its snapshot are locked against others as long as the image is open.
func TestOverlay_Locks(t *testing.T) {
	folder := mounted(t, "ext4", 256<<20)
	d := newDisk(t, filepath.Join(folder, "disk.img"), 4<<20, 41)
	d.take(t, "one")
	s := open(t, file.Options{Path: d.path})
	for _, path := range []string{d.path, filepath.Join(snapshot.Folder(d.path), "one.img")} {
		if _, err := file.Open(file.Options{Path: path}); !errors.Is(err, backstore.ErrLocked) {
			t.Errorf("%s can be opened to be written: %v", path, err)
		}
	}
	must(t, s.Close())
}

// A LUN that has grown since a snapshot keeps its size through a rollback.
func TestRollback_KeepsSize(t *testing.T) {
	eachFileSystem(t, func(t *testing.T, folder string, _ bool) {
		d := newDisk(t, filepath.Join(folder, "disk.img"), 1<<20, 51)
		d.take(t, "small")
		must(t, os.Truncate(d.path, 4<<20))
		d.want = append(d.want, make([]byte, 3<<20)...)
		d.scribble(t)
		d.check(t, "grown")
		must(t, d.Rollback("small"))
		d.want = append(append([]byte(nil), d.kept["small"]...), make([]byte, 3<<20)...)
		d.check(t, "rolled back")
		must(t, remove(t, d.Image, "small"))
		delete(d.kept, "small")
		d.check(t, "with no snapshot")
	})
}

// Breaking off a merge loses nothing, and it can be begun again.
func TestMerge_BrokenOff(t *testing.T) {
	folder := mounted(t, "ext4", 256<<20)
	d := newDisk(t, filepath.Join(folder, "disk.img"), 8<<20, 61)
	d.take(t, "one")
	d.scribble(t)
	to, err := d.Remove("one")
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.Merge(ctx, "one", to, false, func(int64) {}); !errors.Is(err, context.Canceled) {
		t.Fatalf("a merge that is broken off: %v", err)
	}
	if got := names(t, d.path); got != "one(deleting)" {
		t.Fatalf("the snapshots are %q", got)
	}
	delete(d.kept, "one")
	d.check(t, "in the middle of it")
	if err := d.Rollback("one"); err == nil || !strings.Contains(err.Error(), "being deleted") {
		t.Errorf("a rollback to what is being deleted: %v", err)
	}
	must(t, remove(t, d.Image, "one"))
	d.check(t, "at its end")
}

// What is frozen while the image is served can be merged beside writes.
func TestFreeze(t *testing.T) {
	folder := mounted(t, "ext4", 256<<20)
	d := newDisk(t, filepath.Join(folder, "disk.img"), 8<<20, 71)
	d.take(t, "one")
	d.take(t, "two")
	d.scribble(t)
	to, err := d.Remove("two")
	must(t, err)
	if !to.Image || to.Bytes == 0 {
		t.Fatalf("what is to be done: %+v", to)
	}
	must(t, d.Freeze("two", to))
	delete(d.kept, "two")
	s := open(t, file.Options{Path: d.path})
	scribble(t, s, d.want, d.r, 20)
	to, err = d.Remove("two")
	must(t, err)
	if to.Image {
		t.Fatalf("what is to be done: %+v", to)
	}
	must(t, d.Merge(t.Context(), "two", to, false, func(int64) {})) // while the image is open
	scribble(t, s, d.want, d.r, 20)
	must(t, s.Close())
	must(t, d.Join("two", to))
	d.check(t, "after the first half")
	must(t, remove(t, d.Image, "two"))
	d.check(t, "at the end")
	if got := names(t, d.path); got != "one" {
		t.Fatalf("the snapshots are %q", got)
	}
}

// A clone whose file system is not mounted is not taken for deleted: it would have lost all
// that it has from the snapshot.
func TestClone_Away(t *testing.T) {
	d := newDisk(t, filepath.Join(mounted(t, "ext4", 64<<20), "disk.img"), 4<<20, 9)
	d.take(t, "one")
	second := filepath.Join(t.TempDir(), "second disk")
	must(t, errors.Join(os.WriteFile(second, nil, 0o600), os.Truncate(second, 64<<20)))
	device := loopdevice.New(t, loopdevice.Options{File: second})
	elsewhere := loopdevice.Format(t, device, "ext4")
	clone := &disk{path: filepath.Join(elsewhere, "clone.img"), kept: map[string][]byte{}, r: d.r}
	clone.Image, clone.want = snapshot.At(clone.path), append([]byte(nil), d.want...)
	must(t, d.Clone("one", clone.path))
	clone.scribble(t)

	must(t, loopdevice.Unmount(elsewhere))
	refused := func() {
		t.Helper()
		if err := remove(t, d.Image, "one"); err == nil || !strings.Contains(err.Error(), "nothing is mounted at "+elsewhere) {
			t.Fatalf("the snapshot below a clone whose file system is away is deleted: %v", err)
		}
	}
	refused()
	other := filepath.Join(filepath.Dir(d.path), "other.img")
	must(t, d.Clone("one", other)) // the record is written anew
	must(t, os.Remove(other))
	refused()

	must(t, unix.Mount(device, elsewhere, "ext4", 0, ""))
	clone.check(t, "the clone that is back")
	must(t, os.Remove(clone.path))
	must(t, remove(t, d.Image, "one"))
}
