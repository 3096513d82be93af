package isns

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
)

// A Tag says what an attribute is (RFC 4171 6.1).
type Tag uint32

// The tags of what a target registers, or is told.
const (
	Delimiter          Tag = 0
	EntityIdentifier   Tag = 1
	EntityProtocol     Tag = 2
	Timestamp          Tag = 4
	RegistrationPeriod Tag = 6 // seconds
	PortalAddress      Tag = 16
	PortalPort         Tag = 17
	ESIInterval        Tag = 19 // seconds
	ESIPort            Tag = 20
	SCNPort            Tag = 23
	NodeName           Tag = 32 // iSCSI Name
	NodeType           Tag = 33
	NodeAlias          Tag = 34
	SCNBitmap          Tag = 35
	GroupNode          Tag = 48 // PG iSCSI Name
	GroupAddress       Tag = 49
	GroupPort          Tag = 50
	GroupTag           Tag = 51 // portal group tag; empty: NULL, the portal does not lead to the node
)

// Values of attributes.
const (
	ProtocolISCSI uint32 = 2 // of EntityProtocol (RFC 4171 6.2.2)
	TypeTarget    uint32 = 1 // of NodeType (RFC 4171 6.4.2)

	portUDP = 1 << 16 // of the ports: it is not TCP (RFC 4171 6.3.2)
)

// An Attribute is one value of a message in TLV format (RFC 4171 5.3.1). Its value is a
// multiple of four bytes long, and belongs to the message that it was read from.
type Attribute struct {
	Tag   Tag
	Value []byte
}

// Text is a text, with the NUL that ends it and what fills it up.
func Text(tag Tag, text string) Attribute {
	v := make([]byte, (len(text)+1+3)&^3)
	copy(v, text)
	return Attribute{tag, v}
}

// Number is a number of four bytes.
func Number(tag Tag, n uint32) Attribute {
	return Attribute{tag, binary.BigEndian.AppendUint32(nil, n)}
}

// Address is an IP address; one of IPv4 is written as IPv6 (RFC 4171 6.3.1).
func Address(tag Tag, a netip.Addr) Attribute {
	v := a.As16()
	return Attribute{tag, v[:]}
}

// Empty is the attribute without a value: NULL, or in a query what is asked for.
func Empty(tag Tag) Attribute { return Attribute{Tag: tag} }

// Text is the text of a; ok is false if it does not end.
func (a Attribute) Text() (text string, ok bool) {
	i := bytes.IndexByte(a.Value, 0)
	if i < 0 {
		return "", false
	}
	return string(a.Value[:i]), true
}

// Number is the number of a; ok is false if it is none.
func (a Attribute) Number() (n uint32, ok bool) {
	if len(a.Value) != 4 {
		return 0, false
	}
	return binary.BigEndian.Uint32(a.Value), true
}

// Address is the IP address of a; ok is false if it is none.
func (a Attribute) Address() (addr netip.Addr, ok bool) {
	if len(a.Value) != 16 {
		return netip.Addr{}, false
	}
	return netip.AddrFrom16([16]byte(a.Value)).Unmap(), true
}

// AppendAttributes appends attributes in TLV format.
func AppendAttributes(to []byte, attributes ...Attribute) []byte {
	for _, a := range attributes {
		to = binary.BigEndian.AppendUint32(to, uint32(a.Tag))
		to = binary.BigEndian.AppendUint32(to, uint32(len(a.Value)))
		to = append(to, a.Value...)
	}
	return to
}

// ParseAttributes reads attributes until the text ends. Their values are parts of it.
func ParseAttributes(text []byte) ([]Attribute, error) {
	var all []Attribute
	for len(text) > 0 {
		if len(text) < 8 {
			return nil, fmt.Errorf("isns: %d bytes stand behind the last attribute (RFC 4171 5.3.1)", len(text))
		}
		tag, n := Tag(binary.BigEndian.Uint32(text)), binary.BigEndian.Uint32(text[4:])
		text = text[8:]
		if n%4 != 0 || uint64(n) > uint64(len(text)) {
			return nil, fmt.Errorf("isns: attribute %d claims %d bytes, and %d are left (RFC 4171 5.3.1)", tag, n, len(text))
		}
		all = append(all, Attribute{tag, text[:n:n]})
		text = text[n:]
	}
	return all, nil
}
