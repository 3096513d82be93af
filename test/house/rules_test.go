package house

import (
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"slices"
	"testing"
)

// The rules themselves: what they must find, and what they must let pass.

const specimen = `
package specimen

type table struct{ n int; cells [4]int }

func (t *table) set(n int) { t.n = n }
func (t table) get() int   { return t.n }

var (
	fixed   = table{n: 1}
	numbers = []int{1, 2}
	names   = map[string]int{"a": 1}
	counter int
	pointer = &table{}
	written int
	ranged  int
	shadow  int
)

func reads() int {
	local := numbers[0] + fixed.get() + fixed.cells[1] + names["a"] + pointer.get()
	shadow := 1
	shadow++
	for i := range numbers {
		local += i
	}
	return local + shadow
}

func changes() {
	counter++
	written = 1
	numbers[0] = 2
	names["b"] = 2
	delete(names, "a")
	fixed.set(3)
	pointer.n = 4
	for ranged = range numbers {
	}
	_ = &fixed
	copy(numbers[1:], numbers)
}

type Exported int
const Bare = 1 // documented
var (
	AlsoBare error
)
func Function() {}
// Documented does nothing.
func Documented() {}
func (Exported) Method() {}
func (Exported) String() string { return "" }
func (*table) Hidden() {}
`

func check(t *testing.T) checked {
	t.Helper()
	c := checked{fset: token.NewFileSet(), info: &types.Info{
		Defs: make(map[*ast.Ident]types.Object), Uses: make(map[*ast.Ident]types.Object), Selections: make(map[*ast.SelectorExpr]*types.Selection),
	}}
	f, err := parser.ParseFile(c.fset, "specimen.go", specimen, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	c.files = []*ast.File{f}
	if c.types, err = (&types.Config{Importer: importer.Default()}).Check("specimen", c.fset, c.files, c.info); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestChangesFindsEveryWayToChangeAVariable(t *testing.T) {
	c := check(t)
	for function, want := range map[string][]string{
		"reads":   nil,
		"changes": {"counter", "written", "numbers", "names", "names", "fixed", "pointer", "ranged", "fixed", "numbers"},
	} {
		var got []string
		ast.Inspect(c.files[0].Scope.Lookup(function).Decl.(*ast.FuncDecl), func(n ast.Node) bool {
			for _, v := range c.changes(n) {
				got = append(got, v.Name)
			}
			return true
		})
		if !slices.Equal(got, want) {
			t.Errorf("%s changes %v, want %v", function, got, want)
		}
	}
}

func TestUndocumentedFindsExportedNames(t *testing.T) {
	var got []string
	for _, d := range check(t).files[0].Decls {
		for _, name := range undocumented(d) {
			got = append(got, name.Name)
		}
	}
	if want := []string{"Exported", "AlsoBare", "Function", "Method"}; !slices.Equal(got, want) {
		t.Errorf("undocumented finds %v, want %v", got, want)
	}
}

func TestRulesKeepTheLayersApart(t *testing.T) {
	own := func(path string) listed {
		return listed{ImportPath: modulePath + "/" + path, Module: &struct{ Path string }{modulePath}}
	}
	for _, c := range []struct {
		from string
		to   listed
		want bool
	}{
		{"scsi", own("iscsi"), false},
		{"scsi", own("backstore"), false},
		{"target", own("backstore"), false},
		{"target", own("scsi"), true},
		{"scsi/sbc", own("backstore"), true},
		{"scsi/sbc", own("backstore/file"), false},
		{"backstore/file", own("backstore/block"), false},
		{"provision", own("backstore/file"), true},
		{"iscsi", listed{ImportPath: "github.com/sirupsen/logrus"}, false},
		{"target", listed{ImportPath: "github.com/sirupsen/logrus"}, true},
		{"target", listed{ImportPath: "github.com/sirupsen/logrusish"}, false},
		{"cmd/isantarget", own("provision"), true},
	} {
		r, ok := ruleOf(c.from)
		if !ok {
			t.Errorf("no rule for %s", c.from)
		} else if got := r.allows(c.to); got != c.want {
			t.Errorf("%s may import %s: %v, want %v", c.from, c.to.ImportPath, got, c.want)
		}
	}
	if _, ok := ruleOf("elsewhere"); ok {
		t.Error("there is a rule for a package nobody knows")
	}
}
