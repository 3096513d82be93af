package configs

import (
	"fmt"
	"math"
	"strings"
)

// A Map shows a LUN under a number of a target, from outside of the target: what
// the luns of the target do from within. So a LUN that was made at run time can be
// mapped by a target that stands in a file.
type Map struct {
	Target string `toml:"target"` // its iSCSI name
	Number int    `toml:"number"` // LUN number, 0 to 16383
	LUN    string `toml:"lun"`    // its name
}

func (m *Map) setDefaults() { m.Number = noNumber }

// noNumber is none at all, which -1 is not: that is a wrong one.
const noNumber = math.MinInt

// maps adds the LUN maps from outside to their targets: those that are asked for just now
// last, so that errors are about them.
func (k checker) maps() {
	for _, asked := range []bool{false, true} {
		for i, m := range k.config.Maps {
			at := fmt.Sprintf("map[%d]", i)
			if o, made := k.objects[at]; (made && o.File == "") == asked {
				k.addMap(m, at)
			}
		}
	}
}

func (k checker) addMap(m Map, at string) {
	t, ok := k.target(m.Target, at, "map")
	switch {
	case !ok:
		return
	case m.LUN == "":
		k.fail(at, `this map names no LUN; add lun = "..."`)
		return
	case m.Number == noNumber:
		k.fail(at, "this map of LUN %q has no number; add number = 1, or another that is free", m.LUN)
		return
	case m.Number < 0, m.Number > maxLUN:
		k.fail(at+".number", "%d is not a LUN number; write one of 0 to %d", m.Number, maxLUN)
		return
	}
	target := &k.config.Targets[t]
	path := fmt.Sprintf("target[%d].luns.%d", t, m.Number)
	if _, taken := target.LUNs[m.Number]; taken {
		where, _ := k.where(path)
		k.fail(at+".number", "the number %d of target %s is already given at %s", m.Number, target.Name, where)
		return
	}
	for n, name := range target.LUNs {
		if name == m.LUN {
			k.fail(at, "LUN %q is already number %d of target %s; an initiator may see a disk once", m.LUN, n, target.Name)
			return
		}
	}
	if target.LUNs == nil {
		target.LUNs = map[int]string{}
	}
	target.LUNs[m.Number] = m.LUN
	k.alias(at, path)
}

// target is the index of the target of this name, which the table at path wants.
func (k checker) target(name, at, what string) (int, bool) {
	if name == "" {
		k.fail(at, `this %s names no target; add target = "iqn.2026-11.org.example:disk"`, what)
		return 0, false
	}
	var known []string
	for i, t := range k.config.Targets {
		if strings.EqualFold(t.Name, name) {
			return i, true
		}
		known = append(known, t.Name)
	}
	if o, made := k.objects[at]; made && o.File != "" {
		k.fail(at+".target", "there is no target %s; this %s was made at run time: put the target back, or remove this file", name, what)
		return 0, false
	}
	k.fail(at+".target", "there is no target %s%s", name, DidYouMean(name, known))
	return 0, false
}

// alias says that what is found at the path to is written in the object at the path from.
func (k checker) alias(from, to string) {
	for _, path := range k.below[from] {
		k.lines[to+strings.TrimPrefix(path, from)] = k.lines[path]
	}
}
