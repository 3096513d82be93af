package house

import (
	"cmp"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A clauseTest is a test that carries the clause it proves in its name: TestStop_RFC7143_11_9_1.
type clauseTest struct {
	document, clause string // "RFC 7143", "11.9.1"
	pkg, name        string
}

// documents are the standards by their names in tests.
func documents() map[string]string {
	return map[string]string{
		"RFC3720": "RFC 3720", "RFC4171": "RFC 4171", "RFC7143": "RFC 7143", "SAM5": "SAM-5",
		"SPC2": "SPC-2", "SPC4": "SPC-4", "SBC3": "SBC-3", "SBC4": "SBC-4",
	}
}

// clauseTests finds them all in the tree.
func clauseTests(t *testing.T) (found []clauseTest) {
	t.Helper()
	name := regexp.MustCompile(`^(Test\w+?|Fuzz\w+?)_([A-Z]+\d+)((?:_[0-9A-Z]+)+)$`)
	names := documents()
	err := filepath.WalkDir("../..", func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, decl := range f.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if m := name.FindStringSubmatch(fn.Name.Name); m != nil {
				document, known := names[m[2]]
				if !known {
					t.Errorf("%s: %s names a document that nobody knows: %s", path, fn.Name.Name, m[2])
				}
				pkg := strings.TrimPrefix(filepath.Dir(path), "../../")
				found = append(found, clauseTest{document, strings.ReplaceAll(m[3][1:], "_", "."), pkg, fn.Name.Name})
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(found, func(a, b clauseTest) int {
		return cmp.Or(cmp.Compare(a.document, b.document), compareClauses(a.clause, b.clause), cmp.Compare(a.pkg, b.pkg), cmp.Compare(a.name, b.name))
	})
	return found
}

// compareClauses orders 4.2.5 before 4.10, and the annexes behind.
func compareClauses(a, b string) int {
	return slices.CompareFunc(strings.Split(a, "."), strings.Split(b, "."), func(x, y string) int {
		m, errM := strconv.Atoi(x)
		n, errN := strconv.Atoi(y)
		switch {
		case errM == nil && errN == nil:
			return cmp.Compare(m, n)
		case errM == nil:
			return -1
		case errN == nil:
			return 1
		}
		return cmp.Compare(x, y)
	})
}

// The marks between which CONFORMANCE.md holds the tests by clause.
const (
	clausesBegin = "<!-- clauses: begin (written by make conformance UPDATE=1) -->"
	clausesEnd   = "<!-- clauses: end -->"
)

// clauseTable is the part of CONFORMANCE.md between the marks.
func clauseTable(tests []clauseTest) string {
	var b strings.Builder
	document := ""
	for _, c := range tests {
		if c.document != document {
			document = c.document
			fmt.Fprintf(&b, "\n### %s\n\n| clause | test | package |\n|---|---|---|\n", document)
		}
		fmt.Fprintf(&b, "| %s | %s | [%s](%s) |\n", c.clause, c.name, c.pkg, c.pkg)
	}
	return b.String()
}

// CONFORMANCE.md names no test that is not there. What is new in the tree it may lack, until
// `make conformance UPDATE=1` writes it anew.
func TestConformanceNamesTests(t *testing.T) {
	const file = "../../CONFORMANCE.md"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), clausesBegin)
	table, after, ok2 := strings.Cut(rest, clausesEnd)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the tests by clause: %s ... %s", file, clausesBegin, clausesEnd)
	}
	tests := clauseTests(t)
	if update := flag.Lookup("update"); update != nil && update.Value.String() == "true" {
		anew := before + clausesBegin + "\n" + clauseTable(tests) + "\n" + clausesEnd + after
		if err := os.WriteFile(file, []byte(anew), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	rows := regexp.MustCompile(`(?m)^\| \S+ \| (\w+) \| \[([\w/]+)\]`).FindAllStringSubmatch(table, -1)
	if len(rows) == 0 {
		t.Fatalf("%s names no test between its marks", file)
	}
	for _, row := range rows {
		if !slices.ContainsFunc(tests, func(c clauseTest) bool { return c.name == row[1] && c.pkg == row[2] }) {
			t.Errorf("%s names %s of %s, which is not there (any more); make conformance UPDATE=1 writes the table anew", file, row[1], row[2])
		}
	}
}

func TestMain(m *testing.M) {
	flag.Bool("update", false, "write the tests by clause into CONFORMANCE.md")
	flag.Parse()
	os.Exit(m.Run())
}

func TestCompareClauses(t *testing.T) {
	clauses := []string{"C", "11.9.1", "4.2.10", "4.2.9", "4.2", "11.14"}
	slices.SortFunc(clauses, compareClauses)
	if want := []string{"4.2", "4.2.9", "4.2.10", "11.9.1", "11.14", "C"}; !slices.Equal(clauses, want) {
		t.Errorf("sorted %v, want %v", clauses, want)
	}
}
