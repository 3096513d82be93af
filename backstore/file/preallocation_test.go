package file_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/backstore/file"
	"github.com/isantarget/isantarget/internal/loopdevice"
)

const (
	region   = 4 << 20
	patience = time.Minute
)

// always lets everything be taken ahead.
func always(backstore.Space, int64) bool { return true }

// preallocated opens a sparse image of 4 GiB that takes space ahead as may says; nil: it
// does not.
func preallocated(t testing.TB, path string, may func(backstore.Space, int64) bool) *file.Store {
	t.Helper()
	s := open(t, file.Options{Path: path, Create: true, Size: 4 << 30})
	if may != nil {
		s.Preallocate(may)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// until waits for a condition.
func until(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after %v: not %s", patience, what)
		}
	}
}

// taken tells whether there is space behind off, written or not.
func taken(t testing.TB, s *file.Store, off int64) bool {
	t.Helper()
	e, err := s.ExtentAt(off, 64<<10)
	if err != nil {
		t.Fatal(err)
	}
	return e.State != backstore.Deallocated
}

func pattern(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i%251) + 1
	}
	return p
}

// sequentially writes images from their beginning, by turns and with a flush after each
// step, and waits after each region until those that take space ahead have done so.
func sequentially(t testing.TB, length int64, ahead bool, images ...*file.Store) {
	t.Helper()
	p := pattern(256 << 10)
	for off := int64(0); off < length; off += int64(len(p)) {
		for _, s := range images {
			if _, err := s.WriteAt(p, off); err != nil {
				t.Fatal(err)
			}
			if err := s.Sync(); err != nil {
				t.Fatal(err)
			}
		}
		if next := off + int64(len(p)); ahead && next%region == 0 {
			for _, s := range images {
				until(t, "taken ahead", func() bool { return taken(t, s, next) })
			}
		}
	}
}

func used(t testing.TB, s *file.Store) int64 {
	t.Helper()
	if err := s.Sync(); err != nil {
		t.Fatal(err)
	}
	space, err := s.Space()
	if err != nil {
		t.Fatal(err)
	}
	return space.Used
}

// Images that are written by turns lie in fewer pieces than without, what is taken ahead
// is told as it is, and given back once the writers have stopped, or when they close.
func TestPreallocate(t *testing.T) {
	const length, slack = 32 << 20, 2 << 20
	for _, kind := range []string{"ext4", "xfs"} {
		t.Run(kind, func(t *testing.T) {
			folder := loopdevice.FileSystem(t, kind, 2<<30)
			t.Parallel()
			count := func(name string, may func(backstore.Space, int64) bool) (images [2]*file.Store, pieces int) {
				for i := range images {
					images[i] = preallocated(t, filepath.Join(folder, fmt.Sprint(name, i)), may)
					if may != nil {
						images[i].Keep()
					}
				}
				sequentially(t, length, may != nil, images[:]...)
				for _, s := range images {
					n, err := s.Extents()
					if err != nil {
						t.Fatal(err)
					}
					pieces += n
				}
				return images, pieces
			}
			plain, without := count("plain", nil)
			images, with := count("ahead", always)
			t.Logf("%d MiB lie in %d pieces, without in %d", 2*length>>20, with, without)
			if with > 2*8 || kind == "xfs" && with > without/3 { // ext4 goes by 8 MiB itself, or takes all at once where it can wait
				t.Errorf("%d MiB lie in %d pieces, without in %d", 2*length>>20, with, without)
			}
			for _, s := range plain {
				if took := used(t, s); took > length+slack {
					t.Errorf("without it %d bytes are taken", took)
				}
			}
			a, b := images[0], images[1]
			if took := used(t, a); took < length+region || took > length+64<<20+slack {
				t.Errorf("%d bytes are taken, of which %d are written", took, length)
			}
			if e, err := a.ExtentAt(length, region); err != nil || e.State != backstore.Anchored {
				t.Errorf("what is taken ahead is %+v, %v", e, err)
			}
			if err := a.UnmapAt(length, region); err != nil || taken(t, a, length) {
				t.Errorf("it is not given back by UNMAP: %v", err)
			}
			a.Watch()
			b.Watch()
			until(t, "given back after the writer has stopped", func() bool { return used(t, a) <= length+slack && a.Ahead() == 0 })
			until(t, "given back after the writer has stopped", func() bool { return used(t, b) <= length+slack && b.Ahead() == 0 })
			expectPattern(t, a, length)

			b.Keep()
			sequentially(t, 2*length, true, b) // over what is there, and on
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
			if took := stat(t, filepath.Join(folder, "ahead1")).Blocks * 512; took > 2*length+slack {
				t.Errorf("after it was closed %d bytes are taken", took)
			}
			expectNoNote(t, filepath.Join(folder, "ahead1"))
			b = preallocated(t, filepath.Join(folder, "ahead1"), nil)
			expectPattern(t, b, 2*length)
		})
	}
}

func expectPattern(t *testing.T, s *file.Store, length int64) {
	t.Helper()
	p := pattern(256 << 10)
	got := make([]byte, len(p))
	for off := int64(0); off < length; off += int64(len(p)) {
		if _, err := s.ReadAt(got, off); err != nil || !bytes.Equal(got, p) {
			t.Fatalf("at %d there is something else, %v", off, err)
		}
	}
}

func expectNoNote(t *testing.T, path string) {
	t.Helper()
	if n, err := unix.Getxattr(path, "user.isantarget.ahead", nil); err != unix.ENODATA {
		t.Errorf("it is still noted that space was taken ahead: %d bytes, %v", n, err)
	}
}

// Nothing is taken ahead against the word of the owner, of a fixed image, or of a small one.
func TestPreallocate_Refused(t *testing.T) {
	folder := t.TempDir()
	var asked atomic.Bool
	for name, o := range map[string]file.Options{
		"against the owner": {Size: 1 << 30}, "of a small image": {Size: 256 << 20}, "of a fixed image": {Size: 512 << 20, Provisioning: file.Fixed},
	} {
		t.Run(name, func(t *testing.T) {
			o.Path, o.Create = filepath.Join(folder, name), true
			s := open(t, o)
			defer func() { _ = errors.Join(s.Close(), os.Remove(o.Path)) }()
			s.Preallocate(func(backstore.Space, int64) bool { asked.Store(true); return false })
			sequentially(t, 32<<20, false, s)
			if took := used(t, s); o.Provisioning == file.Sparse && took > 34<<20 {
				t.Errorf("%d bytes are taken", took)
			}
			if o.Size == 1<<30 {
				until(t, "asked", asked.Load)
			}
		})
	}
}

// What was taken ahead is there for a write that finds no other space, and to find none
// for what is taken ahead is no failure.
func TestPreallocate_NoSpace(t *testing.T) {
	for _, kind := range []string{"ext4", "xfs"} {
		t.Run(kind, func(t *testing.T) {
			folder := loopdevice.FileSystem(t, kind, 512<<20)
			s := preallocated(t, filepath.Join(folder, "image"), always)
			s.Keep()
			sequentially(t, 16<<20, true, s)
			ahead := s.Ahead()
			if !taken(t, s, 16<<20) || ahead == 0 {
				t.Fatalf("%d bytes are taken ahead", ahead)
			}
			fillUp(t, folder)
			p := pattern(1 << 20)
			far := int64(512 << 20)
			if _, err := s.TryWriteAt(p, far); !errors.Is(err, backstore.ErrWouldBlock) {
				t.Errorf("a write that must not wait: %v, want that one that may is worth while", err)
			}
			for name, write := range map[string]func() error{
				"write":         func() error { _, err := s.WriteAt(p, far); return err },
				"write through": func() error { _, err := s.WriteThroughAt(p, far+1<<20); return err },
				"zero":          func() error { return s.ZeroAt(far+2<<20, 1<<20, false) },
			} {
				if err := write(); err != nil {
					t.Errorf("%s: %v, though %d bytes were taken ahead", name, err, ahead)
				}
			}
			if s.Ahead() != 0 {
				t.Errorf("%d bytes are still taken ahead", s.Ahead())
			}
			full := false
			for off := far + 3<<20; off < far+64<<20 && !full; off += int64(len(p)) {
				_, err := s.WriteAt(p, off)
				full = backstore.Meaning(err) == backstore.ErrNoSpace
			}
			if !full {
				t.Error("there is no end of the space")
			}
			expectPattern(t, s, 16<<20)
		})
	}
}

// So it is there for a copy, which the file system makes.
func TestPreallocate_NoSpaceForCopy(t *testing.T) {
	folder := loopdevice.FileSystem(t, "ext4", 128<<20)
	s := preallocated(t, filepath.Join(folder, "image"), always)
	s.Keep()
	sequentially(t, 8<<20, true, s)
	ahead := s.Ahead()
	fillUp(t, folder)
	const far, n = 512 << 20, 4 << 20
	if err := s.CopyAt(far, s, 0, n); err != nil {
		t.Fatalf("%v, though %d bytes were taken ahead", err, ahead)
	}
	got := make([]byte, n)
	if _, err := s.ReadAt(got, far); err != nil || !bytes.Equal(got, bytes.Repeat(pattern(256<<10), n/(256<<10))) {
		t.Errorf("the copy is another one than what was copied (%v)", err)
	}
}

const killedAhead = "ISANTARGET_TEST_AHEAD"

// TestPreallocate_Killed: what a killed process had taken ahead is given back when the
// image is opened again, and nothing else is: not what was written, nor what others have
// taken.
func TestPreallocate_Killed(t *testing.T) {
	const others = 768 << 20
	if path := os.Getenv(killedAhead); path != "" {
		s := preallocated(t, path, always)
		s.Keep()
		if err := s.ZeroAt(others, region, false); err != nil { // anchored, as WRITE SAME does it
			t.Fatal(err)
		}
		sequentially(t, 16<<20, true, s)
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
	for _, kind := range []string{"ext4", "xfs"} {
		t.Run(kind, func(t *testing.T) {
			path := filepath.Join(loopdevice.FileSystem(t, kind, 2<<30), "image")
			c := exec.Command(os.Args[0], "-test.run=^TestPreallocate_Killed$")
			c.Env = append(os.Environ(), killedAhead+"="+path)
			if out, err := c.CombinedOutput(); c.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
				t.Fatalf("it was not killed: %v: %s", err, out)
			}
			before := stat(t, path).Blocks * 512
			if before < 16<<20+region+region {
				t.Fatalf("%d bytes are taken", before)
			}
			s := preallocated(t, path, nil)
			took := used(t, s)
			t.Logf("%d MiB were taken, and %d MiB are now", before>>20, took>>20)
			if took > 16<<20+region+2<<20 {
				t.Errorf("%d bytes are taken", took)
			}
			if !taken(t, s, others) {
				t.Error("what an initiator has taken was given back")
			}
			expectNoNote(t, path)
			expectPattern(t, s, 16<<20)
		})
	}
}

// While space is taken ahead and given back again and again, beside those who write in
// sequence and those who write right there, no byte is lost: through the page cache and
// around it.
func TestPreallocate_BesideWriters(t *testing.T) {
	const writers, area, apart, block = 3, 24 << 20, 256 << 20, 4096
	for _, kind := range []string{"ext4", "xfs"} {
		for _, direct := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/direct=%v", kind, direct), func(t *testing.T) {
				s := open(t, file.Options{Path: filepath.Join(loopdevice.FileSystem(t, kind, 2<<30), "image"), Create: true, Size: 1 << 30, Direct: direct})
				defer func() { _ = s.Close() }()
				s.Preallocate(always)
				m := backstore.Bind(s)
				content := func(off int64) []byte {
					p := make([]byte, block)
					binary.BigEndian.PutUint64(p, uint64(off)+1)
					binary.BigEndian.PutUint64(p[block-8:], uint64(off)+1)
					return p
				}
				write := func(off, blocks int64) {
					var p []byte
					for i := range blocks {
						p = append(p, content(off+i*block)...)
					}
					if _, err := m.TryWriteAt(p, off); err == nil {
						return
					}
					if _, err := m.WriteAt(p, off); err != nil {
						t.Error(err)
					}
				}
				stop := make(chan struct{})
				var givers, group sync.WaitGroup
				var gave atomic.Int64
				givers.Go(func() {
					for {
						select {
						case <-stop:
							return
						case <-time.After(rand.N(3 * time.Millisecond)):
							if s.Ahead() > 0 {
								s.GiveBack()
								gave.Add(1)
							}
						}
					}
				})
				var heads [writers]atomic.Int64
				for w := range writers {
					first := int64(w) * apart
					group.Go(func() { // all but each 16th block
						for off := first; off < first+area; off += 16 * block {
							write(off, 7)
							write(off+8*block, 8)
							if heads[w].Store(off); w == 0 && (off+16*block)%region == 0 {
								for n, end := off/region, time.Now().Add(patience); gave.Load() <= n && s.Ahead() > 0; time.Sleep(time.Millisecond) {
									if time.Now().After(end) {
										t.Errorf("at %d something is taken ahead, and was given back %d times only", off, gave.Load())
										return
									}
								}
							}
						}
					})
					group.Go(func() { // each 16th, some way ahead of the other
						for off := first + 7*block; off < first+area; off += 16 * block {
							write(off, 1)
							for off > heads[w].Load()+region/2 && off < first+area-region && !t.Failed() {
								time.Sleep(100 * time.Microsecond)
							}
						}
					})
				}
				group.Wait()
				close(stop)
				givers.Wait()
				if gave.Load() == 0 {
					t.Error("nothing was given back beside the writers")
				}
				if err := m.Sync(); err != nil {
					t.Fatal(err)
				}
				s.GiveBack()
				got := make([]byte, block)
				for off := int64(0); off < area; off += block {
					for w := range int64(writers) {
						if _, err := m.ReadAt(got, w*apart+off); err != nil || !bytes.Equal(got, content(w*apart+off)) {
							t.Fatalf("the block at %d was lost: %x, %v", w*apart+off, got[:8], err)
						}
					}
				}
			})
		}
	}
}
