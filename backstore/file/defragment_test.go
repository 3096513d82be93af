package file_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/backstore/file"
	"github.com/isantarget/isantarget/internal/loopdevice"
)

// scatter writes two images by turns, in steps of 64 KiB over so many of them, so that
// neither lies in one piece: some
// of the first stays a hole, and some holds space and no data.
func scatter(t *testing.T, folder string, spread int64, o file.Options) *file.Store {
	t.Helper()
	o.Path, o.Create, o.Size = filepath.Join(folder, "image"), true, 64<<20
	s := open(t, o)
	o.Path = filepath.Join(folder, "other")
	other := open(t, o)
	defer func() { _ = other.Close() }()
	p := make([]byte, 64<<10)
	for i := range int64(160) {
		for n := range p {
			p[n] = byte(i + 1)
		}
		at := (i * 37 % spread) * int64(len(p))
		var err error
		switch at >> 20 & 7 {
		case 2:
			continue
		case 3:
			err = s.ZeroAt(at, int64(len(p)), false)
		default:
			_, err = s.WriteAt(p, at)
		}
		_, otherErr := other.WriteAt(p[:8192], at)
		if err := errors.Join(err, otherErr, s.Sync(), other.Sync()); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// describe is what an image holds, and where.
func describe(t *testing.T, s *file.Store) (sum [32]byte, extents string) {
	t.Helper()
	size := s.Geometry().Size
	all := make([]byte, size)
	if _, err := s.ReadAt(all, 0); err != nil {
		t.Fatal(err)
	}
	m := backstore.Bind(s)
	var b bytes.Buffer
	for off := int64(0); off < size; {
		e, err := m.ExtentAt(off, size-off)
		if err != nil {
			t.Fatal(err)
		}
		// What is anchored shows as mapped once it has been read into the page cache.
		fmt.Fprintf(&b, "%d+%d %v\n", e.Offset, e.Length, e.State == backstore.Deallocated)
		off = e.End()
	}
	return sha256.Sum256(all), b.String()
}

func TestDefragment(t *testing.T) {
	// ext4 leaves room for what is not written yet, XFS takes whole units: both scatter
	// only what is far apart.
	const spread = 800
	for _, kind := range []string{"ext4", "xfs"} {
		for _, direct := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/direct=%v", kind, direct), func(t *testing.T) {
				folder := loopdevice.FileSystem(t, kind, 512<<20)
				s := scatter(t, folder, spread, file.Options{Direct: direct})
				defer func() { _ = s.Close() }()
				sum, extents := describe(t, s)
				space, err := s.Space()
				if err != nil {
					t.Fatal(err)
				}

				cancelled := errors.New("cancelled")
				for after := range 3 {
					steps := 0
					_, _, err := s.Defragment(func(done, total int64) error {
						if steps++; steps > after {
							return cancelled
						}
						return nil
					})
					if !errors.Is(err, cancelled) {
						t.Fatalf("cancelled after %d steps: %v", after, err)
					}
					if again, _ := describe(t, s); again != sum {
						t.Fatalf("cancelled after %d steps it holds something else", after)
					}
				}

				var last, whole int64
				before, after, err := s.Defragment(func(done, total int64) error {
					if done < last || total == 0 || done > total {
						t.Errorf("%d of %d bytes are done, before that %d", done, total, last)
					}
					last, whole = done, total
					return nil
				})
				if err != nil || before < 30 || after > before/3 || last != whole {
					t.Errorf("%d extents became %d: %v; %d of %d bytes are done", before, after, err, last, whole)
				}
				t.Logf("%d extents became %d", before, after)
				if again, now := describe(t, s); again != sum || now != extents {
					t.Errorf("it holds something else, or elsewhere: before\n%snow\n%s", extents, now)
				}
				until(t, "as much space as before", func() bool { // XFS frees the other file in the background
					now, err := s.Space()
					if err != nil {
						t.Fatal(err)
					}
					return now.Used <= space.Used+256<<10 && now.Available >= space.Available-1<<20
				})
				if count, err := s.Extents(); err != nil || count != after {
					t.Errorf("%d extents are counted, %v", count, err)
				}
				if entries, err := os.ReadDir(folder); err != nil || len(entries) > 3 { // lost+found
					t.Errorf("the folder holds %v, %v", entries, err)
				}
				if err := errors.Join(s.Sync(), s.Close()); err != nil {
					t.Fatal(err)
				}
				s = open(t, file.Options{Path: filepath.Join(folder, "image"), Direct: direct})
				if again, _ := describe(t, s); again != sum {
					t.Error("opened anew it holds something else")
				}
			})
		}
	}
}

// Where blocks cannot be exchanged, that is said, and nothing is done.
func TestDefragment_Refused(t *testing.T) {
	folder := tmpfs(t)
	s := open(t, file.Options{Path: filepath.Join(folder, "image"), Create: true, Size: size})
	defer func() { _ = s.Close() }()
	if _, _, err := s.Defragment(func(int64, int64) error { return nil }); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("on tmpfs: %v", err)
	}
	folder = loopdevice.FileSystem(t, "xfs", 512<<20)
	from := open(t, file.Options{Path: filepath.Join(folder, "from"), Create: true, Size: size})
	to := open(t, file.Options{Path: filepath.Join(folder, "to"), Create: true, Size: size})
	defer func() { _, _ = from.Close(), to.Close() }()
	if _, err := from.WriteAt(bytes.Repeat([]byte{7}, 1<<20), 0); err != nil {
		t.Fatal(err)
	}
	if err := to.CopyAt(0, from, 0, 1<<20); err != nil {
		t.Fatal(err)
	}
	if _, _, err := to.Defragment(func(int64, int64) error { return nil }); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("with shared blocks: %v", err)
	}
}
