package scsi

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"unicode/utf8"
)

// A TransportID is the initiator port of an I_T nexus by the names of iSCSI
// (SPC-4 7.6.4.6): "initiator name,i,0xISID".
type TransportID struct {
	Name string  // iSCSI name of the initiator
	ISID [6]byte // initiator session identifier
}

// String is the SCSI name of the initiator port (RFC 7143 10.2): the iSCSI name
// and the ISID.
func (t TransportID) String() string { return fmt.Sprintf("%s,i,0x%012x", t.Name, t.ISID) }

// The fields of an iSCSI TransportID (SPC-4 7.6.4.6).
const (
	transportIDHeader  = 4
	minTransportIDName = 20 // ADDITIONAL LENGTH
	maxTransportIDName = 244
	formatDeviceName   = 0 // TPID FORMAT: the iSCSI name alone
	formatPortName     = 1 // with the ISID
	protocolISCSI      = 5
	isidSeparator      = ",i,0x"
	maxISCSIName       = 223 // RFC 7143 4.2.7.1
)

// Append adds the TransportID to b in the format with the ISID.
func (t TransportID) Append(b []byte) []byte {
	name := t.String()
	n := max((len(name)+4)/4*4, minTransportIDName) // ended by a zero at least
	b = append(b, formatPortName<<6|protocolISCSI, 0, byte(n>>8), byte(n))
	b = append(b, name...)
	return append(b, make([]byte, n-len(name))...)
}

// An InitiatorPort is a TransportID as a parameter list names one: a port, or with
// the format that has no ISID every port of an initiator that the unit knows.
type InitiatorPort struct {
	TransportID
	AnyISID bool
}

// ParseTransportID reads the TransportID at the start of b, and how many bytes it
// has. at is the offset of b in its parameter list, for the field pointer of the
// error, which is a *Sense.
func ParseTransportID(b []byte, at int) (port InitiatorPort, length int, err error) {
	if len(b) < transportIDHeader {
		return port, 0, IllegalRequest(ASCParameterListLengthError)
	}
	if b[0]&0xf != protocolISCSI {
		return port, 0, InvalidFieldInParameterList(at, 3)
	}
	n := int(binary.BigEndian.Uint16(b[2:]))
	switch {
	case n < minTransportIDName || n > maxTransportIDName || n%4 != 0:
		return port, 0, InvalidFieldInParameterList(at+2, WholeByte)
	case len(b) < transportIDHeader+n:
		return port, 0, IllegalRequest(ASCParameterListLengthError)
	}
	name, _, ended := strings.Cut(string(b[transportIDHeader:transportIDHeader+n]), "\x00")
	wrong := InvalidFieldInParameterList(at+transportIDHeader, WholeByte)
	if !ended {
		return port, 0, wrong
	}
	switch b[0] >> 6 {
	case formatDeviceName:
		port.AnyISID = true
	case formatPortName:
		var isid string
		if name, isid, ended = strings.Cut(name, isidSeparator); !ended || !parseISID(&port.ISID, isid) {
			return port, 0, wrong
		}
	default:
		return port, 0, InvalidFieldInParameterList(at, WholeByte)
	}
	port.Name = strings.ToLower(name) // RFC 7143 4.2.7.2: names are compared so
	if !isInitiatorName(name) || !isInitiatorName(port.Name) {
		return InitiatorPort{}, 0, wrong
	}
	return port, transportIDHeader + n, nil
}

// isInitiatorName tells whether name could be an iSCSI name, as far as what is recorded
// and shown of it depends on that.
func isInitiatorName(name string) bool {
	odd := func(r rune) bool { return r <= ' ' || r == 0x7f || r == ',' }
	return name != "" && len(name) <= maxISCSIName && utf8.ValidString(name) && !strings.ContainsFunc(name, odd)
}

// parseISID reads the hexadecimal digits of an ISID, whose leading zeros may be missing.
func parseISID(isid *[6]byte, digits string) bool {
	const full = 2 * len(isid)
	if digits == "" || len(digits) > full {
		return false
	}
	_, err := hex.Decode(isid[:], []byte(strings.Repeat("0", full-len(digits))+digits))
	return err == nil
}
