package doctor

import (
	"slices"
	"testing"
)

// FuzzAnswers: what a target answers in the place of pages and parameter data is taken apart or
// refused; no size of it overflows, and no name reaches beyond the page.
func FuzzAnswers(f *testing.F) {
	capacity10 := []byte{0, 0, 0x3f, 0xff, 0, 0, 2, 0}
	capacity16 := []byte{0, 0, 0, 0, 0, 0, 0x3f, 0xff, 0, 0, 2, 0, 0, 0, 0xc0, 0}
	page83 := []byte{0, 0x83, 0, 12, 1, 3, 0, 8, 0x30, 1, 2, 3, 4, 5, 6, 7}
	sense := []byte{15, 0, 0x10, 0, 0x0a, 0x0a, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	f.Add(page83, capacity10, capacity16)
	f.Add(sense, capacity10, []byte{})
	f.Add([]byte{0, 0x83, 0, 4, 1, 3, 0, 255}, []byte{255, 255, 255, 255, 0, 0, 2, 0}, []byte{0, 0x1f, 255, 255, 255, 255, 255, 255, 0, 0, 16, 0})
	f.Add([]byte{0, 0x83, 0, 8, 2, 1, 0, 4, 27, '[', 'J', 0}, []byte{}, []byte{255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 2, 0})
	f.Add([]byte{3, 0, 0, 8, 0, 0, 0, 0, 0, 0, 2, 0, 0x4a, 1, 0, 0, 255}, capacity10, []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1})
	f.Fuzz(func(t *testing.T, page, short, long []byte) {
		if all, err := designators(page); err == nil {
			n := 4
			for _, d := range all {
				n += 4 + len(d.id)
			}
			if len(page) >= 4 && n != len(page) {
				t.Errorf("designators of %d bytes in a page of %d", n, len(page))
			}
		}
		names, _ := identity(page)
		if !slices.IsSorted(names) {
			t.Errorf("names %q", names)
		}
		if d, err := binaryName(page); err == nil && d.id != nil && len(d.id) < 8 {
			t.Errorf("a name of %d bytes", len(d.id))
		}
		for _, form := range [][3]int{{4, 2, 3}, {8, 3, 6}} {
			_, pages, err := modePages(page, form[0], form[1], form[2])
			for code, p := range pages {
				if err == nil && (len(p) < 2 || p[0]&0x3f != code || len(p) > len(page)) {
					t.Errorf("mode page %02Xh is % X", code, p)
				}
			}
		}
		if c, err := capacityOf(short, long); err == nil && (int64(c.blocks)*int64(c.size) <= 0 || uint64(int64(c.blocks)*int64(c.size))/uint64(c.size) != c.blocks) {
			t.Errorf("%d blocks of %d bytes are %d bytes", c.blocks, c.size, int64(c.blocks)*int64(c.size))
		}
		if len(page) >= 8 {
			if n, ok := lunOf(page); ok && (n < 0 || n > 16383) {
				t.Errorf("LUN %d", n)
			}
		}
	})
}
