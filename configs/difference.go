package configs

import (
	"reflect"
	"slices"
	"strings"
)

// A Difference is a part of a configuration that another one has otherwise.
type Difference struct {
	Table Table    `json:"table"` // or "state", "log", "limits", "discovery"
	Name  string   `json:"name"`  // within the table; empty: there is one
	How   How      `json:"how"`
	Keys  []string `json:"keys,omitempty"` // that are otherwise
}

// How a part differs.
type How string

// The ways to differ.
const (
	Added   How = "added"
	Changed How = "changed"
	Removed How = "removed"
)

// String is a line for a person: "LUN vm1 changed: size".
func (d Difference) String() string {
	words := []string{d.Table.Title()}
	if d.Name != "" {
		words = append(words, d.Name)
	}
	text := strings.Join(append(words, string(d.How)), " ")
	if len(d.Keys) > 0 {
		text += ": " + strings.Join(d.Keys, ", ")
	}
	return text
}

// Differences are what after has otherwise than c. Maps and rules are told as changes of
// their targets.
func (c Config) Differences(after Config) []Difference {
	all := single(c, after)
	for _, table := range Tables() {
		if table == MapTable || table == RuleTable {
			continue
		}
		was, is := c.trees(table), after.trees(table)
		for _, name := range is.names {
			old, had := was.trees[name]
			if !had {
				all = append(all, Difference{Table: table, Name: name, How: Added})
			} else if keys := otherwise(old, is.trees[name], table.schema()); len(keys) > 0 {
				all = append(all, Difference{table, name, Changed, keys})
			}
		}
		for _, name := range was.names {
			if _, has := is.trees[name]; !has {
				all = append(all, Difference{Table: table, Name: name, How: Removed})
			}
		}
	}
	return all
}

// single are the differences of what there is once.
func single(c, after Config) (all []Difference) {
	was, is := c.tree(), after.tree()
	for _, key := range keys(reflect.TypeFor[Config]()) {
		if slices.Contains(Tables(), Table(key)) || reflect.DeepEqual(was[key], is[key]) {
			continue
		}
		d := Difference{Table: Table(key), How: Changed}
		old, _ := was[key].(map[string]any)
		next, _ := is[key].(map[string]any)
		if old != nil || next != nil {
			d.Keys = otherwise(old, next, fieldOf(reflect.TypeFor[Config](), key))
		}
		all = append(all, d)
	}
	return all
}

// named are objects by name, and their names in order.
type named struct {
	names []string
	trees map[string]map[string]any
}

// trees are the objects of a table as they are served.
func (c Config) trees(table Table) named {
	n := named{trees: map[string]map[string]any{}}
	list := c.table(table)
	for i := range list.Len() {
		o := Object{Table: table, tree: treeOf(c.written(list.Index(i)))}
		n.names = append(n.names, o.Name())
		n.trees[o.Name()] = o.tree
	}
	return n
}

// otherwise are the keys whose values are not the same, in the order of the schema.
func otherwise(old, next map[string]any, schema reflect.Type) (keys []string) {
	both := map[string]any{}
	for key := range old {
		both[key] = nil
	}
	for key := range next {
		both[key] = nil
	}
	for _, key := range keysOf(both, schema) {
		if !reflect.DeepEqual(old[key], next[key]) {
			keys = append(keys, key)
		}
	}
	return keys
}
