package snapshot_test

import (
	"errors"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/backstore/file"
	"github.com/isantarget/isantarget/backstore/snapshot"
)

// halting is an image in which a write of two blocks fails in the middle of the second, while one of
// a block alone has its bytes in the file and does not return yet: until undo is tried or waited with.
type halting struct {
	*file.Store
	overlay *snapshot.Overlay
	begun   chan struct{} // the first half of the two blocks and more is in the file
	written chan struct{} // the block alone is in the file
	undone  atomic.Bool
}

func (h *halting) WriteAt(p []byte, off int64) (int, error) {
	if len(p) == 2*4096 {
		n, err := h.Store.WriteAt(p[:4096+512], off)
		close(h.begun)
		<-h.written
		return n, errors.Join(err, &backstore.Error{Op: "write", Offset: off + int64(n), Length: int64(len(p) - n), Err: unix.EIO})
	}
	<-h.begun
	n, err := h.Store.WriteAt(p, off)
	close(h.written)
	for !h.undone.Load() && !h.overlay.Excludes(off) {
		runtime.Gosched()
	}
	return n, err
}

func (h *halting) UnmapAt(off, length int64) error {
	defer h.undone.Store(true)
	return h.Store.UnmapAt(off, length)
}

// A write that fails in the middle of a block that is new takes nothing away from another
// one, which wrote that block at the same time and was acknowledged.
func TestOverlay_FailsBesideAnother(t *testing.T) {
	t.Parallel()
	path := overlaid(t, "ext4", 64<<20, 1<<20)
	s := open(t, file.Options{Path: path})
	o := s.(*snapshot.Overlay)
	h := &halting{overlay: o, begun: make(chan struct{}), written: make(chan struct{})}
	o.Above(func(f *file.Store) backstore.Store { h.Store = f; return h })
	r := rand.New(rand.NewPCG(87, 88))
	failed := make(chan error)
	go func() {
		_, err := o.WriteAt(noise(2*4096, r), 0)
		failed <- err
	}()
	want := noise(4096, rand.New(rand.NewPCG(89, 90)))
	_, err := o.WriteAt(want, 4096)
	must(t, err)
	if err := <-failed; err == nil {
		t.Error("the write of two blocks has not failed")
	}
	seen := content(t, s)[4096 : 2*4096]
	must(t, errors.Join(s.Sync(), s.Close()))
	same(t, seen, want, "what was acknowledged")
	s = open(t, file.Options{Path: path})
	defer func() { must(t, s.Close()) }()
	same(t, content(t, s)[4096:2*4096], want, "after a restart")
}

// An overlay grows as far as it can tell what it holds.
func TestOverlay_GrowsNoFurtherThanItCanTell(t *testing.T) {
	t.Parallel()
	path := overlaid(t, "xfs-no-reflink", 512<<20, 1<<20)
	s := open(t, file.Options{Path: path})
	defer func() { must(t, s.Close()) }()
	m := backstore.Bind(s)
	step := func(int64, int64) error { return nil }
	const most = 512 << 40
	if _, err := m.Grow(most+4096, step); !errors.Is(err, backstore.ErrRange) || m.Geometry().Size != 1<<20 {
		t.Errorf("grown to %d: %v", m.Geometry().Size, err)
	}
	if _, err := m.Grow(most, step); err != nil {
		t.Fatal(err)
	}
	want := noise(4096, rand.New(rand.NewPCG(91, 92)))
	_, err := m.WriteAt(want, most-4096)
	must(t, err)
	got := make([]byte, 4096)
	_, err = m.ReadAt(got, most-4096)
	must(t, err)
	same(t, got, want, "at the end")
}
