package configs

import (
	"fmt"
	"strings"
	"testing"
)

// A text that goes down without bound is refused before it costs the process its stack, or
// the square of the depth; brackets and dots that are no depth are none.
func TestDepthIsBounded(t *testing.T) {
	many := 50_000
	for name, text := range map[string]string{
		"arrays":        "\n\na = " + strings.Repeat("[", 4*many),
		"arrays closed": "\n\na = " + strings.Repeat("[", many) + strings.Repeat("]", many),
		"tables":        "\n\na = " + strings.Repeat("{a=", many),
		"a dotted key":  "\n\n" + strings.Repeat("a.", many) + "a = 1",
		"spaced":        "\n\n" + strings.Repeat("a . ", many) + "a = 1",
		"quoted":        "\n\n" + strings.Repeat(`"a".`, many) + "a = 1",
		"a header":      "\n\n[" + strings.Repeat("a.", many) + "a]",
		"behind texts":  "\n\na = " + strings.Repeat(`["]", ']', """]""", `, many),
		"in a comment":  "#\n# ]]]]\"'\na = " + strings.Repeat("[ # ]\"\n", many),
	} {
		if _, err := Parse("san.toml", "/", text); err == nil || !strings.HasPrefix(err.Error(), "san.toml:3: values lie more than 16 deep") && name != "in a comment" {
			t.Errorf("%s: %.200v", name, err)
		}
	}
	deep := "a = " + strings.Repeat("[", many) // behind what the library takes for the end of something, or does not
	for _, before := range []string{"# \r", "# \r\"\n", "b = \"\n", "b = '\n", "b = \"\\\"\n", "b = \"\"\"\"\"\"\"\"\n", "b = '''''''''\n", "b = \"\"\"\\\"\"\"\"\n", "b#'\n", "[b#\"]\n", "b = 1\"\n", "b = tr#'\n", "\"b\n", "b = \"\"\"\"\"\"\"\n"} {
		if _, err := Parse("san.toml", "/", before+deep); err == nil {
			t.Errorf("%q is taken", before)
		}
	}
	lines := strings.Repeat("# [[[[ {{{{ a.b.c.d.e.f.g\n", 10)
	c := parse(t, lines+fmt.Sprintf(`
[[lun]] # a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q.r.s
name = "a"
path = %q
size = "1GiB"
[[target]]
name = "iqn.2026-11.a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q.r.s.t.u.v:[[[[[[[[[[[[[[[[[["
rule = [{ luns = { 0 = "a" }, initiators = ['''iqn.2026-11.org.example:a''', "iqn.2026-11.org.example:b"] }]
`, "/"+strings.Repeat("[{.", 20)))
	if len(c.LUNs) != 1 || len(c.Targets) != 1 || len(c.Targets[0].Rules[0].Initiators) != 2 {
		t.Errorf("%+v", c)
	}
}
