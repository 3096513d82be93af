package iscsi

import (
	"encoding/binary"
	"hash/crc32"
)

// DigestLength is the length of a header or data digest in bytes (RFC 7143 11.2.3).
const DigestLength = 4

// A Digest is a CRC32C under way (RFC 7143 13.1): the header digest covers BHS and
// AHS, the data digest the data segment with its padding. The zero Digest has seen
// no byte yet.
//
// RFC 7143 defines the CRC as a polynomial whose bits go to the wire in the order in
// which the bytes came, which puts the least significant byte of the usual 32-bit
// value first. So the digest, alone in an iSCSI PDU, is little endian.
type Digest uint32

// Update returns the digest of what d has seen, followed by p.
func (d Digest) Update(p []byte) Digest {
	return Digest(crc32.Update(uint32(d), crc32.MakeTable(crc32.Castagnoli), p))
}

// UpdatePadding returns the digest of what d has seen, followed by the zero bytes
// that pad a segment of n bytes.
func (d Digest) UpdatePadding(n int) Digest {
	// By hand, for a slice of a local array would escape into crc32.Update's function pointers.
	table := crc32.MakeTable(crc32.Castagnoli)
	crc := ^uint32(d)
	for range Pad(n) {
		crc = table[byte(crc)] ^ crc>>8
	}
	return Digest(^crc)
}

// Put writes d to the first DigestLength bytes of p as the wire has it.
func (d Digest) Put(p []byte) { binary.LittleEndian.PutUint32(p, uint32(d)) }

// Append appends d to p as the wire has it.
func (d Digest) Append(p []byte) []byte { return binary.LittleEndian.AppendUint32(p, uint32(d)) }

// DigestFrom reads a digest from the first DigestLength bytes of p as the wire has it.
func DigestFrom(p []byte) Digest { return Digest(binary.LittleEndian.Uint32(p)) }

// CRC32C returns the digest of p as a number; Digest.Put places it on the wire.
func CRC32C(p []byte) uint32 { return uint32(Digest(0).Update(p)) }
