package file

import (
	"encoding/json"
	"math"
	"testing"
)

// FuzzAhead: whatever stands in the note of space that was taken ahead, what is given back of it
// lies in the image and in a range that the note names, and no byte is walked twice.
func FuzzAhead(f *testing.F) {
	for _, s := range []string{
		"", "null", "[]", "{}", "[[0,4096]]", "[[4096,4096],[0,8192]]", "[[0,4096],[0,4096]]", "[[-1,2]]", "[[0,-1]]", "[[1,9223372036854775807]]", "[[9223372036854775807,1]]",
		"[[-9223372036854775808,-9223372036854775808]]", "[[1]]", "[[1,2,3]]", "[[1e3,1]]", `[["0",1]]`, "[[0,1]", "[null]", "[[0,1048576],[524288,1048576],[2097152,0]]",
	} {
		f.Add([]byte(s), int64(1<<20))
	}
	f.Fuzz(func(t *testing.T, note []byte, size int64) {
		size &= math.MaxInt64
		var named [][2]int64
		readable := json.Unmarshal(note, &named) == nil
		end := int64(0)
		for _, r := range aheadRanges(note, size) {
			if !readable || r.off < end || r.length <= 0 || r.off > size-r.length {
				t.Fatalf("%q of %d bytes gives %+v, behind %d", note, size, r, end)
			}
			end = r.end()
			inside := false
			for _, n := range named {
				inside = inside || n[0] >= 0 && n[1] > 0 && n[0] <= r.off && (n[1] >= end || n[0] >= end-n[1])
			}
			if !inside {
				t.Fatalf("%q gives %+v, which is in no range of it", note, r)
			}
		}
	})
}
