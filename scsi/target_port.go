package scsi

import "slices"

// AddTargetPort makes p known to the unit as one that leads to it (REGISTER with
// ALL_TG_PT, and REGISTER AND MOVE, speak of ports that nobody has used yet).
func (lu *LogicalUnit) AddTargetPort(p *TargetPort) {
	if lu.absent {
		return
	}
	lu.mu.Lock()
	defer lu.mu.Unlock()
	lu.addTargetPort(p)
}

// addTargetPort is AddTargetPort with lu.mu held.
func (lu *LogicalUnit) addTargetPort(p *TargetPort) {
	if p == nil || slices.ContainsFunc(lu.ports, func(o *TargetPort) bool { return *o == *p }) {
		return
	}
	lu.ports = append(lu.ports, p)
}

// portsOf lists the known ports of the SCSI target device. lu.mu is held.
func (lu *LogicalUnit) portsOf(device string) (ports []*TargetPort) {
	for _, p := range lu.ports {
		if p.Device == device {
			ports = append(ports, p)
		}
	}
	return ports
}
