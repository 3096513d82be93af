package scsi

import "slices"

// maxRegistrations bounds the registrations of one unit; one more is INSUFFICIENT
// REGISTRATION RESOURCES.
const maxRegistrations = 4096

// A registrant is an I_T nexus by its names, by which it is known again after a
// restart: the initiator port, and the target port as the device and its portal group.
type registrant struct {
	initiator TransportID
	device    string
	group     uint16
}

// registrant is what n is called when it registers.
func (n *Nexus) registrant() registrant {
	if n.TargetPort == nil {
		return registrant{initiator: n.Initiator}
	}
	return registrant{n.Initiator, n.TargetPort.Device, n.TargetPort.Group}
}

// via is the nexus of the initiator port t and the target port p.
func via(t TransportID, p *TargetPort) registrant {
	return (&Nexus{Initiator: t, TargetPort: p}).registrant()
}

// A registration is the reservation key of an I_T nexus (SPC-4 5.13.7).
type registration struct {
	registrant
	relativeID uint16 // of the target port
	key        uint64 // not zero
	holder     bool   // of the reservation, if its type is none of the all registrants types
}

// persistent is what a unit knows of persistent reservations: what is recorded.
type persistent struct {
	generation    uint32 // PRGENERATION, zero after power on
	throughLoss   bool   // APTPL: it outlives a loss of power
	registrations []registration
	kind          ReservationType // zero: there is no reservation
}

// find is the registration of r, or -1.
func (p *persistent) find(r registrant) int {
	return slices.IndexFunc(p.registrations, func(x registration) bool { return x.registrant == r })
}

// holds tells whether registration i holds the reservation.
func (p *persistent) holds(i int) bool {
	return p.kind != 0 && (p.kind.AllRegistrants() || p.registrations[i].holder)
}

// clone is a copy whose registrations may be changed.
func (p *persistent) clone() persistent {
	c := *p
	c.registrations = slices.Clone(p.registrations)
	return c
}

// A Registration is one I_T nexus that is registered for persistent reservations.
type Registration struct {
	Initiator            TransportID
	TargetPort           TargetPort
	Key                  uint64
	Holder               bool // of the reservation; with an all registrants type all are
	Attached             bool // it has a session
	InitiatorHasReturned bool // not attached, but the same initiator is, under another ISID: probably stale
}

// Reservations is a report on the reservations of a unit.
type Reservations struct {
	Generation    uint32          // PRGENERATION
	Type          ReservationType // 0: there is no persistent reservation
	ThroughLoss   bool            // APTPL: it outlives the process and a loss of power
	Registrations []Registration  // in the order of registration
	ReservedBy    *Nexus          // the holder of RESERVE (SPC-2); nil: none
	// Lost is why what was recorded cannot be trusted; nil: it can. The unit is not
	// ready until ClearReservations.
	Lost error
}

// Holder is the registration that holds the reservation; nil if there is none, or
// if all registrants hold it.
func (r *Reservations) Holder() *Registration {
	if r.Type == 0 || r.Type.AllRegistrants() {
		return nil
	}
	for i := range r.Registrations {
		if r.Registrations[i].Holder {
			return &r.Registrations[i]
		}
	}
	return nil
}

// Reservations reports on the reservations of the unit.
func (lu *LogicalUnit) Reservations() Reservations {
	lu.mu.Lock()
	defer lu.mu.Unlock()
	r := lu.reservations.Load()
	report := Reservations{Generation: r.generation, Type: r.kind, ThroughLoss: r.throughLoss, ReservedBy: r.reservedBy, Lost: r.lost}
	attached, initiators := map[registrant]bool{}, map[string]bool{}
	for n, a := range *lu.nexuses.Load() {
		if a.attached {
			attached[n.registrant()], initiators[n.Initiator.Name] = true, true
		}
	}
	for i, x := range r.registrations {
		report.Registrations = append(report.Registrations, Registration{
			Initiator:  x.initiator,
			TargetPort: TargetPort{Device: x.device, Group: x.group, RelativeID: x.relativeID},
			Key:        x.key, Holder: r.holds(i),
			Attached:             attached[x.registrant],
			InitiatorHasReturned: !attached[x.registrant] && initiators[x.initiator.Name],
		})
	}
	return report
}

// portsOf lists the target ports of the SCSI target device that lead to the unit:
// those of its port groups, and those that somebody has come through. lu.mu is held.
func (lu *LogicalUnit) portsOf(device string) (ports []*TargetPort) {
	add := func(p *TargetPort) {
		if p != nil && p.Device == device && !slices.ContainsFunc(ports, func(o *TargetPort) bool { return *o == *p }) {
			ports = append(ports, p)
		}
	}
	for _, g := range lu.PortGroups() {
		for _, p := range g.Ports {
			add(p)
		}
	}
	for n := range *lu.nexuses.Load() {
		add(n.TargetPort)
	}
	slices.SortFunc(ports, func(a, b *TargetPort) int { return int(a.RelativeID) - int(b.RelativeID) })
	return ports
}

// meet lets n, which the unit has just come to know, have its registration. lu.mu is held.
func (lu *LogicalUnit) meet(n *Nexus) {
	r := lu.reservations.Load()
	if len(r.registrations) == 0 {
		return
	}
	if _, met := r.nexuses[n]; met {
		return
	}
	if _, registered := r.index[n.registrant()]; registered {
		lu.publishReservations(*r)
	}
}
