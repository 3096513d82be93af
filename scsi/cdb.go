package scsi

import "encoding/binary"

// A CDB is a command descriptor block (SPC-4 4.2.5). Its accessors are total:
// a byte that the CDB does not have reads as zero, so that no CDB off the wire
// can make an operation panic. An operation whose row has been found by the
// logical unit sees a CDB of exactly the length of its row.
type CDB []byte

// variableLength is the operation code of the variable length CDB (SPC-4 4.2.3).
const variableLength = 0x7f

// Byte is byte i.
func (c CDB) Byte(i int) byte {
	if uint(i) < uint(len(c)) {
		return c[i]
	}
	return 0
}

// Bit tells whether bit (0 to 7) of byte i is set.
func (c CDB) Bit(i int, bit uint) bool { return c.Byte(i)>>bit&1 != 0 }

// Uint16 is the big-endian field of two bytes at byte i.
func (c CDB) Uint16(i int) uint16 {
	if i >= 0 && i+2 <= len(c) {
		return binary.BigEndian.Uint16(c[i:])
	}
	return uint16(c.Byte(i))<<8 | uint16(c.Byte(i+1))
}

// Uint24 is the big-endian field of three bytes at byte i.
func (c CDB) Uint24(i int) uint32 { return uint32(c.Byte(i))<<16 | uint32(c.Uint16(i+1)) }

// Uint32 is the big-endian field of four bytes at byte i.
func (c CDB) Uint32(i int) uint32 {
	if i >= 0 && i+4 <= len(c) {
		return binary.BigEndian.Uint32(c[i:])
	}
	return uint32(c.Uint16(i))<<16 | uint32(c.Uint16(i+2))
}

// Uint64 is the big-endian field of eight bytes at byte i.
func (c CDB) Uint64(i int) uint64 {
	if i >= 0 && i+8 <= len(c) {
		return binary.BigEndian.Uint64(c[i:])
	}
	return uint64(c.Uint32(i))<<32 | uint64(c.Uint32(i+4))
}

// Opcode is the OPERATION CODE field, byte 0.
func (c CDB) Opcode() byte { return c.Byte(0) }

// ServiceAction is the SERVICE ACTION field: bytes 8 and 9 of a variable length
// CDB, five bits of byte 1 in any other. It means something only where the
// operation code has service actions.
func (c CDB) ServiceAction() uint16 {
	if c.Opcode() == variableLength {
		return c.Uint16(8)
	}
	return uint16(c.Byte(1) & 0x1f)
}

// controlOffset is where the CONTROL byte stands in a CDB of n bytes with this
// operation code (SPC-4 4.2.2, 4.2.3): last, but for the variable length CDB.
func controlOffset(opcode byte, n int) int {
	if opcode == variableLength {
		return 1
	}
	return n - 1
}

// Control is the CONTROL byte (SAM-5 5.2).
func (c CDB) Control() byte { return c.Byte(controlOffset(c.Opcode(), len(c))) }

// NACA is the bit of the CONTROL byte that asks for an ACA condition (SAM-5
// 5.2). This target has none (NORMACA is zero in INQUIRY data).
func (c CDB) NACA() bool { return c.Control()>>nacaBit&1 != 0 }

const nacaBit = 2
