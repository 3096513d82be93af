package house

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const modulePath = "github.com/isantarget/isantarget"

// A listed is what `go list` says of a package.
type listed struct {
	ImportPath, Name, Dir, Export string
	Standard                      bool
	GoFiles, TestGoFiles          []string
	XTestGoFiles                  []string
	Imports                       []string
	Module                        *struct{ Path string }
}

// path is the import path below the module, "." for its root.
func (p listed) path() string {
	if p.ImportPath == modulePath {
		return "."
	}
	return strings.TrimPrefix(p.ImportPath, modulePath+"/")
}

// own tells whether the package is one of this module.
func (p listed) own() bool { return p.Module != nil && p.Module.Path == modulePath }

// A module is all packages of this module, and everything they import, by import path.
type module struct {
	packages map[string]listed
	order    []string // this module's, in the order of go list
}

// load lists the module, compiled.
func load(t *testing.T) module {
	t.Helper()
	cmd := exec.Command("go", "list", "-export", "-deps",
		"-json=ImportPath,Name,Dir,Export,Standard,GoFiles,TestGoFiles,XTestGoFiles,Imports,Module", "./...")
	cmd.Dir = "../.."
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	m := module{packages: make(map[string]listed)}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		m.packages[p.ImportPath] = p
		if p.own() {
			m.order = append(m.order, p.ImportPath)
		}
	}
	if len(m.order) == 0 {
		t.Fatal("go list names no package of this module")
	}
	return m
}

// each runs a subtest for each package of the module.
func (m module) each(t *testing.T, check func(t *testing.T, p listed)) {
	for _, path := range m.order {
		p := m.packages[path]
		t.Run(p.path(), func(t *testing.T) { check(t, p) })
	}
}

// A checked is a package's syntax with its types.
type checked struct {
	fset  *token.FileSet
	files []*ast.File
	info  *types.Info
	types *types.Package
}

// check parses and type-checks a package from source; what it imports comes from the compiler's export data.
func (m module) check(t *testing.T, p listed) checked {
	t.Helper()
	c := checked{fset: token.NewFileSet(), info: &types.Info{
		Defs: make(map[*ast.Ident]types.Object), Uses: make(map[*ast.Ident]types.Object),
		Selections: make(map[*ast.SelectorExpr]*types.Selection), Types: make(map[ast.Expr]types.TypeAndValue),
	}}
	for _, name := range p.GoFiles {
		f, err := parser.ParseFile(c.fset, filepath.Join(p.Dir, name), nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		c.files = append(c.files, f)
	}
	exports := importer.ForCompiler(c.fset, "gc", func(path string) (io.ReadCloser, error) {
		if dep, ok := m.packages[path]; ok && dep.Export != "" {
			return os.Open(dep.Export)
		}
		return nil, fmt.Errorf("no export data of %s", path)
	})
	var err error
	if c.types, err = (&types.Config{Importer: exports}).Check(p.ImportPath, c.fset, c.files, c.info); err != nil {
		t.Fatalf("type check: %v", err)
	}
	return c
}

// at is a position as file:line, the file below the module's root.
func (c checked) at(p token.Pos) string {
	position := c.fset.Position(p)
	name := position.Filename
	if root, err := filepath.Abs("../.."); err == nil {
		name = strings.TrimPrefix(name, root+"/")
	}
	return fmt.Sprintf("%s:%d", name, position.Line)
}
