package configs

import (
	"strings"
	"testing"
)

const twoPaths = `
[[portal-group]]
tag = 1
listen = ["192.0.2.1"]
[[portal-group]]
tag = 2
listen = ["192.0.2.2"]
[[portal-group]]
tag = 3
listen = ["192.0.2.3"]
[[lun]]
name = "a"
kind = "memory"
size = "1GiB"
[[lun]]
name = "b"
kind = "memory"
size = "1GiB"
[[lun]]
name = "c"
kind = "memory"
size = "1GiB"
[[target]]
name = "iqn.2026-11.org.example:a"
access = "open"
portal-groups = [1, 2]
luns = { 0 = "a", 1 = "b" }
`

func TestAccessStateOf(t *testing.T) {
	target := parse(t, twoPaths+`
[[target.access-state]]
portal-group = 2
luns = ["b"]
state = "unavailable"
preferred = true
[[target.access-state]]
portal-group = 2
state = "standby"
[[target.access-state]]
portal-group = 1
preferred = true
`).Targets[0]
	for _, c := range []struct {
		group     int
		lun       string
		state     PortState
		preferred bool
	}{
		{1, "a", Optimized, true}, {1, "b", Optimized, true}, {2, "a", Standby, false}, {2, "b", Unavailable, true}, {3, "a", Optimized, false},
	} {
		if state, preferred := target.AccessStateOf(c.group, c.lun); state != c.state || preferred != c.preferred {
			t.Errorf("LUN %s through portal group %d: %s, preferred %v; want %s, %v", c.lun, c.group, state, preferred, c.state, c.preferred)
		}
	}
}

func TestAccessStatesAreChecked(t *testing.T) {
	for text, want := range map[string]string{
		"state = \"standby\"":                                         "no portal group",
		"portal-group = 3":                                            "tag 3 leads to this target",
		"portal-group = 9":                                            "tag 9 leads to this target",
		"portal-group = 2\nluns = [\"c\"]":                            `maps no LUN "c"`,
		"portal-group = 2\nluns = [\"a\", \"a\"]":                     "is already at",
		"portal-group = 2\nstate = \"offline\"":                       `"offline" is not known`,
		"portal-group = 2\nstate = \"optimised\"":                     `mean optimized?`,
		"portal-group = 2\n[[target.access-state]]\nportal-group = 2": "is already at",
	} {
		_, err := Parse("san.toml", "/", twoPaths+"[[target.access-state]]\n"+text)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "access-state") {
			t.Errorf("%s\ngives %v; want %q", text, err, want)
		}
	}
}
