package configs

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A source knows where the values of a configuration are written.
type source struct {
	file    string            // name of the file, if it was one
	lines   map[string]place  // path -> where it is written
	flags   map[string]string // path -> the flag as it was given
	dir     string            // relative paths start here
	objects map[string]Object // root of a path -> what was made at run time

	unwritten bool // the portal group is the one that there is where none is written
}

// A place is where something is written: a line of a file, or something else that
// has a name and no lines.
type place struct {
	file string
	line int
}

func (p place) String() string {
	if p.line == 0 {
		return p.file
	}
	return p.file + ":" + strconv.Itoa(p.line)
}

// where is the place of path, or of the nearest thing around it that has one.
func (s source) where(path string) (place string, line int) {
	for ; ; path = parent(path) {
		if flag, ok := s.flags[path]; ok {
			return flag, 0
		}
		for _, at := range []string{path, path + "[0]"} { // an array of tables is where its first table is
			if p, ok := s.lines[at]; ok {
				return p.String(), p.line
			}
		}
		if path == "" {
			return s.file, 0
		}
	}
}

// errorf is an error about the value at path.
func (s source) errorf(path, format string, args ...any) *Error {
	where, line := s.where(path)
	key := keyOf(path)
	if _, ok := s.flags[path]; ok {
		key = "" // the flag itself says it
	} else if line == 0 && where != s.file && path == root(path) {
		key = "" // the object itself
	} else if line == 0 && where != s.file {
		key = key[strings.LastIndexByte(key, '.')+1:]
	}
	return &Error{Where: where, Key: key, Text: fmt.Sprintf(format, args...), line: line}
}

// root is the object that path leads into: "lun[3]" of "lun[3].size".
func root(path string) string {
	if i := strings.IndexByte(path, ']'); i >= 0 {
		return path[:i+1]
	}
	return path
}

// A decoder fills the schema from a tree of values and collects what is wrong.
// The tree is what TOML and JSON know: map[string]any, slices, strings, int64, bool.
type decoder struct {
	source
	words  bool // values are words of a flag: "on" may be a boolean, "512" an integer
	errors Errors
}

func (d *decoder) fail(path, format string, args ...any) {
	d.errors = append(d.errors, d.errorf(path, format, args...))
}

// wordsAt tells whether the value at path is a word of a flag.
func (d *decoder) wordsAt(path string) bool {
	_, made := d.objects[root(path)]
	return d.words && !made
}

// remedy is what to do in a file, or by a flag.
func (d *decoder) remedy(file, flag string) string {
	if d.words {
		return flag
	}
	return file
}

// finish is what the decoder found, in the order of the text.
func (d *decoder) finish() error {
	slices.SortStableFunc(d.errors, func(a, b *Error) int { return a.line - b.line })
	return d.errors.err()
}

// A defaulter is a part of the schema whose zero value is not its default.
type defaulter interface{ setDefaults() }

// decode fills out from in. What is wrong is noted and left as it was.
func (d *decoder) decode(path string, in any, out reflect.Value) {
	if t, ok := out.Addr().Interface().(encoding.TextUnmarshaler); ok {
		d.text(path, in, t)
		return
	}
	switch out.Interface().(type) {
	case time.Duration:
		d.duration(path, in, out)
		return
	case map[int]string:
		d.numbered(path, in, out)
		return
	}
	switch out.Kind() {
	case reflect.Struct:
		d.table(path, in, out)
	case reflect.Slice:
		d.list(path, in, out)
	case reflect.Pointer:
		out.Set(reflect.New(out.Type().Elem()))
		d.decode(path, in, out.Elem())
	case reflect.Bool:
		d.boolean(path, in, out)
	case reflect.Int:
		d.integer(path, in, out)
	case reflect.String:
		if s, ok := in.(string); ok {
			out.SetString(s)
		} else {
			d.fail(path, "is %s, wants a text in quotes", describe(in))
		}
	default:
		panic("configs: the schema has a field of kind " + out.Kind().String())
	}
}

// table fills a struct; its keys are the toml tags.
func (d *decoder) table(path string, in any, out reflect.Value) {
	if def, ok := out.Addr().Interface().(defaulter); ok {
		def.setDefaults()
	}
	values, ok := in.(map[string]any)
	if !ok {
		d.fail(path, "is %s, wants a table with the keys %s", describe(in), strings.Join(keys(out.Type()), ", "))
		return
	}
	known := keys(out.Type())
	for key := range values {
		if !slices.Contains(known, key) {
			d.fail(join(path, key), "unknown key%s", DidYouMean(key, known))
		}
	}
	for i := range out.NumField() {
		if key := out.Type().Field(i).Tag.Get("toml"); key != "" {
			if v, ok := values[key]; ok {
				d.decode(join(path, key), v, out.Field(i))
			}
		}
	}
}

// keys are the keys of a table of the schema.
func keys(t reflect.Type) []string {
	var keys []string
	for i := range t.NumField() {
		if key := t.Field(i).Tag.Get("toml"); key != "" {
			keys = append(keys, key)
		}
	}
	return keys
}

func (d *decoder) list(path string, in any, out reflect.Value) {
	v := reflect.ValueOf(in)
	if v.Kind() != reflect.Slice {
		_, word := reflect.New(out.Type().Elem()).Interface().(encoding.TextUnmarshaler)
		if out.Type().Elem().Kind() == reflect.Struct && !word {
			d.fail(path, "is %s, wants a list of tables; write [[%s]]", describe(in), keyOf(path))
		} else {
			d.fail(path, "is %s, wants a list in square brackets", describe(in))
		}
		return
	}
	list := reflect.MakeSlice(out.Type(), v.Len(), v.Len())
	for i := range v.Len() {
		d.decode(path+"["+strconv.Itoa(i)+"]", v.Index(i).Interface(), list.Index(i))
	}
	out.Set(list)
}

// numbered fills a LUN map: { 0 = "name", 1 = "name" }.
func (d *decoder) numbered(path string, in any, out reflect.Value) {
	values, ok := in.(map[string]any)
	if !ok {
		d.fail(path, `is %s, wants LUN numbers and names: { 0 = "name" }`, describe(in))
		return
	}
	luns := make(map[int]string, len(values))
	for key, v := range values {
		n, err := strconv.ParseUint(key, 10, 16)
		if err != nil || n > maxLUN || strconv.Itoa(int(n)) != key {
			d.fail(join(path, key), "%q is not a LUN number; write one of 0 to %d", key, maxLUN)
			continue
		}
		name, ok := v.(string)
		if !ok {
			d.fail(join(path, key), "is %s, wants the name of a LUN in quotes", describe(v))
			continue
		}
		luns[int(n)] = name
	}
	out.Set(reflect.ValueOf(luns))
}

func (d *decoder) text(path string, in any, out encoding.TextUnmarshaler) {
	var word string
	switch v := in.(type) {
	case string:
		word = v
	case int64:
		word = strconv.FormatInt(v, 10)
	default:
		d.fail(path, "is %s, wants a text in quotes", describe(in))
		return
	}
	if err := out.UnmarshalText([]byte(word)); err != nil {
		d.fail(path, "%v", err)
	}
}

func (d *decoder) duration(path string, in any, out reflect.Value) {
	word, ok := in.(string)
	if !ok {
		d.fail(path, `is %s, wants a time with its unit: "15s"`, describe(in))
		return
	}
	t, err := time.ParseDuration(word)
	if err != nil || t < 0 {
		d.fail(path, `%q is not a length of time; write a number and its unit, as "15s" or "2m"`, word)
		return
	}
	out.SetInt(int64(t))
}

func (d *decoder) boolean(path string, in any, out reflect.Value) {
	switch v := in.(type) {
	case bool:
		out.SetBool(v)
		return
	case string:
		if !d.wordsAt(path) {
			break
		}
		switch strings.ToLower(v) {
		case "on", "true", "yes":
			out.SetBool(true)
		case "off", "false", "no":
			out.SetBool(false)
		default:
			d.fail(path, "%q is not a switch; write on or off", v)
		}
		return
	}
	d.fail(path, "is %s, wants true or false", describe(in))
}

func (d *decoder) integer(path string, in any, out reflect.Value) {
	switch v := in.(type) {
	case int64:
		out.SetInt(v)
		return
	case string:
		if !d.wordsAt(path) {
			break
		}
		n, err := strconv.Atoi(v)
		if err != nil {
			d.fail(path, "%q is not a number", v)
			return
		}
		out.SetInt(int64(n))
		return
	}
	d.fail(path, "is %s, wants a number without quotes", describe(in))
}

// describe says what a value of the tree is, the value itself not among it: it
// may be a secret at the wrong place.
func describe(in any) string {
	switch in.(type) {
	case string:
		return "a text"
	case int64:
		return "a number"
	case float64:
		return "a number with a fraction"
	case bool:
		return "a switch"
	case time.Time:
		return "a date"
	case map[string]any:
		return "a table"
	case []map[string]any:
		return "a list of tables"
	case []any:
		return "a list"
	}
	return "something else"
}
