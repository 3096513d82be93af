package house

import (
	"go/ast"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Each package teaches its domain in doc.go; a command may do so in its main.go.
func TestPackageDocumentation(t *testing.T) {
	m := load(t)
	m.each(t, func(t *testing.T, p listed) {
		c := m.check(t, p)
		for i, f := range c.files {
			name := filepath.Base(p.GoFiles[i])
			if f.Doc == nil {
				continue
			}
			if name != "doc.go" && (p.Name != "main" || name != "main.go") {
				t.Errorf("%s: the package's documentation belongs into doc.go", c.at(f.Doc.Pos()))
			}
			if want := "Package " + p.Name + " "; p.Name != "main" && !strings.HasPrefix(f.Doc.Text(), want) {
				t.Errorf("%s: the documentation does not begin with %q", c.at(f.Doc.Pos()), want)
			}
			return
		}
		t.Errorf("%s has no documentation: doc.go is missing, or has no package comment", p.path())
	})
}

// Every exported name says what it is.
func TestExportedNamesAreDocumented(t *testing.T) {
	m := load(t)
	m.each(t, func(t *testing.T, p listed) {
		if p.Name == "main" {
			return // nobody can import it
		}
		c := m.check(t, p)
		for _, f := range c.files {
			for _, d := range f.Decls {
				for _, name := range undocumented(d) {
					t.Errorf("%s: %s is exported and has no comment", c.at(name.Pos()), name.Name)
				}
			}
		}
	})
}

// undocumented returns the exported names that a declaration makes without a comment. A comment on a group, or at the
// end of a line, is one; methods that fulfil the standard library's best known interfaces need none.
func undocumented(d ast.Decl) (names []*ast.Ident) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		known := d.Recv != nil && slices.Contains([]string{"Error", "Unwrap", "String", "Len", "Less", "Swap"}, d.Name.Name)
		if d.Name.IsExported() && d.Doc == nil && !known && exportedReceiver(d) {
			names = append(names, d.Name)
		}
	case *ast.GenDecl:
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				if s.Name.IsExported() && s.Doc == nil && s.Comment == nil && d.Doc == nil {
					names = append(names, s.Name)
				}
			case *ast.ValueSpec:
				for _, name := range s.Names {
					if name.IsExported() && s.Doc == nil && s.Comment == nil && d.Doc == nil {
						names = append(names, name)
					}
				}
			}
		}
	}
	return names
}

// exportedReceiver tells whether a function is none of a type that stays inside.
func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	e := d.Recv.List[0].Type
	for {
		switch x := e.(type) {
		case *ast.StarExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.IndexListExpr:
			e = x.X
		case *ast.Ident:
			return x.IsExported()
		default:
			return true
		}
	}
}
