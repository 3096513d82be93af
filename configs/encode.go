package configs

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// TOML is the whole configuration as one file: what was made at run time stands beside
// what a person wrote, and what adds to targets stands in them. Parse reads it as the
// same configuration. Secrets are names of files and variables, as everywhere.
func (c Config) TOML() string {
	w := writer{}
	w.table("", c.tree(), reflect.TypeFor[Config](), false)
	return w.String()
}

// MarshalJSON is the same as a JSON object.
func (c Config) MarshalJSON() ([]byte, error) { return json.Marshal(c.tree()) }

// tree is the configuration as a tree of values.
func (c Config) tree() map[string]any {
	c.Maps, c.Rules = nil, nil // they are in Targets
	luns := slices.Clone(c.LUNs)
	for i := range luns {
		luns[i] = c.written(reflect.ValueOf(luns[i])).Interface().(LUN)
	}
	c.LUNs = luns
	return treeOf(reflect.ValueOf(c))
}

// treeOf is a table of the schema as a tree of values, without those that have their
// default.
func treeOf(v reflect.Value) map[string]any {
	defaults := reflect.New(v.Type())
	if d, ok := defaults.Interface().(defaulter); ok {
		d.setDefaults()
	}
	tree := map[string]any{}
	for i := range v.NumField() {
		key := v.Type().Field(i).Tag.Get("toml")
		if key == "" || reflect.DeepEqual(v.Field(i).Interface(), defaults.Elem().Field(i).Interface()) {
			continue
		}
		tree[key] = valueOf(v.Field(i))
	}
	return tree
}

// valueOf is a value of the schema as the decoder takes it.
func valueOf(v reflect.Value) any {
	switch x := v.Interface().(type) {
	case encoding.TextMarshaler:
		text, err := x.MarshalText()
		if err != nil {
			panic("configs: " + err.Error()) // no type of the schema does
		}
		return string(text)
	case time.Duration:
		return x.String()
	}
	switch v.Kind() {
	case reflect.Struct:
		return treeOf(v)
	case reflect.Pointer:
		return valueOf(v.Elem())
	case reflect.Slice:
		list := make([]any, v.Len())
		for i := range v.Len() {
			list[i] = valueOf(v.Index(i))
		}
		return list
	case reflect.Map:
		tree := map[string]any{}
		for _, key := range v.MapKeys() {
			tree[fmt.Sprint(key.Interface())] = valueOf(v.MapIndex(key))
		}
		return tree
	case reflect.Bool:
		return v.Bool()
	case reflect.Int, reflect.Int32, reflect.Int64:
		return v.Int()
	case reflect.String:
		return v.String()
	}
	panic("configs: the schema has a field of kind " + v.Kind().String())
}

// A writer writes a tree as TOML, its keys in the order of the schema.
type writer struct{ strings.Builder }

// table writes the table at path: first its values, then the tables below it.
func (w *writer) table(path string, tree map[string]any, schema reflect.Type, element bool) {
	if path != "" {
		if w.Len() > 0 {
			w.WriteByte('\n')
		}
		if element {
			fmt.Fprintf(w, "[[%s]]\n", path)
		} else {
			fmt.Fprintf(w, "[%s]\n", path)
		}
	}
	order := keysOf(tree, schema)
	for _, key := range order {
		if !below(path, key, tree[key]) {
			fmt.Fprintf(w, "%s = %s\n", bareKey(key), inline(tree[key]))
		}
	}
	for _, key := range order {
		if !below(path, key, tree[key]) {
			continue
		}
		at, typ := join(path, key), fieldOf(schema, key)
		if list := listOf(tree[key]); list != nil {
			for _, one := range list {
				w.table(at, one.(map[string]any), typ, true)
			}
			continue
		}
		w.table(at, tree[key].(map[string]any), typ, false)
	}
}

// below tells whether a value is written as tables of their own: lists of tables, and
// the tables of the document itself.
func below(path, key string, v any) bool {
	if _, ok := v.(map[string]any); ok {
		return path == ""
	}
	list := listOf(v)
	return len(list) > 0 && !slices.ContainsFunc(list, func(one any) bool { _, ok := one.(map[string]any); return !ok })
}

// keysOf are the keys of a tree in the order of the schema, and behind them those that
// the schema does not have.
func keysOf(tree map[string]any, schema reflect.Type) []string {
	var known []string
	if schema != nil && schema.Kind() == reflect.Struct {
		known = keys(schema)
	}
	rank := func(key string) int {
		if i := slices.Index(known, key); i >= 0 {
			return i
		}
		return len(known)
	}
	var all []string
	for key := range tree {
		all = append(all, key)
	}
	slices.SortFunc(all, func(a, b string) int {
		if d := rank(a) - rank(b); d != 0 {
			return d
		}
		return compareNames(a, b)
	})
	return all
}

// fieldOf is the type of the tables under a key of the schema; nil: it has none.
func fieldOf(schema reflect.Type, key string) reflect.Type {
	if schema == nil || schema.Kind() != reflect.Struct {
		return nil
	}
	for i := range schema.NumField() {
		if schema.Field(i).Tag.Get("toml") == key {
			t := schema.Field(i).Type
			for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
				t = t.Elem()
			}
			return t
		}
	}
	return nil
}

// inline is a value on one line.
func inline(v any) string {
	switch x := v.(type) {
	case string:
		return quoted(x)
	case map[string]any:
		if len(x) == 0 {
			return "{}"
		}
		var words []string
		for _, key := range keysOf(x, nil) {
			words = append(words, bareKey(key)+" = "+inline(x[key]))
		}
		return "{ " + strings.Join(words, ", ") + " }"
	case float64:
		s := strconv.FormatFloat(x, 'f', -1, 64)
		if !strings.Contains(s, ".") {
			s += ".0"
		}
		return s
	case time.Time:
		return x.Format(time.RFC3339Nano)
	}
	if list := listOf(v); list != nil {
		words := make([]string, len(list))
		for i := range list {
			words[i] = inline(list[i])
		}
		return "[" + strings.Join(words, ", ") + "]"
	}
	return fmt.Sprint(v)
}

// bareKey is a key, in quotes where it needs them.
func bareKey(key string) string {
	const bare = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"
	if key != "" && strings.Trim(key, bare) == "" {
		return key
	}
	return quoted(key)
}

// quoted is a basic string of TOML.
func quoted(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range strings.ToValidUTF8(s, "\uFFFD") {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
