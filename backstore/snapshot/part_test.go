package snapshot_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/backstore/file"
	"github.com/isantarget/isantarget/backstore/snapshot"
)

// A loss of power leaves a part of a block where a write was on its way, of a file system
// whose blocks are smaller than a page. It is not held; so no merge may bring it into what
// is read instead.
func TestMerge_PartOfBlock(t *testing.T) {
	d := newDisk(t, filepath.Join(mounted(t, "ext4-1k", 512<<20), "disk.img"), 1<<20, 82)
	d.take(t, "one")
	f, err := os.OpenFile(d.path, os.O_RDWR, 0)
	must(t, err)
	for _, off := range []int64{8 << 10, 41 << 10, 67 << 10} { // at the beginning, within and at the end of a block
		_, err := f.WriteAt(noise(1024, d.r), off)
		must(t, err)
	}
	must(t, errors.Join(f.Sync(), f.Close()))
	d.check(t, "with parts of blocks")
	must(t, remove(t, d.Image, "one"))
	delete(d.kept, "one")
	d.check(t, "after the merge")
}

// An image whose end lies in a block keeps what was written there when it has become
// longer, after a restart too, and so do its snapshots.
func TestOverlay_GrowsFromPartOfBlock(t *testing.T) {
	for name, fs := range fileSystems {
		if fs.shares {
			continue // no overlays there
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, written := range []bool{false, true} {
				const before, between, after = 1<<20 + 512, 1<<20 + 16<<10 + 1536, 2 << 20
				r := rand.New(rand.NewPCG(83, 84))
				path := filepath.Join(mounted(t, name, 512<<20), "disk.img")
				create(t, path, before)
				want := make([]byte, before)
				s := open(t, file.Options{Path: path})
				scribble(t, s, want, r, 12)
				copy(want[before-4096:], noise(4096, r))
				_, err := s.WriteAt(want[before-4096:], before-4096)
				must(t, errors.Join(err, s.Close()))
				i := snapshot.At(path)
				must(t, i.Take("one", now()))
				s = open(t, file.Options{Path: path})
				for _, size := range []int64{between, after} {
					if end := int64(len(want)); written {
						copy(want[end-512:], noise(512, r))
						_, err := s.WriteAt(want[end-512:], end-512)
						must(t, err)
					}
					_, err := backstore.Bind(s).Grow(size, nil)
					must(t, errors.Join(err, s.Sync()))
					want = append(want, make([]byte, size-int64(len(want)))...)
					same(t, content(t, s), want, "grown")
					must(t, s.Close())
					holds(t, path, want, "after a restart")
					s = open(t, file.Options{Path: path})
				}
				must(t, s.Close())
				must(t, remove(t, i, "one"))
				holds(t, path, want, "after the merge")
			}
		})
	}
}

// A write that was tried in vain, and whose command is aborted before it is written again,
// shows as much before a restart as after it.
func TestOverlay_TriesInVain(t *testing.T) {
	t.Parallel()
	path := overlaid(t, "xfs-no-reflink", 512<<20, 16<<20)
	s := open(t, file.Options{Path: path})
	defer func() { must(t, s.Close()) }()
	m := backstore.Bind(s)
	if !m.Features().Has(backstore.CanTryWrite) {
		t.Skipf("XFS does not tell here which writes would wait")
	}
	var st unix.Stat_t
	must(t, unix.Stat(path, &st))
	bound := func(name, value string) error {
		return os.WriteFile(fmt.Sprintf("/sys/class/bdi/%d:%d/%s", unix.Major(st.Dev), unix.Minor(st.Dev), name), []byte(value), 0)
	}
	t.Cleanup(func() { _ = errors.Join(bound("strict_limit", "0"), bound("max_ratio", "100")) })   // else the next test with this loop device waits as well
	if err := errors.Join(bound("strict_limit", "1"), bound("max_bytes", "1048576")); err != nil { // writers wait from 1 MiB on
		t.Skipf("writers cannot be made to wait: %v", err)
	}
	p := noise(4<<20, rand.New(rand.NewPCG(85, 86)))
	for off := int64(4 << 20); off < 16<<20; off += 4 << 20 {
		_, err := m.WriteAt(p[:4096], 0) // the time of the file is set, for which the next would have to wait
		must(t, err)
		if _, err := m.TryWriteAt(p, off); err != nil && err != backstore.ErrWouldBlock {
			t.Fatal(err)
		}
	}
	seen := content(t, s)
	must(t, errors.Join(s.Sync(), s.Close()))
	s = open(t, file.Options{Path: path})
	same(t, content(t, s), seen, "after a restart")
}
