package provision

import (
	"fmt"
	"maps"
	"slices"

	"github.com/isantarget/isantarget/configs"
)

// A Report is what serves after an Apply.
type Report struct {
	Warnings []string
	LUNs     []LUNReport    // in the order of the configuration
	Targets  []TargetReport // likewise
	Changes  []string       // what this Apply has changed of what served before, in words
	Objects  []ObjectStatus // that a batch has put, in its order
}

// A LUNReport is how a LUN is.
type LUNReport struct {
	Name    string
	Kind    configs.Kind
	Path    string // empty for kinds without one
	Size    int64  // bytes; 0 while it is not ready
	Serial  string
	Failure error // why it is not ready; nil when it is
}

// A TargetReport is where a target is to be found.
type TargetReport struct {
	Name    string
	Portals []string // ADDR:PORT under which this host reaches it
	LUNs    map[int]string
	Access  configs.Access
	CHAP    *configs.Credential // that is asked for where no rule decides
}

// URLs are iscsi:// URLs as libiscsi takes them, one for each portal, target and LUN.
func (r Report) URLs() []string {
	var portals []string // in order, once each
	for _, t := range r.Targets {
		for _, p := range t.Portals {
			if !slices.Contains(portals, p) {
				portals = append(portals, p)
			}
		}
	}
	var urls []string
	for _, p := range portals {
		for _, t := range r.Targets {
			if !slices.Contains(t.Portals, p) {
				continue
			}
			for _, n := range slices.Sorted(maps.Keys(t.LUNs)) {
				urls = append(urls, fmt.Sprintf("iscsi://%s/%s/%d", p, t.Name, n))
			}
		}
	}
	return urls
}

// report describes what runs after the change.
func (c *change) report() Report {
	out := c.next.report()
	for _, u := range c.opened {
		out.Warnings = append(out.Warnings, u.warnings()...)
	}
	out.Warnings = append(out.Warnings, c.warnings...)
	out.Warnings = append(out.Warnings, c.next.overcommitments()...)
	out.Changes = c.changes
	return out
}

func (r *running) report() Report {
	p := r.plan
	out := Report{Warnings: p.Warnings()}
	for _, l := range p.LUNs {
		u := r.units[l.Name]
		one := LUNReport{Name: l.Name, Kind: u.kind, Path: l.Path, Serial: u.lu.Identity.Serial, Failure: u.failure}
		if u.medium != nil {
			one.Size = u.medium.Geometry().Size
		}
		out.LUNs = append(out.LUNs, one)
	}
	for i, t := range p.Targets {
		one := TargetReport{Name: string(p.nodes[i].name), Access: t.Effective(), CHAP: t.CHAP}
		for _, portal := range r.portalsOf(t) {
			one.Portals = append(one.Portals, portal.reachable())
		}
		one.LUNs = r.lunsOf(t)
		out.Targets = append(out.Targets, one)
	}
	return out
}

// portalsOf are the portals that lead to t, by portal group.
func (r *running) portalsOf(t configs.Target) []portal {
	var portals []portal
	for _, g := range r.plan.GroupsOf(t) {
		for _, p := range r.portals {
			if p.tag == g.Tag {
				portals = append(portals, p)
			}
		}
	}
	return portals
}

// lunsOf is the LUN map of t, with what its rules show under numbers that it leaves free.
func (r *running) lunsOf(t configs.Target) map[int]string {
	luns := map[int]string{}
	for _, rule := range t.Rules {
		maps.Copy(luns, rule.LUNs)
	}
	maps.Copy(luns, t.LUNs) // most initiators see these
	return luns
}
