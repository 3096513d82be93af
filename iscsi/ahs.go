package iscsi

import (
	"encoding/binary"
	"fmt"
)

// An AHSType is the type of an additional header segment (RFC 7143 11.2.2.1).
type AHSType uint8

// The types of RFC 7143 11.2.2.1. 60 to 63 are for extensions outside iSCSI.
const (
	AHSExtendedCDB             AHSType = 1
	AHSBidirectionalReadLength AHSType = 2
)

// MaxExtendedCDBLength is the most bytes that follow the first 16 of a CDB: SPC-4
// 4.2.3 ends a variable-length CDB at 8 + 252 bytes.
const MaxExtendedCDBLength = 260 - 16

const (
	ahsHeaderLength = 3 // AHSLength, AHSType
	maskAHSType     = 0x3f
)

// An AHS is one additional header segment (RFC 7143 11.2.2).
type AHS struct {
	Type AHSType
	Data []byte // what follows the type, without padding: its first byte is reserved in the known types
}

// NextAHS reads the first segment of p, which holds all additional header segments
// of a PDU, and returns what follows it. The Data of the segment lies in p. Nothing
// is allocated unless the segment does not fit p.
func NextAHS(p []byte) (s AHS, rest []byte, err error) {
	if len(p) < ahsHeaderLength {
		return AHS{}, nil, &FieldError{PDU: "AHS", Field: "TotalAHSLength", Value: uint64(len(p)),
			Reason: "a segment is cut off", Clause: "RFC 7143 11.2.2"}
	}
	n := int(binary.BigEndian.Uint16(p))
	if n > len(p)-ahsHeaderLength {
		return AHS{}, nil, &FieldError{PDU: "AHS", Field: "AHSLength", Value: uint64(n),
			Reason: "the segment is longer than TotalAHSLength leaves room for", Clause: "RFC 7143 11.2.2.2"}
	}
	end := ahsHeaderLength + n
	s = AHS{Type: AHSType(p[2] & maskAHSType), Data: p[ahsHeaderLength:end]}
	return s, p[min(end+Pad(end), len(p)):], nil
}

// AppendAHS appends a segment with its padding to dst. It panics when data is too
// long for the TotalAHSLength of any PDU.
func AppendAHS(dst []byte, t AHSType, data []byte) []byte {
	if ahsHeaderLength+len(data) > MaxAHSLength {
		panic(fmt.Sprintf("iscsi: an AHS of %d bytes does not fit into a PDU", len(data)))
	}
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(data)))
	dst = append(dst, byte(t)&maskAHSType)
	dst = append(dst, data...)
	var zeros [3]byte
	return append(dst, zeros[:Pad(ahsHeaderLength+len(data))]...)
}

// ExtendedCDB returns the bytes of a CDB that follow the first 16, or nil when ahs,
// all additional header segments of a SCSI Command, holds none. They lie in ahs
// (RFC 7143 11.2.2.3). Errors: a segment that is cut off, empty, longer than any
// CDB, or there twice.
func ExtendedCDB(ahs []byte) (tail []byte, err error) {
	for len(ahs) > 0 {
		var s AHS
		if s, ahs, err = NextAHS(ahs); err != nil {
			return nil, err
		}
		if s.Type != AHSExtendedCDB {
			continue
		}
		// The first byte of the data is reserved: AHSLength is the CDB length less 15.
		if len(s.Data) < 2 || len(s.Data)-1 > MaxExtendedCDBLength {
			return nil, &FieldError{PDU: "Extended CDB AHS", Field: "AHSLength", Value: uint64(len(s.Data)),
				Reason: "no CDB has that length", Clause: "RFC 7143 11.2.2.3"}
		}
		if tail != nil {
			return nil, &FieldError{PDU: "Extended CDB AHS", Field: "AHSType", Value: uint64(s.Type),
				Reason: "there is a second one", Clause: "RFC 7143 11.2.2.3"}
		}
		tail = s.Data[1:]
	}
	return tail, nil
}

// AppendExtendedCDB appends an Extended CDB segment to dst: tail is the CDB without
// its first 16 bytes.
func AppendExtendedCDB(dst, tail []byte) []byte {
	return AppendAHS(dst, AHSExtendedCDB, append([]byte{0}, tail...))
}

// BidirectionalReadLength returns the Bidirectional Read Expected Data Transfer
// Length in bytes, and whether ahs holds one (RFC 7143 11.2.2.4).
func BidirectionalReadLength(ahs []byte) (n uint32, ok bool, err error) {
	for len(ahs) > 0 {
		var s AHS
		if s, ahs, err = NextAHS(ahs); err != nil {
			return 0, false, err
		}
		if s.Type != AHSBidirectionalReadLength {
			continue
		}
		if len(s.Data) != 5 {
			return 0, false, &FieldError{PDU: "Bidirectional Read AHS", Field: "AHSLength", Value: uint64(len(s.Data)),
				Reason: "must be 5", Clause: "RFC 7143 11.2.2.4"}
		}
		n, ok = binary.BigEndian.Uint32(s.Data[1:]), true
	}
	return n, ok, nil
}
