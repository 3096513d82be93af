package uring

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/backstore"
)

func open(t *testing.T) (*Ring, int, []byte) {
	t.Helper()
	r, err := New()
	if err != nil {
		t.Skipf("this system has no io_uring for us: %v", err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	content := make([]byte, 1<<20)
	random := rand.NewChaCha8([32]byte{1})
	_, _ = random.Read(content)
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return r, int(f.Fd()), content
}

// Batches of every size, again and again round the queues, bring what is in the file.
func TestTryRead(t *testing.T) {
	r, fd, content := open(t)
	for round := range 200 {
		reads := make([]backstore.Read, 1+round%Entries)
		for i := range reads {
			reads[i] = backstore.Read{Data: make([]byte, 1+rand.IntN(8192)), Offset: rand.Int64N(int64(len(content)) - 8192)}
		}
		results, err := r.TryRead(fd, reads)
		if err != nil || len(results) != len(reads) {
			t.Fatalf("round %d: %d results, %v", round, len(results), err)
		}
		for i, n := range results {
			switch want := content[reads[i].Offset:][:len(reads[i].Data)]; {
			case n == -int32(unix.EAGAIN): // not in memory any more
			case int(n) != len(want) || !bytes.Equal(reads[i].Data, want):
				t.Fatalf("round %d, read %d: %d bytes of %d", round, i, n, len(want))
			}
		}
	}
}

// What lies behind the end is short, what is no file an error, each by itself.
func TestTryRead_Failures(t *testing.T) {
	r, fd, content := open(t)
	reads := []backstore.Read{
		{Data: make([]byte, 10), Offset: int64(len(content)) - 4},
		{Data: make([]byte, 10), Offset: int64(len(content)) + 4},
		{Data: make([]byte, 10)},
	}
	results, err := r.TryRead(fd, reads)
	if err != nil || results[0] != 4 || results[1] != 0 || results[2] != 10 || !bytes.Equal(reads[2].Data, content[:10]) {
		t.Errorf("%v, %v", results, err)
	}
	if results, err = r.TryRead(1<<20, reads[:2]); err != nil || results[0] != -int32(unix.EBADF) || results[1] != -int32(unix.EBADF) {
		t.Errorf("of a descriptor that is none: %v, %v", results, err)
	}
	if results, err = r.TryRead(fd, reads[2:]); err != nil || results[0] != 10 {
		t.Errorf("after that: %v, %v", results, err)
	}
}

// Data that is not in memory is not waited for.
func TestTryRead_WouldBlock(t *testing.T) {
	r, fd, _ := open(t)
	if err := unix.Fsync(fd); err != nil {
		t.Fatal(err)
	}
	reads := []backstore.Read{{Data: make([]byte, 4096)}, {Data: make([]byte, 4096), Offset: 512 << 10}}
	for range 100 { // some file systems keep a page for a moment, tmpfs for ever
		if err := unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED); err != nil {
			t.Fatal(err)
		}
		results, err := r.TryRead(fd, reads)
		if err != nil {
			t.Fatal(err)
		}
		if results[0] == -int32(unix.EAGAIN) {
			return
		}
	}
	t.Skip("the file system of the temporary directory drops nothing from memory")
}

// A ring that is of no use any more says so, and has nobody wait.
func TestTryRead_Broken(t *testing.T) {
	r, fd, _ := open(t)
	own := r.fd
	r.fd = fd // no ring
	if _, err := r.TryRead(fd, []backstore.Read{{Data: make([]byte, 1)}, {Data: make([]byte, 1)}}); err == nil {
		t.Error("a ring that is none has read")
	}
	r.fd = own
	if results, err := r.TryRead(fd, []backstore.Read{{Data: make([]byte, 8)}}); err != nil || results[0] != 8 {
		t.Errorf("what was left out was not taken back: %v, %v", results, err)
	}
}

func BenchmarkTryRead(b *testing.B) {
	r, err := New()
	if err != nil {
		b.Skip(err)
	}
	defer r.Close()
	f, err := os.CreateTemp(b.TempDir(), "")
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(make([]byte, 1<<20)); err != nil {
		b.Fatal(err)
	}
	reads := make([]backstore.Read, 32)
	for i := range reads {
		reads[i] = backstore.Read{Data: make([]byte, 4096), Offset: int64(i) << 12}
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.TryRead(int(f.Fd()), reads); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/32, "ns/read")
}
