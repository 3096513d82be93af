package iscsi

import (
	"encoding/hex"
	"fmt"
	"strings"
)

// An ISID is the initiator's part of a session identifier (RFC 7143 11.12.5).
// With the initiator's name it names the initiator port of the nexus.
type ISID [6]byte

// An ISIDType says who made the first part of an ISID unique.
type ISIDType uint8

// The types of RFC 7143 11.12.5.
const (
	ISIDOUI        ISIDType = 0 // IEEE OUI in A and B
	ISIDEnterprise ISIDType = 1 // IANA enterprise number in B and C
	ISIDRandom     ISIDType = 2
	ISIDReserved   ISIDType = 3
)

// Type returns the T field: the two high bits.
func (i ISID) Type() ISIDType { return ISIDType(i[0] >> 6) }

// Qualifier returns the D field: the two low bytes, which an initiator counts up
// to open several sessions with one target.
func (i ISID) Qualifier() uint16 { return uint16(i[4])<<8 | uint16(i[5]) }

// String returns the ISID as SPC-4 7.6.4.6 writes it in an iSCSI initiator port
// name: "0x" and twelve lower-case hexadecimal digits.
func (i ISID) String() string { return "0x" + hex.EncodeToString(i[:]) }

// ParseISID reads what String writes; upper-case digits are taken too.
func ParseISID(s string) (ISID, error) {
	var id ISID
	digits, ok := strings.CutPrefix(strings.ToLower(s), "0x")
	if !ok || len(digits) != 2*len(id) {
		return ISID{}, fmt.Errorf("ISID %q: want 0x and twelve hexadecimal digits", s)
	}
	if _, err := hex.Decode(id[:], []byte(digits)); err != nil {
		return ISID{}, fmt.Errorf("ISID %q: want 0x and twelve hexadecimal digits", s)
	}
	return id, nil
}
