package variation

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"

	"github.com/isantarget/isantarget/admin"
	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/provision"
)

// A Variation is what a daemon serves beside what a test works with.
type Variation struct {
	Mark string // stands in the configuration file, and is of this variation alone

	file string
	made []admin.Put
}

// Empty is nothing beside what the test works with.
func Empty() Variation { return Variation{} }

// New makes a variation. Its objects lie beside target, which is what the test works with
// and has portal group 1; some are made for it, but for initiators that do not exist.
func New(r *rand.Rand, target string) Variation {
	v := Variation{Mark: fmt.Sprintf("mark-%016x", r.Uint64())}
	file := side{r: r, prefix: "f", tag: 2, mark: v.Mark}
	var b strings.Builder
	for _, o := range file.objects() {
		fmt.Fprintf(&b, "\n[[%s]]\n", o.Table)
		for _, key := range slices.Sorted(maps.Keys(o.Object.(map[string]any))) {
			fmt.Fprintf(&b, "%s = %s\n", key, value(o.Object.(map[string]any)[key]))
		}
	}
	v.file = b.String()
	made := side{r: r, prefix: "m", tag: 12}
	v.made = append(made.objects(), made.beside(target)...)
	return v
}

// File is what of v stands in the configuration file, behind what the test works with.
func (v Variation) File() string { return v.file }

// To is the change of what is made at run time that turns v into w.
func (v Variation) To(w Variation) admin.Batch {
	var b admin.Batch
	name := func(p admin.Put) string { return fmt.Sprint(p.Table, "/", nameOf(p)) }
	find := func(list []admin.Put, p admin.Put) int {
		return slices.IndexFunc(list, func(q admin.Put) bool { return name(p) == name(q) })
	}
	for _, p := range v.made {
		if find(w.made, p) < 0 {
			b.Delete = append(b.Delete, provision.Delete{Table: p.Table, Name: nameOf(p), Version: provision.AnyVersion})
		}
	}
	for _, p := range w.made {
		switch i := find(v.made, p); {
		case i < 0:
			b.Put = append(b.Put, p)
		case !reflect.DeepEqual(v.made[i].Object, p.Object):
			p.Version = provision.AnyVersion
			b.Put = append(b.Put, p)
		}
	}
	return b
}

// nameOf is the name of an object, as the API has it.
func nameOf(p admin.Put) string {
	o := p.Object.(map[string]any)
	switch p.Table {
	case configs.PortalGroupTable:
		return fmt.Sprint(o["tag"])
	case configs.MapTable:
		return fmt.Sprint(o["target"], "/", o["number"])
	}
	return o["name"].(string)
}

// value is v as TOML.
func value(v any) string {
	switch v := v.(type) {
	case string:
		return fmt.Sprintf("%q", v)
	case []string:
		return "[" + strings.Join(quoted(v), ", ") + "]"
	case []int:
		return strings.Join(strings.Fields(fmt.Sprint(v)), ", ")
	case map[string]string:
		return table(v, func(s string) string { return fmt.Sprintf("%q", s) })
	case map[string]any:
		return table(v, value)
	case []map[string]any:
		var all []string
		for _, one := range v {
			all = append(all, value(one))
		}
		return "[" + strings.Join(all, ", ") + "]"
	}
	return fmt.Sprint(v)
}

func quoted(list []string) (all []string) {
	for _, s := range list {
		all = append(all, fmt.Sprintf("%q", s))
	}
	return all
}

func table[V any](m map[string]V, value func(V) string) string {
	var all []string
	for _, key := range slices.Sorted(maps.Keys(m)) {
		all = append(all, key+" = "+value(m[key]))
	}
	return "{ " + strings.Join(all, ", ") + " }"
}
