package scsi

import "fmt"

// A TransportID is the initiator port of an I_T nexus by the names of iSCSI
// (SPC-4 7.6.4.6): "initiator name,i,0xISID".
type TransportID struct {
	Name string  // iSCSI name of the initiator
	ISID [6]byte // initiator session identifier
}

// String is the SCSI name of the initiator port (RFC 7143 10.2): the iSCSI name
// and the ISID.
func (t TransportID) String() string { return fmt.Sprintf("%s,i,0x%012x", t.Name, t.ISID) }
