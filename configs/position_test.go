package configs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
)

func TestPositions(t *testing.T) {
	text := `# a comment with [brackets] and = signs
a = 1
"quoted key" . b = """
two # lines
of text"""
c = [ # one
  "x", { d = 1, e = [
    2 ] },

  '''lit
eral''', ]
[t.u]
f = 'x # y' # z
[[v]]
g = 1
[[v]]
g = 2
[v.w]
h = 1
[[v.x]]
i = "\"]\\"
[[v.x]]
i = 1979-05-27T07:32:00Z
`
	got := findPositions(text)
	for path, line := range map[string]int{
		"a": 2, "quoted key.b": 3, "c": 6, "c[0]": 7, "c[1].d": 7, "c[1].e[0]": 8, "c[2]": 10, "t.u.f": 13,
		"v[0]": 14, "v[0].g": 15, "v[1]": 16, "v[1].g": 17, "v[1].w.h": 19, "v[1].x[0].i": 21, "v[1].x[1].i": 23,
	} {
		if got[path] != line {
			t.Errorf("%s is on line %d, want %d", path, got[path], line)
		}
	}
}

// FuzzPositions: the scanner ends on anything, and on what is TOML it finds
// every key that the library finds.
func FuzzPositions(f *testing.F) {
	files, _ := filepath.Glob("examples/*.toml")
	for _, file := range append(files, "isantarget.toml") {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	for _, text := range []string{"a.b = [{c=1},{c=2}]", "a = \"\"\"x\"\"\"\"\"", "a='''\n''", "[[a.b]]\n[a.b.c]\nd=1", "a=\"\\", "[", "{", "a={b=[[1],[2]]}"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		found := findPositions(text)
		tree := map[string]any{}
		meta, err := toml.Decode(text, &tree)
		if err != nil || strings.ContainsAny(text, "\\\r") { // escapes in keys are found under another spelling
			return
		}
		byKey := map[string]bool{}
		for path := range found {
			byKey[keyOf(path)] = true
		}
		for _, key := range meta.Keys() {
			plain := true
			for _, part := range key {
				plain = plain && part != "" && !strings.ContainsAny(part, ".[]\n")
			}
			if plain && !byKey[strings.Join(key, ".")] {
				t.Errorf("key %q of %q is not found in %v", key, text, found)
			}
		}
	})
}

// FuzzParse: whatever a file says, there is a configuration or an error.
func FuzzParse(f *testing.F) {
	for _, file := range []string{"isantarget.toml", "examples/hyperv-cluster.toml"} {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := Parse("f", "/", text)
		if err != nil && err.Error() == "" {
			t.Error("an error without a word")
		}
		c.Warnings()
	})
}
