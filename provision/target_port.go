package provision

import (
	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/iscsi"
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

// portGroups are the target port groups of a LUN. A port is a group of its own, with
// the number of the port: so each path can have its own state. Where lu has the group
// already and the configuration says of it what it said before, the state stays that
// which initiators and operators have given it.
func (p *plan) portGroups(lun string, ids [][]uint16, before *plan, lu *scsi.LogicalUnit) []scsi.PortGroup {
	var groups []scsi.PortGroup
	for i, node := range p.nodes {
		if !node.leadsTo(lun) {
			continue
		}
		for j, g := range p.GroupsOf(p.Targets[i]) {
			port := &scsi.TargetPort{Device: string(node.name), Group: uint16(g.Tag), RelativeID: ids[i][j]}
			state, preferred := p.Targets[i].AccessStateOf(g.Tag, lun)
			one := scsi.PortGroup{ID: port.RelativeID, Ports: []*scsi.TargetPort{port}, State: accessState(state), Preferred: preferred}
			if had := lu.PortGroup(port); had != nil && before != nil && before.says(node.name, g.Tag, lun, state, preferred) {
				one.State, one.Preferred, one.Altered = had.State, had.Preferred, had.Altered
			}
			groups = append(groups, one)
		}
	}
	return groups
}

// says tells whether p has this access state for the path.
func (p *plan) says(name iscsi.Name, tag int, lun string, state configs.PortState, preferred bool) bool {
	for i, n := range p.nodes {
		if n.name == name {
			s, pref := p.Targets[i].AccessStateOf(tag, lun)
			return s == state && pref == preferred
		}
	}
	return false
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
