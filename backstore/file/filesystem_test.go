package file_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/backstore/file"
	"github.com/isantarget/isantarget/internal/loopdevice"
)

// Each file system has its own idea of holes and of what can be done at once.
func TestStore_FileSystems(t *testing.T) {
	for _, kind := range []string{"ext4", "xfs", "btrfs"} {
		t.Run(kind, func(t *testing.T) {
			folder := loopdevice.FileSystem(t, kind, 512<<20)
			for _, o := range []file.Options{{Provisioning: file.Sparse}, {Provisioning: file.Fixed, Direct: true}} {
				if kind == "btrfs" && o.Provisioning == file.Fixed {
					continue // copies on write: see the package comment
				}
				t.Run(fmt.Sprintf("%v/direct=%v", o.Provisioning, o.Direct), func(t *testing.T) { suite(t, folder, o) })
			}
		})
	}
}

// What a file system can do is known, so that a change of it does not go by
// unnoticed (Linux 6.18).
func TestFeatures_FileSystems(t *testing.T) {
	always := backstore.CanUnmap | backstore.CanZero | backstore.CanMap | backstore.CanWriteThrough | backstore.CanCopy | backstore.ReadsZeros
	for kind, more := range map[string]backstore.Features{
		"ext4": backstore.CanTryRead, "xfs": backstore.CanTryRead | backstore.CanTryWrite, "btrfs": backstore.CanTryRead, "tmpfs": 0,
	} {
		t.Run(kind, func(t *testing.T) {
			folder := ""
			if kind == "tmpfs" {
				folder = tmpfs(t)
			} else {
				folder = loopdevice.FileSystem(t, kind, 512<<20)
			}
			s := open(t, file.Options{Path: filepath.Join(folder, "image"), Create: true, Size: size})
			defer func() { _ = s.Close() }()
			if got := s.Features(); !got.Has(always | more&backstore.CanTryRead) {
				t.Errorf("the features are %v, want at least %v", got, always|more)
			} else if got != always|more {
				t.Logf("this kernel differs from Linux 6.18: the features are %v, there %v", got, always|more)
			}
			if g := s.Geometry(); g.Unmap != 4096 || g.Physical != 4096 {
				t.Errorf("Geometry is %+v", g)
			}
		})
	}
}

// fillUp takes all the space of a file system.
func fillUp(t *testing.T, folder string) {
	t.Helper()
	f, err := os.Create(filepath.Join(folder, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	p := make([]byte, 1<<20)
	for i := range p {
		p[i] = 1
	}
	for len(p) > 0 {
		if _, err := f.Write(p); err != nil {
			p = p[:len(p)/2]
		}
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
}

// Every byte of a fixed image can be written, zeroed and written again when the
// file system has no space left.
func TestFixed_NeverRunsOutOfSpace(t *testing.T) {
	for kind, bytes := range map[string]int64{"ext4": 96 << 20, "xfs": 320 << 20} {
		for _, direct := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/direct=%v", kind, direct), func(t *testing.T) {
				folder := loopdevice.FileSystem(t, kind, bytes)
				s := open(t, file.Options{Path: filepath.Join(folder, "image"), Create: true, Size: size, Provisioning: file.Fixed, Direct: direct})
				defer func() { _ = s.Close() }()
				fillUp(t, folder)
				m := backstore.Bind(s)
				p := make([]byte, 64<<10)
				for i := range p {
					p[i] = 0xa5
				}
				for off := int64(0); off < size; off += 8192 { // each write splits an unwritten extent
					if _, err := m.WriteAt(p[:4096], off); err != nil {
						t.Fatal(err)
					}
				}
				if err := m.Sync(); err != nil {
					t.Fatal(err)
				}
				for round := range 2 {
					for off := int64(0); off < size; off += int64(len(p)) {
						if _, err := m.WriteAt(p, off); err != nil {
							t.Fatalf("round %d: %v", round, err)
						}
					}
					for off := int64(0); off < size; off += 1 << 20 {
						if err := m.ZeroAt(off, 512<<10, round == 1); err != nil {
							t.Fatalf("round %d: %v", round, err)
						}
					}
					if err := m.Sync(); err != nil {
						t.Fatalf("round %d: %v", round, err)
					}
				}
				if _, err := m.WriteThroughAt(p, 0); err != nil {
					t.Fatal(err)
				}
			})
		}
	}
}

// A sparse image that finds no space says so at the write that needs it, never at
// a sync; what has space goes on; and UNMAP makes room.
func TestSparse_OutOfSpace(t *testing.T) {
	for kind, bytes := range map[string]int64{"ext4": 96 << 20, "xfs": 320 << 20} {
		t.Run(kind, func(t *testing.T) {
			folder := loopdevice.FileSystem(t, kind, bytes)
			s := open(t, file.Options{Path: filepath.Join(folder, "image"), Create: true, Size: 1 << 40})
			defer func() { _ = s.Close() }()
			p := make([]byte, 1<<20)
			for i := range p {
				p[i] = 0xa5
			}
			if _, err := s.WriteAt(p, 0); err != nil {
				t.Fatal(err)
			}
			if err := s.Sync(); err != nil {
				t.Fatal(err)
			}
			var failure *backstore.Error
			for off := int64(1 << 20); failure == nil; off += 3 << 20 {
				if off > 1<<32 {
					t.Fatal("there is no end of space")
				}
				if n, err := s.WriteAt(p, off); err != nil {
					if !errors.Is(err, backstore.ErrNoSpace) || !errors.As(err, &failure) || failure.Offset != off+int64(n) {
						t.Fatalf("the write at %d: %d, %v", off, n, err)
					}
				}
			}
			t.Log(failure)
			if err := backstore.Bind(s).ZeroAt(0, 2<<20, false); err != nil && !errors.Is(err, backstore.ErrNoSpace) {
				t.Errorf("zeros: %v", err)
			}
			if _, err := s.WriteAt(p, 0); err != nil {
				t.Errorf("an overwrite: %v", err)
			}
			if err := s.Sync(); err != nil {
				t.Errorf("Sync: %v", err)
			}
			if err := s.UnmapAt(1<<20, 16<<20); err != nil {
				t.Fatal(err)
			}
			if err := s.Sync(); err != nil {
				t.Fatal(err)
			}
			if _, err := s.WriteAt(p, 1<<39); err != nil {
				t.Errorf("a write after UNMAP: %v", err)
			}
		})
	}
}

// A write through that finds no space has lost nothing that was written before, also when
// there is space again a moment later.
func TestWriteThroughAt_SpaceComesAndGoes(t *testing.T) {
	folder := loopdevice.FileSystem(t, "xfs", 320<<20)
	s := open(t, file.Options{Path: filepath.Join(folder, "image"), Create: true, Size: size})
	defer func() { _ = s.Close() }()
	filler, err := os.Create(filepath.Join(folder, "room"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = filler.Close() }()
	const room = 1 << 20
	take := func() error { return unix.Fallocate(int(filler.Fd()), 0, 0, room) }
	if err := take(); err != nil {
		t.Fatal(err)
	}
	fillUp(t, folder)
	stop := make(chan struct{})
	var group sync.WaitGroup
	defer group.Wait()
	defer close(stop)
	group.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				_ = filler.Truncate(0)
				_ = take()
			}
		}
	})
	p := make([]byte, 64<<10)
	for full, ok, off := 0, 0, int64(0); full < 30 || ok == 0; off = (off + int64(len(p))) % size {
		switch _, err := s.WriteThroughAt(p, off); {
		case err == nil:
			ok++
		case !errors.Is(err, backstore.ErrNoSpace) || errors.Is(err, backstore.ErrLost):
			t.Fatalf("after %d times without space and %d with some: %v", full, ok, err)
		default:
			full++
		}
		if err := s.UnmapAt(off, int64(len(p))); err != nil && !errors.Is(err, backstore.ErrNoSpace) {
			t.Fatal(err) // XFS wants a few blocks to punch a hole
		}
	}
	if err := s.Sync(); err != nil {
		t.Error(err)
	}
}

// But what finds no space below its file system, on a thin volume say, is lost.
func TestWriteThroughAt_NoSpaceBelow(t *testing.T) {
	folder := loopdevice.FileSystem(t, "ext4", 64<<20)
	disk := filepath.Join(folder, "disk")
	if err := errors.Join(os.WriteFile(disk, nil, 0o600), os.Truncate(disk, 96<<20)); err != nil {
		t.Fatal(err)
	}
	thin := loopdevice.New(t, loopdevice.Options{File: disk, Direct: true}) // else it says EIO
	s := open(t, file.Options{Path: filepath.Join(loopdevice.Format(t, thin, "ext4", "-O", "^has_journal"), "image"), Create: true, Size: 64 << 20})
	defer func() { _ = s.Close() }()
	var err error
	p := make([]byte, 1<<20)
	for off := int64(0); err == nil && off < 64<<20; off += int64(len(p)) {
		_, err = s.WriteThroughAt(p, off)
	}
	if !errors.Is(err, backstore.ErrNoSpace) || !errors.Is(err, backstore.ErrLost) {
		t.Fatalf("of a volume without space: %v", err)
	}
	if err := s.Sync(); !errors.Is(err, backstore.ErrLost) {
		t.Errorf("the Sync after a lost write: %v", err)
	}
}

// Where the file system can share blocks, a copy takes no space.
func TestCopyAt_SharesBlocks(t *testing.T) {
	for _, kind := range []string{"xfs", "btrfs"} {
		t.Run(kind, func(t *testing.T) {
			folder := loopdevice.FileSystem(t, kind, 512<<20)
			from := open(t, file.Options{Path: filepath.Join(folder, "from"), Create: true, Size: size})
			to := open(t, file.Options{Path: filepath.Join(folder, "to"), Create: true, Size: size})
			defer func() { _, _ = from.Close(), to.Close() }()
			p := make([]byte, 16<<20)
			for i := range p {
				p[i] = byte(i>>8) | 1
			}
			if _, err := from.WriteAt(p, 0); err != nil {
				t.Fatal(err)
			}
			if err := from.Sync(); err != nil {
				t.Fatal(err)
			}
			free := func() uint64 {
				var st unix.Statfs_t
				if err := unix.Statfs(folder, &st); err != nil {
					t.Fatal(err)
				}
				return st.Bfree * uint64(st.Bsize)
			}
			before := free()
			if err := backstore.Bind(to).CopyAt(4<<20, backstore.Bind(from), 0, 16<<20); err != nil {
				t.Fatal(err)
			}
			if err := to.Sync(); err != nil {
				t.Fatal(err)
			}
			if after := free(); before > after && before-after > 4<<20 {
				t.Errorf("a copy of 16 MiB took %d bytes", before-after)
			}
			got := make([]byte, len(p))
			if _, err := to.ReadAt(got, 4<<20); err != nil || string(got) != string(p) {
				t.Errorf("the copy differs, %v", err)
			}
		})
	}
}

// A copy that fails because its source cannot be read says so, and where: not that the
// image that is copied to could not be written. Btrfs reads EIO where a block is not as it
// was written, and copies through memory into a folder without checksums.
func TestCopyAt_UnreadableSource(t *testing.T) {
	disk := filepath.Join(t.TempDir(), "disk")
	if err := errors.Join(os.WriteFile(disk, nil, 0o600), os.Truncate(disk, 128<<20)); err != nil {
		t.Fatal(err)
	}
	folder := loopdevice.Format(t, loopdevice.New(t, loopdevice.Options{File: disk}), "btrfs")
	plain := filepath.Join(folder, "plain")
	if err := os.Mkdir(plain, 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("chattr", "+C", plain).CombinedOutput(); err != nil {
		t.Fatalf("chattr: %v\n%s", err, out)
	}
	path := filepath.Join(folder, "from")
	from := open(t, file.Options{Path: path, Create: true, Size: size})
	to := open(t, file.Options{Path: filepath.Join(plain, "to"), Create: true, Size: size})
	defer func() { _, _ = from.Close(), to.Close() }()
	const at = 1 << 20
	marker := bytes.Repeat([]byte("a block that will differ"), 4096/24+1)[:4096]
	for off := int64(0); off < 2*at; off += 4096 {
		p := bytes.Repeat([]byte{1}, 4096)
		if off == at {
			p = marker
		}
		if _, err := from.WriteAt(p, off); err != nil {
			t.Fatal(err)
		}
	}
	if err := from.Sync(); err != nil {
		t.Fatal(err)
	}
	loopdevice.Spoil(t, disk, marker)
	forget(t, path, at)
	err := backstore.Bind(to).CopyAt(0, backstore.Bind(from), 0, 2*at)
	var e *backstore.Error
	if !errors.As(err, &e) || e.Op != "copy from" || e.Offset > at || e.Offset+e.Length <= at || !errors.Is(err, unix.EIO) {
		t.Fatalf("a copy of what cannot be read: %#v, %v", e, err)
	}
}

// forget has the kernel drop the cached block at off of the file at path, which it keeps
// for as long as something looks at it.
func forget(t *testing.T, path string, off int64) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for range 1000 {
		if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
			t.Fatal(err)
		}
		if _, err := unix.Preadv2(int(f.Fd()), [][]byte{make([]byte, 1)}, off, unix.RWF_NOWAIT); err != nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("the block stays in the page cache")
}

// The space of a fixed image is its own: a copy into or out of it shares nothing.
func TestCopyAt_FixedSharesNothing(t *testing.T) {
	folder := loopdevice.FileSystem(t, "xfs", 512<<20)
	fixed := open(t, file.Options{Path: filepath.Join(folder, "fixed"), Create: true, Size: size, Provisioning: file.Fixed})
	sparse := open(t, file.Options{Path: filepath.Join(folder, "sparse"), Create: true, Size: size})
	defer func() { _, _ = fixed.Close(), sparse.Close() }()
	for _, err := range []error{fixed.CopyAt(0, sparse, 0, 1<<20), sparse.CopyAt(0, fixed, 0, 1<<20)} {
		if !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("CopyAt with a fixed image: %v, want errors.ErrUnsupported", err)
		}
	}
}

// What is not in the page cache is not waited for.
func TestTryReadAt_ColdCache(t *testing.T) {
	path := filepath.Join(loopdevice.FileSystem(t, "ext4", 96<<20), "image")
	s := open(t, file.Options{Path: path, Create: true, Size: size})
	defer func() { _ = s.Close() }()
	p := make([]byte, 1<<20)
	for i := range p {
		p[i] = byte(i>>9) | 1
	}
	if _, err := s.WriteAt(p, 0); err != nil {
		t.Fatal(err)
	}
	if err := s.Sync(); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	got := make([]byte, len(p))
	blocked := 0
	for range 20 {
		if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
			t.Fatal(err)
		}
		switch n, err := s.TryReadAt(got, 0); {
		case err == backstore.ErrWouldBlock && n == 0:
			blocked++
		case err != nil || n != len(p):
			t.Fatalf("TryReadAt: %d, %v", n, err)
		case string(got) != string(p):
			t.Fatal("TryReadAt gives other bytes")
		}
		if _, err := s.ReadAt(got, 0); err != nil || string(got) != string(p) {
			t.Fatalf("ReadAt after TryReadAt: %v", err)
		}
	}
	if blocked == 0 {
		t.Error("20 reads of 1 MiB that had just been dropped from the page cache did not have to wait")
	}
}

// The three states of SBC-3 4.7.4, as real file systems show them.
func TestExtentAt_States(t *testing.T) {
	for _, kind := range []string{"ext4", "xfs"} {
		t.Run(kind, func(t *testing.T) {
			folder := loopdevice.FileSystem(t, kind, 512<<20)
			sparse := backstore.Bind(open(t, file.Options{Path: filepath.Join(folder, "sparse"), Create: true, Size: size}))
			fixed := backstore.Bind(open(t, file.Options{Path: filepath.Join(folder, "fixed"), Create: true, Size: size, Provisioning: file.Fixed}))
			defer func() { _, _ = sparse.Close(), fixed.Close() }()
			for _, m := range []*backstore.Medium{sparse, fixed} {
				if _, err := m.WriteAt([]byte("some bytes"), 1<<20+5); err != nil {
					t.Fatal(err)
				}
			}
			if err := sparse.ZeroAt(8<<20, 1<<20, false); err != nil {
				t.Fatal(err)
			}
			const K, M = 1 << 10, 1 << 20
			expect := func(m *backstore.Medium, want ...backstore.Extent) {
				t.Helper()
				for off := int64(0); off < size; {
					e, err := m.ExtentAt(off, size-off)
					if err != nil {
						t.Fatal(err)
					}
					if len(want) == 0 || e != want[0] {
						t.Fatalf("the extent at %d is %+v, want %+v", off, e, want)
					}
					want, off = want[1:], e.End()
				}
			}
			want := []backstore.Extent{
				{Offset: 0, Length: M, State: backstore.Deallocated},
				{Offset: M, Length: 4 * K, State: backstore.Mapped},
				{Offset: M + 4*K, Length: 7*M - 4*K, State: backstore.Deallocated},
				{Offset: 8 * M, Length: M, State: backstore.Anchored},
				{Offset: 9 * M, Length: size - 9*M, State: backstore.Deallocated},
			}
			if kind == "xfs" { // which takes whole units: the extent size hint
				want[2] = backstore.Extent{Offset: 2 * M, Length: 6 * M, State: backstore.Deallocated}
				want = slices.Insert(want, 2, backstore.Extent{Offset: M + 4*K, Length: M - 4*K, State: backstore.Anchored})
			}
			expect(sparse, want...)
			expect(fixed, backstore.Extent{Offset: 0, Length: M, State: backstore.Anchored},
				backstore.Extent{Offset: M, Length: 4 * K, State: backstore.Mapped},
				backstore.Extent{Offset: M + 4*K, Length: size - M - 4*K, State: backstore.Anchored})
		})
	}
}

// An image in very many pieces: the extents are true, and each answer comes
// after bounded work.
func TestExtentAt_ManyPieces(t *testing.T) {
	s := open(t, file.Options{Path: filepath.Join(loopdevice.FileSystem(t, "ext4", 96<<20), "image"), Create: true, Size: size})
	defer func() { _ = s.Close() }()
	p := make([]byte, 4096)
	p[0] = 1
	for off := int64(0); off < size; off += 16384 {
		if _, err := s.WriteAt(p, off); err != nil {
			t.Fatal(err)
		}
	}
	m := backstore.Bind(s)
	for _, synced := range []bool{false, true} {
		if synced {
			if err := s.Sync(); err != nil {
				t.Fatal(err)
			}
		}
		for off := int64(0); off < size; off += 16384 {
			for i, want := range []backstore.Extent{
				{Offset: off, Length: 4096, State: backstore.Mapped}, {Offset: off + 4096, Length: 12288, State: backstore.Deallocated},
			} {
				if e, err := m.ExtentAt(want.Offset, size-want.Offset); err != nil || e != want {
					t.Fatalf("synced %v, piece %d: the extent is %+v, %v, want %+v", synced, i, e, err, want)
				}
			}
		}
	}
}

// On a full file system holes can still be made, though each needs a note of its own:
// the file systems keep room for that.
func TestUnmap_OnAFullFileSystem(t *testing.T) {
	const n, size = 64 << 10, 4 << 20
	for kind, bytesOfDisk := range map[string]int64{"ext4": 64 << 20, "xfs": 320 << 20} {
		t.Run(kind, func(t *testing.T) {
			folder := loopdevice.FileSystem(t, kind, bytesOfDisk)
			s := open(t, file.Options{Path: filepath.Join(folder, "image"), Create: true, Size: size})
			defer func() { _ = s.Close() }()
			m := backstore.Bind(s)
			for off := int64(0); off < size; off += n {
				if _, err := m.WriteAt(bytes.Repeat([]byte{0xa5}, n), off); err != nil {
					t.Fatal(err)
				}
			}
			if err := m.Sync(); err != nil {
				t.Fatal(err)
			}
			got, want := make([]byte, n), append(append(bytes.Repeat([]byte{0xa5}, 4096), make([]byte, 8192)...), bytes.Repeat([]byte{0xa5}, n-3*4096)...)
			for i, off := 0, int64(0); off < size; i, off = i+1, off+n {
				if i%16 == 0 {
					fillUp(t, folder) // what came back is gone again
				}
				err := m.UnmapAt(off+4096, 8192)
				if i%2 == 1 {
					err = m.ZeroAt(off+4096, 8192, true) // as WRITE SAME does
				}
				if err != nil {
					t.Fatalf("at %d: %v", off, err)
				}
				if _, err := m.ReadAt(got, off); err != nil || !bytes.Equal(got, want) {
					t.Fatalf("the range at %d does not read as it should: %v", off, err)
				}
			}
		})
	}
}
