package house

import (
	"go/ast"
	"go/token"
	"go/types"
	"testing"
)

// No package does anything before it is asked to.
func TestNoInit(t *testing.T) {
	m := load(t)
	m.each(t, func(t *testing.T, p listed) {
		c := m.check(t, p)
		for _, f := range c.files {
			for _, d := range f.Decls {
				if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
					t.Errorf("%s: an init function", c.at(fn.Pos()))
				}
			}
		}
	})
}

// No package has state of its own: a variable of a package is never changed after its declaration, neither as a whole
// nor in part, nor is its address taken, nor a method called that could change it. So it is a table or a sentinel. An
// exported one other packages could change, so it must be an error.
func TestNoMutablePackageVariables(t *testing.T) {
	m := load(t)
	m.each(t, func(t *testing.T, p listed) {
		c := m.check(t, p)
		for ident, object := range c.info.Defs {
			v, ok := object.(*types.Var)
			if !ok || v.Parent() != c.types.Scope() {
				continue
			}
			if v.Exported() && !isError(v.Type()) {
				t.Errorf("%s: %s is exported, and another package could change it: export a function or a constant", c.at(ident.Pos()), v.Name())
			}
			if kind := stateful(v.Type()); kind != "" {
				t.Errorf("%s: %s holds a %s, which is state", c.at(ident.Pos()), v.Name(), kind)
			}
		}
		for _, f := range c.files {
			ast.Inspect(f, func(n ast.Node) bool {
				for _, changed := range c.changes(n) {
					t.Errorf("%s: the package variable %s can change here", c.at(changed.Pos()), changed.Name)
				}
				return true
			})
		}
	})
}

func isError(t types.Type) bool {
	return types.Implements(t, types.Universe.Lookup("error").Type().Underlying().(*types.Interface))
}

// stateful names what makes a type state by itself: a lock, a pool, an atomic, a channel.
func stateful(t types.Type) string {
	if _, ok := t.Underlying().(*types.Chan); ok {
		return "channel"
	}
	if pointer, ok := t.(*types.Pointer); ok {
		t = pointer.Elem()
	}
	if named, ok := t.(*types.Named); ok && named.Obj().Pkg() != nil {
		switch path := named.Obj().Pkg().Path(); path {
		case "sync", "sync/atomic":
			return path + "." + named.Obj().Name()
		}
	}
	return ""
}

// changes returns the package variables that a node may change: by assignment to them or to a part of them, by ++ and --,
// by taking their address, by a call of a method with a pointer receiver, by the builtins that write, and as a range
// variable.
func (c checked) changes(n ast.Node) (changed []*ast.Ident) {
	add := func(e ast.Expr) {
		if v := c.variable(e); v != nil {
			changed = append(changed, v)
		}
	}
	switch n := n.(type) {
	case *ast.AssignStmt:
		if n.Tok != token.DEFINE {
			for _, e := range n.Lhs {
				add(e)
			}
		}
	case *ast.IncDecStmt:
		add(n.X)
	case *ast.RangeStmt:
		if n.Tok == token.ASSIGN {
			add(n.Key)
			add(n.Value)
		}
	case *ast.UnaryExpr:
		if n.Op == token.AND {
			add(n.X)
		}
	case *ast.SelectorExpr:
		if s := c.info.Selections[n]; s != nil && s.Kind() == types.MethodVal && !isPointer(s.Recv()) {
			if f, ok := s.Obj().(*types.Func); ok && isPointer(f.Signature().Recv().Type()) {
				add(n.X)
			}
		}
	case *ast.CallExpr:
		if name, ok := n.Fun.(*ast.Ident); ok && len(n.Args) > 0 {
			if _, builtin := c.info.Uses[name].(*types.Builtin); builtin {
				switch name.Name {
				case "delete", "clear", "copy", "append":
					add(n.Args[0])
				}
			}
		}
	}
	return changed
}

func isPointer(t types.Type) bool {
	_, ok := t.(*types.Pointer)
	return ok
}

// variable returns the package variable that an expression is, or is a part of.
func (c checked) variable(e ast.Expr) *ast.Ident {
	for {
		switch x := e.(type) {
		case *ast.ParenExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.SliceExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.SelectorExpr:
			if v, ok := c.info.Uses[x.Sel].(*types.Var); ok && v.Parent() != nil && !v.IsField() {
				return x.Sel // another package's
			}
			e = x.X
		case *ast.Ident:
			if v, ok := c.info.Uses[x].(*types.Var); ok && v.Pkg() != nil && v.Parent() == v.Pkg().Scope() {
				return x
			}
			return nil
		default:
			return nil
		}
	}
}
