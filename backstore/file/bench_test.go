package file_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/backstore/file"
)

const benchSize = 64 << 20

// benchMedium is an image whose whole content is in the page cache.
func benchMedium(b *testing.B, o file.Options) *backstore.Medium {
	o.Path = filepath.Join(b.TempDir(), "image")
	o.Create = true
	o.Size = benchSize
	m := backstore.Bind(open(b, o))
	b.Cleanup(func() { _ = m.Close() })
	p := make([]byte, 1<<20)
	for i := range p {
		p[i] = byte(i)
	}
	for off := int64(0); off < benchSize; off += int64(len(p)) {
		if _, err := m.WriteAt(p, off); err != nil {
			b.Fatal(err)
		}
	}
	return m
}

func benchmark(b *testing.B, m *backstore.Medium, call func(p []byte, off int64) (int, error)) {
	for _, length := range []int{4096, 65536, 1 << 20} {
		b.Run(fmt.Sprintf("%dK", length/1024), func(b *testing.B) {
			r := rand.New(rand.NewPCG(1, 2))
			p := make([]byte, length)
			b.SetBytes(int64(length))
			b.ReportAllocs()
			blocked := 0
			for b.Loop() {
				switch _, err := call(p, r.Int64N(benchSize/int64(length))*int64(length)); err {
				case nil:
				case backstore.ErrWouldBlock:
					blocked++
				default:
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(blocked)/float64(b.N), "blocked/op")
		})
	}
}

func BenchmarkReadAt(b *testing.B) {
	m := benchMedium(b, file.Options{})
	benchmark(b, m, m.ReadAt)
}

func BenchmarkTryReadAt(b *testing.B) {
	m := benchMedium(b, file.Options{})
	benchmark(b, m, m.TryReadAt)
}

func BenchmarkWriteAt(b *testing.B) {
	m := benchMedium(b, file.Options{})
	benchmark(b, m, m.WriteAt)
}

func BenchmarkWriteThroughAt(b *testing.B) {
	m := benchMedium(b, file.Options{})
	benchmark(b, m, m.WriteThroughAt)
}

func BenchmarkReadAtDirect(b *testing.B) {
	m := benchMedium(b, file.Options{Direct: true})
	benchmark(b, m, m.ReadAt)
}

// BenchmarkPread is the system call alone: what is left is ours.
func BenchmarkPread(b *testing.B) {
	path := filepath.Join(b.TempDir(), "image")
	s := open(b, file.Options{Path: path, Create: true, Size: benchSize})
	if _, err := s.WriteAt(make([]byte, benchSize), 0); err != nil {
		b.Fatal(err)
	}
	_ = s.Close()
	fd, err := unix.Open(path, unix.O_RDONLY, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = unix.Close(fd) }()
	benchmark(b, nil, func(p []byte, off int64) (int, error) { return unix.Pread(fd, p, off) })
}
