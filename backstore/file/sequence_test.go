package file

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// A region that somebody writes is noticed once, in whatever order its blocks come, and
// beside others who write here and there.
func TestSequence(t *testing.T) {
	const block, region = 64 << 10, 1 << regionShift
	r := rand.New(rand.NewPCG(1, 2))
	for name, c := range map[string]struct {
		order func(blocks []int64)
		noise int // writes elsewhere for each
	}{
		"in order":                     {order: func([]int64) {}},
		"backwards":                    {order: slices.Reverse[[]int64]},
		"in any order":                 {order: func(b []int64) { r.Shuffle(len(b), func(i, j int) { b[i], b[j] = b[j], b[i] }) }},
		"in order, beside others":      {order: func([]int64) {}, noise: 20},
		"in any order, beside others ": {order: func(b []int64) { r.Shuffle(len(b), func(i, j int) { b[i], b[j] = b[j], b[i] }) }, noise: 20},
	} {
		t.Run(name, func(t *testing.T) {
			var s sequence
			found, wrong := map[int64]int{}, 0
			for first := int64(0); first < 1000; first++ {
				var blocks []int64
				for off := first * region; off < (first+1)*region; off += block {
					blocks = append(blocks, off)
				}
				c.order(blocks)
				for _, off := range blocks {
					if s.full(off>>regionShift, block) {
						found[off>>regionShift]++
					}
					for range c.noise {
						if s.full(r.Int64N(1<<20)+2000, 4096) {
							wrong++
						}
					}
				}
			}
			if len(found) < 990 || wrong > 0 {
				t.Errorf("of 1000 regions %d were noticed, and %d others", len(found), wrong)
			}
			for region, times := range found {
				if times > 1 {
					t.Fatalf("region %d was noticed %d times", region, times)
				}
			}
		})
	}
}

// What is written here and there is no sequence, and a large write is one by itself.
func TestSequence_Random(t *testing.T) {
	var s sequence
	r := rand.New(rand.NewPCG(3, 4))
	for range 1 << 20 {
		if region := r.Int64N(1 << 16); s.full(region, 4096) {
			t.Fatalf("region %d was noticed", region)
		}
	}
	for region := int64(0); region < 256; region++ {
		noticed := s.full(region, 1<<regionShift) // but for a word that another region has more of
		if !noticed && !s.full(region, 1<<regionShift) {
			t.Errorf("region %d was not", region)
		}
	}
	if n := testing.AllocsPerRun(100, func() { s.full(7, 4096) }); n != 0 {
		t.Errorf("it allocates %v times", n)
	}
}
