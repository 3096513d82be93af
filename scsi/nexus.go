package scsi

import "fmt"

// A Nexus is an I_T nexus (SAM-5 4.7.1): an initiator port and a target port.
// It outlives sessions: an initiator that comes back finds the same one, and
// with it its reservations and the unit attentions that wait for it. Two
// nexuses are the same if and only if their pointers are.
type Nexus struct {
	Initiator TransportID
	// TargetPort is what INQUIRY and reservations must know of the port that
	// the initiator reaches. Nexuses of one port share it.
	TargetPort *TargetPort
}

// A TargetPort is a SCSI target port by the names of iSCSI: a target portal
// group of a node (RFC 7143 10.2). Nothing in it changes.
type TargetPort struct {
	Device     string // name of the SCSI target device: the iSCSI name of the node
	Group      uint16 // target portal group tag
	RelativeID uint16 // relative target port identifier (SPC-4 7.8.6.7), 1 to 65535
}

// String is the SCSI name of the target port: the iSCSI name, "t" and the
// target portal group tag in hexadecimal.
func (p *TargetPort) String() string { return fmt.Sprintf("%s,t,0x%04x", p.Device, p.Group) }
