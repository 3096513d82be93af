package configs

import (
	"fmt"
	"strings"
)

// Warnings are what is allowed and yet probably not meant, a line each.
func (c Config) Warnings() []string {
	var w []string
	warn := func(path, what, text string) {
		if where := c.Where(path); where != "" && !strings.EqualFold(where, what) { // the object itself, if it was made at run time
			what = where + ": " + what
		}
		w = append(w, what+" "+text)
	}
	mapped := map[string]bool{}
	for i, t := range c.Targets {
		at, what := fmt.Sprintf("target[%d]", i), "target "+t.Name
		for _, luns := range t.lunMaps() {
			for _, name := range luns {
				mapped[name] = true
			}
			if _, ok := luns[0]; !ok && len(luns) > 0 {
				warn(at, what, "maps no LUN 0; some initiators look for the others only through it")
			}
		}
		if len(t.LUNs) == 0 && len(t.Rules) == 0 {
			warn(at, what, "has no LUNs")
		}
		if t.Effective() == Loopback && len(t.Rules) == 0 && c.reachable(t) {
			warn(at, what, `admits this host only, although its portals are open to the network: `+
				`say who may use it in a rule, or let everybody in with access = "open" (--access open)`)
		}
	}
	for i, l := range c.LUNs {
		what := "LUN " + l.Name
		if !mapped[l.Name] {
			warn(fmt.Sprintf("lun[%d]", i), what, "is mapped by no target")
		}
		for j, layer := range l.Layers {
			if len(layer.Faults) > 0 {
				warn(fmt.Sprintf("lun[%d].layer[%d].faults", i, j), what, "breaks on purpose: its initiators meet errors and may lose data; this is for tests only")
			}
		}
	}
	return w
}

// lunMaps are the LUN maps of t and of its rules.
func (t Target) lunMaps() []map[int]string {
	all := []map[int]string{t.LUNs}
	for _, r := range t.Rules {
		if r.LUNs != nil {
			all = append(all, r.LUNs)
		}
	}
	return all
}

// reachable tells whether another host can reach a portal of t.
func (c Config) reachable(t Target) bool {
	for _, g := range c.GroupsOf(t) {
		for _, p := range g.Listen {
			if !p.Local() {
				return true
			}
		}
	}
	return false
}

// GroupsOf are the portal groups of t, in the order of the configuration.
func (c Config) GroupsOf(t Target) []PortalGroup {
	if len(t.PortalGroups) == 0 {
		return c.PortalGroups
	}
	var groups []PortalGroup
	for _, g := range c.PortalGroups {
		for _, tag := range t.PortalGroups {
			if g.Tag == tag {
				groups = append(groups, g)
				break
			}
		}
	}
	return groups
}
