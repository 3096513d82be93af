package isns

import (
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// A Registration is what initiators are to find.
type Registration struct {
	Entity string // the Entity Identifier: ours alone, and always the same; up to 255 bytes
	Nodes  []Node
}

// A Node is a target.
type Node struct {
	Name, Alias string
	Portals     []Portal
}

// A Portal is where a node listens.
type Portal struct {
	Address netip.AddrPort // unspecified (0.0.0.0, ::): each address of its version that this host has
	Tag     uint16         // target portal group tag
}

// A groupKey names a Portal Group: a node at a portal.
type groupKey struct {
	node   string
	portal netip.AddrPort
}

// A database is a registration as the objects of a server.
type database struct {
	entity  string
	portals map[netip.AddrPort]struct{}
	nodes   map[string]string   // name -> alias
	groups  map[groupKey]uint16 // 0: NULL
}

// objects are those of r. A server on this host may know loopback addresses, others could do
// nothing with them. host are the addresses of this host.
func (r Registration) objects(local bool, host []netip.Addr) *database {
	d := &database{entity: r.Entity, portals: map[netip.AddrPort]struct{}{}, nodes: map[string]string{}, groups: map[groupKey]uint16{}}
	for _, n := range r.Nodes {
		for _, p := range n.Portals {
			for _, at := range p.expand(local, host) {
				d.portals[at] = struct{}{}
				d.groups[groupKey{n.Name, at}] = p.Tag
			}
		}
	}
	if len(d.portals) == 0 {
		return d // nobody could do anything with the names alone
	}
	for _, n := range r.Nodes {
		d.nodes[n.Name] = n.Alias
		for at := range d.portals {
			// Without it the server would take the node to be there, under tag 1 (RFC 4171 3.4).
			if key := (groupKey{n.Name, at}); d.groups[key] == 0 {
				d.groups[key] = 0
			}
		}
	}
	return d
}

// expand are the addresses of p.
func (p Portal) expand(local bool, host []netip.Addr) (all []netip.AddrPort) {
	if a := p.Address.Addr().Unmap(); !a.IsUnspecified() {
		if a.IsLoopback() && !local {
			return nil
		}
		return []netip.AddrPort{netip.AddrPortFrom(a.WithZone(""), p.Address.Port())}
	}
	for _, a := range host {
		if a.Is4() == p.Address.Addr().Is4() && !a.IsLoopback() {
			all = append(all, netip.AddrPortFrom(a, p.Address.Port()))
		}
	}
	if len(all) > 0 || !local {
		return all
	}
	for _, a := range host {
		if a.Is4() == p.Address.Addr().Is4() && a.IsLoopback() {
			all = append(all, netip.AddrPortFrom(a, p.Address.Port()))
		}
	}
	return all
}

// hostAddresses are the addresses under which this host can be reached, in order; those of a
// single link are not among them.
func hostAddresses() ([]netip.Addr, error) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	var addrs []netip.Addr
	for _, a := range all {
		n, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		if addr, ok := netip.AddrFromSlice(n.IP); ok && !addr.Unmap().IsLinkLocalUnicast() && !addr.IsMulticast() {
			addrs = append(addrs, addr.Unmap())
		}
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	return slices.Compact(addrs), nil
}

func (d *database) sortedPortals() []netip.AddrPort {
	return slices.SortedFunc(maps.Keys(d.portals), netip.AddrPort.Compare)
}

func (d *database) sortedNodes() []string { return slices.Sorted(maps.Keys(d.nodes)) }

// sortedGroups are the portal groups in order.
func (d *database) sortedGroups() []groupKey {
	return slices.SortedFunc(maps.Keys(d.groups), func(a, b groupKey) int {
		if c := strings.Compare(a.node, b.node); c != 0 {
			return c
		}
		return a.portal.Compare(b.portal)
	})
}

// empty tells whether there is nothing that could be registered.
func (d *database) empty() bool { return d == nil || len(d.nodes) == 0 }

// without is what d has and has not been registered as old: that is to be registered. nil: all
// of it.
func (d *database) without(old *database) *database {
	more := &database{entity: d.entity, portals: maps.Clone(d.portals), nodes: maps.Clone(d.nodes), groups: maps.Clone(d.groups)}
	if old == nil {
		return more
	}
	maps.DeleteFunc(more.portals, func(p netip.AddrPort, _ struct{}) bool { _, had := old.portals[p]; return had })
	maps.DeleteFunc(more.nodes, func(n, alias string) bool { was, had := old.nodes[n]; return had && was == alias })
	maps.DeleteFunc(more.groups, func(g groupKey, tag uint16) bool { was, had := old.groups[g]; return had && was == tag })
	return more
}

// with is d and what has been registered beside.
func (d *database) with(more *database) *database {
	if d == nil {
		return more
	}
	all := d.without(nil)
	maps.Copy(all.portals, more.portals)
	maps.Copy(all.nodes, more.nodes)
	maps.Copy(all.groups, more.groups)
	return all
}

// absent are the keys of the nodes and portals of d that want has not.
func (d *database) absent(want *database) (keys []Attribute) {
	if d == nil {
		return nil
	}
	for _, n := range d.sortedNodes() {
		if _, stays := want.nodes[n]; !stays {
			keys = append(keys, Text(NodeName, n))
		}
	}
	for _, p := range d.sortedPortals() {
		if _, stays := want.portals[p]; !stays {
			keys = append(keys, Address(PortalAddress, p.Addr()), Number(PortalPort, uint32(p.Port())))
		}
	}
	return keys
}

// lose takes from d the objects that are missing.
func (d *database) lose(missing missed) *database {
	if missing[d.entity] {
		return nil
	}
	maps.DeleteFunc(d.nodes, func(n, _ string) bool { return missing[n] })
	maps.DeleteFunc(d.portals, func(p netip.AddrPort, _ struct{}) bool { return missing[p.String()] })
	maps.DeleteFunc(d.groups, func(g groupKey, _ uint16) bool { return missing[g.node] || missing[g.portal.String()] })
	return d
}

// none tells whether d names no object at all.
func (d *database) none() bool { return len(d.portals)+len(d.nodes)+len(d.groups) == 0 }
