package configs

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
)

// A Table is the key of a list of tables of the schema, each of which is an object
// with a name.
type Table string

// The tables of objects.
const (
	PortalGroupTable Table = "portal-group" // named by its tag
	StoreTable       Table = "store"
	LUNTable         Table = "lun"
	TargetTable      Table = "target"
	MapTable         Table = "map" // named by its target and number: "iqn.2026-11.org.example:disk/3"
	RuleTable        Table = "rule"
)

// Tables are those of objects, each behind what it may name.
func Tables() []Table {
	return []Table{PortalGroupTable, StoreTable, LUNTable, TargetTable, MapTable, RuleTable}
}

// UnmarshalText reads the key of a table.
func (t *Table) UnmarshalText(text []byte) error {
	var known []string
	for _, k := range Tables() {
		known = append(known, string(k))
	}
	return choose((*string)(t), text, known)
}

// Title is what a person calls an object of the table.
func (t Table) Title() string {
	switch t {
	case LUNTable:
		return "LUN"
	case PortalGroupTable:
		return "portal group"
	}
	return string(t)
}

// schema is the type of the objects of the table.
func (t Table) schema() reflect.Type {
	all := reflect.TypeFor[Config]()
	for i := range all.NumField() {
		if all.Field(i).Tag.Get("toml") == string(t) {
			return all.Field(i).Type.Elem()
		}
	}
	panic("configs: no table " + string(t))
}

// An Object is one table of the schema that does not stand in a configuration file:
// it was made at run time. Relative paths in it start at the state directory. It is
// not to be changed.
type Object struct {
	Table Table
	File  string // where it is kept; empty: nowhere yet

	tree  map[string]any
	lines map[string]place // below the object: ".name"
}

// ObjectFromJSON reads an object from one JSON object, whose keys are those of the
// TOML table. What its values mean is found when it is put into a configuration.
func ObjectFromJSON(table Table, text []byte) (Object, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var tree map[string]any
	err := d.Decode(&tree)
	if err == nil && tree == nil {
		err = errors.New("it is null")
	}
	if err == nil && d.Decode(&struct{}{}) != io.EOF {
		err = errors.New("something stands behind it")
	}
	if err != nil {
		return Object{}, fmt.Errorf("this is not one JSON object with the keys of a %s: %w", table.Title(), err)
	}
	o := Object{Table: table}
	if o.tree, err = fromJSON(tree); err != nil {
		return Object{}, err
	}
	return o, nil
}

// fromJSON gives a tree the types that TOML knows. A key whose value is null is not there.
func fromJSON(tree map[string]any) (map[string]any, error) {
	out := make(map[string]any, len(tree))
	for key, in := range tree {
		if in == nil {
			continue
		}
		v, err := valueFromJSON(in)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		out[key] = v
	}
	return out, nil
}

func valueFromJSON(in any) (any, error) {
	switch v := in.(type) {
	case map[string]any:
		return fromJSON(v)
	case []any:
		list := make([]any, len(v))
		for i := range v {
			var err error
			if list[i], err = valueFromJSON(v[i]); err != nil {
				return nil, err
			}
		}
		return list, nil
	case json.Number:
		if n, err := strconv.ParseInt(string(v), 10, 64); err == nil {
			return n, nil
		}
		if f, err := v.Float64(); err == nil {
			return f, nil
		}
		return nil, errors.New("this number is too large")
	}
	return in, nil
}

// ObjectFromTOML reads a file that keeps one object.
func ObjectFromTOML(file string, text []byte) (Object, error) {
	wrong := func(format string, args ...any) (Object, error) {
		return Object{}, &Error{Where: file, Text: fmt.Sprintf(format, args...) +
			"; isantarget keeps an object here that was made at run time: put the file back as it was, or remove it to give the object up"}
	}
	tree := map[string]any{}
	if _, err := toml.Decode(string(text), &tree); err != nil {
		return wrong("cannot be read: %v", err)
	}
	if len(tree) != 1 {
		return wrong("holds %d tables and not one", len(tree))
	}
	o := Object{File: file, lines: map[string]place{}}
	for key, v := range tree {
		if err := o.Table.UnmarshalText([]byte(key)); err != nil {
			return wrong("%v", err)
		}
		list, ok := v.([]map[string]any)
		if !ok || len(list) != 1 {
			return wrong("does not hold one [[%s]]", key)
		}
		o.tree = list[0]
	}
	for path, line := range findPositions(string(text)) {
		if rest, ok := strings.CutPrefix(path, string(o.Table)+"[0]"); ok {
			o.lines[rest] = place{file, line}
		}
	}
	return o, nil
}

// ObjectOf makes an object of a value of the schema: a LUN, say.
func ObjectOf(v any) (Object, error) {
	for _, t := range Tables() {
		if t.schema() == reflect.TypeOf(v) {
			return Object{Table: t, tree: treeOf(reflect.ValueOf(v))}, nil
		}
	}
	return Object{}, fmt.Errorf("configs: %T is no object of the schema", v)
}

// Name is what the object is called within its table; empty: it has no name.
func (o Object) Name() string {
	word := func(key string) string {
		switch v := o.tree[key].(type) {
		case string:
			return v
		case int64:
			return strconv.FormatInt(v, 10)
		}
		return ""
	}
	switch o.Table {
	case PortalGroupTable:
		return word("tag")
	case TargetTable:
		return strings.ToLower(word("name"))
	case MapTable:
		return strings.ToLower(word("target")) + "/" + word("number")
	}
	return word("name")
}

// String is what a person calls the object.
func (o Object) String() string { return o.Table.Title() + " " + o.Name() }

// Text is the value of a key that holds a text; empty: there is none.
func (o Object) Text(key string) string {
	s, _ := o.tree[key].(string)
	return s
}

// Has tells whether a key is given.
func (o Object) Has(key string) bool { return o.tree[key] != nil }

// Keys are those of a table below a key.
func (o Object) Keys(key string) []string {
	table, _ := o.tree[key].(map[string]any)
	return slices.Collect(maps.Keys(table))
}

// With is the object with another value of a key.
func (o Object) With(key string, v any) Object {
	tree := maps.Clone(o.tree)
	if n, ok := v.(int); ok {
		v = int64(n)
	}
	tree[key] = v
	return Object{Table: o.Table, File: o.File, tree: tree}
}

// MarshalJSON is the object with the keys of the TOML table.
func (o Object) MarshalJSON() ([]byte, error) { return json.Marshal(o.tree) }

// TOML is the object as a file keeps it.
func (o Object) TOML() string {
	w := writer{}
	w.table(string(o.Table), o.tree, o.Table.schema(), true)
	return w.String()
}

// In is the object under the name of a file that keeps it.
func (o Object) In(file string) Object {
	kept, err := ObjectFromTOML(file, []byte(o.TOML()))
	if err != nil { // a value that no table has: the configuration will say so
		o.File = file
		return o
	}
	return kept
}

// Is tells whether two objects say the same.
func (o Object) Is(other Object) bool {
	return o.Table == other.Table && o.TOML() == other.TOML()
}

// add puts what was made at run time behind what stands in the tree, each table in the
// order of names.
func (s *source) add(tree map[string]any, made []Object) {
	s.objects = map[string]Object{}
	made = slices.SortedStableFunc(slices.Values(made), func(a, b Object) int { return compareNames(a.Name(), b.Name()) })
	for _, o := range made {
		key := string(o.Table)
		list := listOf(tree[key])
		if list == nil && tree[key] != nil {
			continue // the tree is wrong there, and decode will say so
		}
		at := fmt.Sprintf("%s[%d]", key, len(list))
		s.objects[at] = o
		for path, p := range o.lines {
			s.lines[at+path] = p
		}
		if o.File == "" {
			s.lines[at] = place{file: o.String()}
		}
		tree[key] = append(list, o.tree)
	}
}

// compareNames orders numbers by their value, and words.
func compareNames(a, b string) int {
	m, errM := strconv.Atoi(a)
	n, errN := strconv.Atoi(b)
	if errM == nil && errN == nil {
		return m - n
	}
	return strings.Compare(a, b)
}

// listOf is a list of tables, as TOML or JSON gives it.
func listOf(v any) []any {
	switch list := v.(type) {
	case []any:
		return slices.Clone(list)
	case []map[string]any:
		out := make([]any, 0, len(list)+1)
		for _, one := range list {
			out = append(out, one)
		}
		return out
	}
	return nil
}

// A Placed is an object and the side on which it lives.
type Placed struct {
	Object
	Made  bool   // at run time; else a person wrote it
	Where string // file and line, or flag; empty: nowhere, it is there because nothing is written
}

// Placed are the objects of a table, in the order of the configuration.
func (c Config) Placed(table Table) []Placed {
	var all []Placed
	list := c.table(table)
	for i := range list.Len() {
		path := fmt.Sprintf("%s[%d]", table, i)
		p := Placed{}
		if table != PortalGroupTable || !c.source.unwritten {
			p.Where = cmp.Or(c.Where(path), c.Where(path+".name"), c.Where(path+".listen[0]"))
		}
		if p.Object, p.Made = c.source.objects[path]; !p.Made {
			p.Object = Object{Table: table, tree: treeOf(c.written(list.Index(i)))}
		}
		all = append(all, p)
	}
	return all
}

// Kept is the configuration when each object that was made at run time is kept, those of
// files under their names there, and these objects.
func (c Config) Kept(files map[string]string) Config {
	c.source.objects, c.source.lines = maps.Clone(c.source.objects), maps.Clone(c.source.lines)
	for _, at := range slices.Sorted(maps.Keys(c.source.objects)) {
		o := c.source.objects[at]
		if file := files[o.String()]; o.File == "" && file != "" {
			o = o.In(file)
			c.source.objects[at] = o
			for path, p := range o.lines {
				c.source.lines[at+path] = p
			}
		}
	}
	return c
}

// Made are the objects that were made at run time.
func (c Config) Made() []Object {
	var all []Object
	for _, at := range slices.Sorted(maps.Keys(c.source.objects)) {
		all = append(all, c.source.objects[at])
	}
	return all
}

// table is the list of tables under a key of the schema.
func (c Config) table(table Table) reflect.Value {
	v := reflect.ValueOf(c)
	for i := range v.NumField() {
		if v.Type().Field(i).Tag.Get("toml") == string(table) {
			return v.Field(i)
		}
	}
	panic("configs: no table " + string(table))
}

// Find is the object of this name.
func (c Config) Find(table Table, name string) (Placed, bool) {
	for _, p := range c.Placed(table) {
		if p.Name() == name || table == TargetTable && strings.EqualFold(p.Name(), name) {
			return p, true
		}
	}
	return Placed{}, false
}

// Names are those of the objects of a table.
func (c Config) Names(table Table) []string {
	var names []string
	for _, p := range c.Placed(table) {
		names = append(names, p.Name())
	}
	return names
}

// written is a table as it would be written: the path of an image is below its store.
func (c Config) written(v reflect.Value) reflect.Value {
	l, ok := v.Interface().(LUN)
	if !ok || l.Store == "" {
		return v
	}
	for _, s := range c.Stores {
		if s.Name != l.Store {
			continue
		}
		if rel, err := filepath.Rel(s.Path, l.Path); err == nil {
			l.Path = rel
		}
		if l.Path == l.Name+".img" {
			l.Path = ""
		}
	}
	return reflect.ValueOf(l)
}
