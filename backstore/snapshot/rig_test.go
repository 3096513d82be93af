package snapshot_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/backstore/file"
	"github.com/isantarget/isantarget/backstore/snapshot"
	"github.com/isantarget/isantarget/internal/loopdevice"
)

const size = 32 << 20

// fileSystems are those that snapshots are proven on: kind, options of mkfs, and whether
// blocks are shared.
var fileSystems = map[string]struct {
	kind    string
	options []string
	shares  bool
}{
	"ext4":           {kind: "ext4"},
	"ext4-1k":        {kind: "ext4", options: []string{"-b", "1024"}},
	"xfs-no-reflink": {kind: "xfs", options: []string{"-m", "reflink=0"}},
	"xfs":            {kind: "xfs", shares: true},
	"btrfs":          {kind: "btrfs", shares: true},
}

// mounted makes a file system and returns where it is mounted.
func mounted(t testing.TB, name string, bytes int64) string {
	t.Helper()
	fs := fileSystems[name]
	return loopdevice.FileSystem(t, fs.kind, bytes, fs.options...)
}

// eachFileSystem runs a test on each of them, in a folder of its own.
func eachFileSystem(t *testing.T, test func(t *testing.T, folder string, shares bool)) {
	for name, fs := range fileSystems {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // they wait for syncs most of the time
			test(t, mounted(t, name, 512<<20), fs.shares)
		})
	}
}

func open(t testing.TB, o file.Options) backstore.Store {
	t.Helper()
	s, err := snapshot.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// create makes a sparse image and closes it.
func create(t testing.TB, path string, length int64) {
	t.Helper()
	must(t, open(t, file.Options{Path: path, Create: true, Size: length}).Close())
}

// overlaid is an empty image upon a snapshot, on a file system of a kind and size: bytes.
func overlaid(t testing.TB, kind string, bytes, length int64) (path string) {
	t.Helper()
	path = filepath.Join(mounted(t, kind, bytes), "disk.img")
	create(t, path, length)
	must(t, snapshot.At(path).Take("one", now()))
	return path
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func now() time.Time { return time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC) }

// content is all that a store holds.
func content(t testing.TB, s backstore.Store) []byte {
	t.Helper()
	p := make([]byte, s.Geometry().Size)
	if _, err := s.ReadAt(p, 0); err != nil {
		t.Fatal(err)
	}
	return p
}

// holds opens the image at path and compares all of it.
func holds(t testing.TB, path string, want []byte, when string) {
	t.Helper()
	s := open(t, file.Options{Path: path})
	defer func() { must(t, s.Close()) }()
	same(t, content(t, s), want, when)
}

func same(t testing.TB, got, want []byte, when string) {
	t.Helper()
	if bytes.Equal(got, want) {
		return
	}
	if len(got) != len(want) {
		t.Fatalf("%s: %d bytes, want %d", when, len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("%s: byte %d (block %d) is %#02x, want %#02x", when, i, i/4096, got[i], want[i])
		}
	}
}

func noise(n int, r *rand.Rand) []byte {
	p := make([]byte, n+8)
	for i := 0; i < n; i += 8 {
		binary.NativeEndian.PutUint64(p[i:], r.Uint64())
	}
	return p[:n]
}

// scribble does random things to an open image and to what it should hold.
func scribble(t testing.TB, s backstore.Store, want []byte, r *rand.Rand, steps int) {
	t.Helper()
	m := backstore.Bind(s)
	for range steps {
		length := 1 + r.IntN(1<<(1+r.IntN(18)))
		off := r.IntN(len(want) - length)
		if r.IntN(2) == 0 {
			off &^= 4095
			length = min(max(length&^4095, 4096), len(want)-off)
		}
		own := want[off : off+length]
		var err error
		what := "WriteAt"
		switch r.IntN(8) {
		case 0:
			what = "UnmapAt"
			clear(own)
			if err = m.UnmapAt(int64(off), int64(length)); errors.Is(err, errors.ErrUnsupported) {
				err = m.ZeroAt(int64(off), int64(length), false)
			}
		case 1:
			what = "ZeroAt"
			clear(own)
			err = m.ZeroAt(int64(off), int64(length), r.IntN(2) == 0)
		case 2:
			what = "WriteThroughAt"
			copy(own, noise(length, r))
			_, err = m.WriteThroughAt(own, int64(off))
		case 3:
			what = "TryWriteAt"
			copy(own, noise(length, r))
			if _, err = m.TryWriteAt(own, int64(off)); err == backstore.ErrWouldBlock {
				_, err = m.WriteAt(own, int64(off))
			}
		default:
			copy(own, noise(length, r))
			_, err = m.WriteAt(own, int64(off))
		}
		if err != nil {
			t.Fatalf("%s of %d bytes at %d: %v", what, length, off, err)
		}
		got := make([]byte, length)
		if _, err := m.TryReadAt(got, int64(off)); err != nil {
			if _, err = m.ReadAt(got, int64(off)); err != nil {
				t.Fatal(err)
			}
		}
		same(t, got, own, fmt.Sprintf("read back after %s of %d bytes at %d", what, length, off))
	}
}

// names are those of the snapshots of an image.
func names(t testing.TB, path string) string {
	t.Helper()
	all, err := snapshot.At(path).Snapshots()
	must(t, err)
	var list []string
	for _, s := range all {
		name := s.Name
		if s.Deleting {
			name += "(deleting)"
		}
		list = append(list, name)
	}
	return strings.Join(list, " ")
}

// remove deletes a snapshot, as provision does, of an image that nobody has open.
func remove(t testing.TB, i *snapshot.Image, name string) error {
	t.Helper()
	return removeNow(i, name)
}
