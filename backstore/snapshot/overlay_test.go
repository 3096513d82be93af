package snapshot_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/backstore/file"
	"github.com/isantarget/isantarget/backstore/snapshot"
	"github.com/isantarget/isantarget/backstore/storetest"
)

// An overlay above an empty snapshot is as good as an image of its own.
func TestOverlay(t *testing.T) {
	for name, fs := range fileSystems {
		if fs.shares {
			continue // no overlays there
		}
		for _, direct := range []bool{false, true} {
			if direct && name != "ext4" {
				continue // one will do
			}
			t.Run(fmt.Sprintf("%s/direct=%v", name, direct), func(t *testing.T) {
				suite(t, mounted(t, name, 512<<20), direct)
			})
		}
	}
}

func suite(t *testing.T, folder string, direct bool) {
	options := &sync.Map{}
	number := 0
	storetest.Run(t, func(t *testing.T) backstore.Store {
		number++
		o := file.Options{Path: filepath.Join(folder, fmt.Sprintf("image-%d", number)), Direct: direct}
		create(t, o.Path, size)
		must(t, snapshot.At(o.Path).Take("empty", now()))
		s := open(t, o)
		if _, is := s.(*snapshot.Overlay); !is {
			t.Fatalf("after a snapshot the image is a %T", s)
		}
		options.Store(s, o)
		return s
	}, storetest.Reopens(func(s backstore.Store) (backstore.Store, error) {
		o, _ := options.Load(s)
		return snapshot.Open(o.(file.Options))
	}))
}

// Random reads, writes and unmaps over a chain of snapshots with data: what is read is
// what was written, also after a restart, and no snapshot ever changes.
func TestChain_Model(t *testing.T) {
	eachFileSystem(t, func(t *testing.T, folder string, shares bool) {
		r := rand.New(rand.NewPCG(1, 2))
		path := filepath.Join(folder, "disk.img")
		const length = 1<<20 + 512 // its end lies in a block
		create(t, path, length)
		want := make([]byte, length)
		i := snapshot.At(path)
		kept := map[string][]byte{}
		for round := range 3 {
			for range 2 {
				s := open(t, file.Options{Path: path})
				scribble(t, s, want, r, 40)
				same(t, content(t, s), want, "all of it")
				must(t, s.Close())
				holds(t, path, want, "after a restart")
			}
			name := fmt.Sprintf("s%d", round)
			must(t, i.Take(name, now()))
			kept[name] = append([]byte(nil), want...)
		}
		for name, old := range kept {
			clone := filepath.Join(folder, "clone-"+name+".img")
			must(t, i.Clone(name, clone))
			holds(t, clone, old, "the clone of "+name)
		}
		holds(t, path, want, "the image after clones")
	})
}

// An overlay tells the truth of what it and the snapshot hold.
func TestOverlay_Extents(t *testing.T) {
	folder := mounted(t, "ext4", 256<<20)
	path := filepath.Join(folder, "disk.img")
	create(t, path, size)
	s := open(t, file.Options{Path: path})
	data := noise(1<<20, rand.New(rand.NewPCG(3, 4)))
	_, err := s.WriteAt(data, 1<<20)
	must(t, errors.Join(err, s.Close()))
	must(t, snapshot.At(path).Take("one", now()))
	s = open(t, file.Options{Path: path})
	defer func() { must(t, s.Close()) }()
	m := backstore.Bind(s)
	if _, err := m.WriteAt(data[:4096], 8<<20); err != nil {
		t.Fatal(err)
	}
	want := []backstore.Extent{
		{Offset: 0, Length: 1 << 20, State: backstore.Deallocated}, {Offset: 1 << 20, Length: 1 << 20, State: backstore.Mapped},
		{Offset: 2 << 20, Length: 6 << 20, State: backstore.Deallocated}, {Offset: 8 << 20, Length: 4096, State: backstore.Mapped},
	}
	for _, w := range want {
		if got, err := m.ExtentAt(w.Offset, size-w.Offset); err != nil || got != w {
			t.Errorf("ExtentAt(%d): %+v, %v; want %+v", w.Offset, got, err, w)
		}
	}
	// What the snapshot holds reads as zeros after UNMAP, and what only the overlay held is gone.
	must(t, m.UnmapAt(0, size))
	if got, err := m.ExtentAt(8<<20, 1<<20); err != nil || got.State != backstore.Deallocated {
		t.Errorf("after UNMAP of all, what the overlay alone held is %+v, %v", got, err)
	}
	same(t, content(t, s), make([]byte, size), "after UNMAP of all")
}
