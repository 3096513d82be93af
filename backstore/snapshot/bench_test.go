package snapshot_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/backstore/file"
	"github.com/isantarget/isantarget/backstore/snapshot"
)

const benchSize = 64 << 20

// benchImages are the same content as a plain image, and as overlays that hold all of it,
// every other MiB of it and nothing of it, on ext4 in memory and in the page cache.
func benchImages(b *testing.B) map[string]*backstore.Medium {
	b.Helper()
	folder := mounted(b, "ext4", 768<<20)
	images := map[string]*backstore.Medium{}
	for name, every := range map[string]int64{"file": 0, "overlay": 1, "half": 2, "snapshot": benchSize} {
		path := filepath.Join(folder, name+".img")
		create(b, path, benchSize)
		fill := func(from, step int64) {
			s := open(b, file.Options{Path: path})
			defer func() { must(b, s.Close()) }()
			for off := from; off < benchSize; off += step {
				_, err := s.WriteAt(make([]byte, 1<<20), off)
				must(b, err)
			}
			must(b, s.Sync())
		}
		fill(0, 1<<20)
		if every > 0 {
			must(b, snapshot.At(path).Take("one", now()))
			if every < benchSize {
				fill(0, every<<20)
			}
		}
		m := backstore.Bind(open(b, file.Options{Path: path}))
		b.Cleanup(func() { must(b, m.Close()) })
		for off := int64(0); off < benchSize; off += 1 << 20 {
			_, err := m.ReadAt(make([]byte, 1<<20), off)
			must(b, err)
		}
		images[name] = m
	}
	return images
}

func benchmark(b *testing.B, images map[string]*backstore.Medium, call func(m *backstore.Medium, p []byte, off int64) (int, error)) {
	for _, length := range []int64{4096, 256 << 10} {
		for _, name := range []string{"file", "overlay", "half", "snapshot"} {
			b.Run(fmt.Sprintf("%dK/%s", length>>10, name), func(b *testing.B) {
				r := rand.New(rand.NewPCG(1, 2))
				p := make([]byte, length)
				b.SetBytes(length)
				b.ReportAllocs()
				for b.Loop() {
					if _, err := call(images[name], p, r.Int64N(benchSize/length)*length); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkRead reads what is in the page cache.
func BenchmarkRead(b *testing.B) {
	benchmark(b, benchImages(b), func(m *backstore.Medium, p []byte, off int64) (int, error) {
		if n, err := m.TryReadAt(p, off); err != backstore.ErrWouldBlock {
			return n, err
		}
		return m.ReadAt(p, off)
	})
}

// BenchmarkWrite writes into the page cache; what an overlay did not hold it holds then.
func BenchmarkWrite(b *testing.B) {
	benchmark(b, benchImages(b), func(m *backstore.Medium, p []byte, off int64) (int, error) { return m.WriteAt(p, off) })
}

// BenchmarkReadBatch reads 32 times 4 KiB at once, as for an initiator at that queue depth.
func BenchmarkReadBatch(b *testing.B) {
	images := benchImages(b)
	for _, name := range []string{"file", "overlay", "half", "snapshot"} {
		b.Run(name, func(b *testing.B) {
			r := rand.New(rand.NewPCG(1, 2))
			reads := make([]backstore.Read, 32)
			for i := range reads {
				reads[i].Data = make([]byte, 4096)
			}
			b.SetBytes(32 * 4096)
			b.ReportAllocs()
			for b.Loop() {
				for i := range reads {
					reads[i].Offset = r.Int64N(benchSize/4096) * 4096
				}
				images[name].TryReadBatch(reads)
				for i := range reads {
					if reads[i].Err != nil && reads[i].Err != backstore.ErrWouldBlock {
						b.Fatal(reads[i].Err)
					}
				}
			}
		})
	}
}
