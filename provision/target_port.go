package provision

import (
	"fmt"

	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/scsi"
)

// relativeIDs are the relative target port identifiers of the portal groups of each
// target. They are unique over all targets, since one LUN may be reached through
// several, and to its initiators it is one logical unit with all of these ports.
func (r *running) relativeIDs(plan *plan) ([][]uint16, error) {
	var names []string
	name := func(node nodePlan, g configs.PortalGroup) string {
		return (&scsi.TargetPort{Device: string(node.name), Group: uint16(g.Tag)}).String()
	}
	for i, node := range plan.nodes {
		for _, g := range plan.GroupsOf(plan.Targets[i]) {
			names = append(names, name(node, g))
		}
	}
	numbers, err := r.state.TargetPorts(names)
	if err != nil {
		return nil, err
	}
	ids := make([][]uint16, len(plan.nodes))
	for i, node := range plan.nodes {
		for _, g := range plan.GroupsOf(plan.Targets[i]) {
			ids[i] = append(ids[i], numbers[name(node, g)])
		}
	}
	return ids, nil
}

// groupPorts tells each logical unit through which ports it is reached. A port is a
// target port group of its own, with the number of the port: so each path can have
// its own state.
func (r *running) groupPorts(plan *plan) error {
	for _, l := range plan.LUNs {
		var groups []scsi.PortGroup
		for i, node := range plan.nodes {
			if !node.leadsTo(l.Name) {
				continue
			}
			for _, g := range plan.GroupsOf(plan.Targets[i]) {
				port := r.nodes[i].TargetPort(r.groups[g.Tag])
				state, preferred := plan.Targets[i].AccessStateOf(g.Tag, l.Name)
				groups = append(groups, scsi.PortGroup{
					ID: port.RelativeID, Ports: []*scsi.TargetPort{port}, State: accessState(state), Preferred: preferred,
				})
			}
		}
		if err := r.units[l.Name].lu.SetPortGroups(groups); err != nil {
			return fmt.Errorf("LUN %q: %w", l.Name, err)
		}
	}
	return nil
}

// leadsTo tells whether any initiator sees the LUN of this name.
func (n nodePlan) leadsTo(lun string) bool {
	for _, r := range n.rules {
		for _, name := range r.luns {
			if name == lun {
				return true
			}
		}
	}
	return false
}

// accessState is a word of the configuration.
func accessState(s configs.PortState) scsi.AccessState {
	switch s {
	case configs.NonOptimized:
		return scsi.ActiveNonOptimized
	case configs.Standby:
		return scsi.Standby
	case configs.Unavailable:
		return scsi.Unavailable
	}
	return scsi.ActiveOptimized
}
