package iscsi

import "encoding/binary"

const (
	// BHSLength is the length of a basic header segment in bytes (RFC 7143 11.2.1).
	BHSLength = 48
	// MaxAHSLength is the most that TotalAHSLength can say, in bytes (RFC 7143 11.2.1.5).
	MaxAHSLength = 255 * 4
	// MaxDataSegmentLength is the most that DataSegmentLength can say, in bytes (RFC 7143 11.2.1.6).
	MaxDataSegmentLength = 1<<24 - 1
	// ReservedTag stands for "no tag" in the initiator task tag and the target
	// transfer tag (RFC 7143 11.2.1.8, 11.7.4).
	ReservedTag uint32 = 0xffffffff
)

// Bits and bytes of the header that several PDUs share.
const (
	bitImmediate = 0x40 // byte 0
	maskOpcode   = 0x3f // byte 0
	bitFinal     = 0x80 // byte 1
	bitContinue  = 0x40 // byte 1 of Login and Text PDUs
)

// A BHS is a basic header segment: the 48 bytes every PDU begins with (RFC 7143
// 11.2.1). Its methods read and write the fields whose place does not depend on
// the opcode.
type BHS [BHSLength]byte

// Opcode returns what the PDU is.
func (h *BHS) Opcode() Opcode { return Opcode(h[0] & maskOpcode) }

// SetOpcode writes the opcode and leaves the I bit as it is.
func (h *BHS) SetOpcode(o Opcode) { h[0] = h[0]&^maskOpcode | byte(o)&maskOpcode }

// Immediate reports the I bit: the request is delivered at once and does not
// advance CmdSN (RFC 7143 11.2.1.1).
func (h *BHS) Immediate() bool { return h[0]&bitImmediate != 0 }

// SetImmediate writes the I bit.
func (h *BHS) SetImmediate(on bool) { h.setBit(0, bitImmediate, on) }

// Final reports the F bit: the last PDU of a sequence (RFC 7143 11.2.1.3).
func (h *BHS) Final() bool { return h[1]&bitFinal != 0 }

// SetFinal writes the F bit.
func (h *BHS) SetFinal(on bool) { h.setBit(1, bitFinal, on) }

// TotalAHSLength returns the length of all additional header segments in bytes,
// padding included: a multiple of four, at most MaxAHSLength (RFC 7143 11.2.1.5).
func (h *BHS) TotalAHSLength() int { return int(h[4]) * 4 }

// SetTotalAHSLength writes the length of all additional header segments, given in
// bytes with their padding. It panics unless n is a multiple of four from 0 to
// MaxAHSLength, for then the caller has laid out a PDU that cannot exist.
func (h *BHS) SetTotalAHSLength(n int) {
	if n < 0 || n > MaxAHSLength || n%4 != 0 {
		panic("iscsi: TotalAHSLength is not a multiple of four from 0 to 1020")
	}
	h[4] = byte(n / 4)
}

// DataSegmentLength returns the length of the data segment in bytes, without its
// padding (RFC 7143 11.2.1.6).
func (h *BHS) DataSegmentLength() int { return int(h[5])<<16 | int(h[6])<<8 | int(h[7]) }

// SetDataSegmentLength writes the length of the data segment in bytes, without its
// padding. It panics when n does not fit the 24 bits of the field.
func (h *BHS) SetDataSegmentLength(n int) {
	if n < 0 || n > MaxDataSegmentLength {
		panic("iscsi: DataSegmentLength does not fit in 24 bits")
	}
	h[5], h[6], h[7] = byte(n>>16), byte(n>>8), byte(n)
}

// LUN returns bytes 8 to 15 as one big-endian number: a logical unit number in the
// format of SAM-5 4.7, where the opcode has one.
func (h *BHS) LUN() uint64 { return binary.BigEndian.Uint64(h[8:]) }

// SetLUN writes bytes 8 to 15.
func (h *BHS) SetLUN(lun uint64) { binary.BigEndian.PutUint64(h[8:], lun) }

// InitiatorTaskTag returns bytes 16 to 19 (RFC 7143 11.2.1.8).
func (h *BHS) InitiatorTaskTag() uint32 { return h.uint32(16) }

// SetInitiatorTaskTag writes bytes 16 to 19.
func (h *BHS) SetInitiatorTaskTag(tag uint32) { h.putUint32(16, tag) }

// TargetTransferTag returns bytes 20 to 23, which hold the target transfer tag in
// SCSI Data, R2T, Text, NOP and SNACK PDUs.
func (h *BHS) TargetTransferTag() uint32 { return h.uint32(20) }

// Pad returns how many bytes follow n bytes of a segment to make it a multiple of
// four (RFC 7143 11.1).
func Pad(n int) int { return -n & 3 }

func (h *BHS) setBit(byteIndex int, bit byte, on bool) {
	h[byteIndex] &^= bit
	if on {
		h[byteIndex] |= bit
	}
}

func (h *BHS) bit(byteIndex int, bit byte) bool { return h[byteIndex]&bit != 0 }
func (h *BHS) uint16(offset int) uint16         { return binary.BigEndian.Uint16(h[offset:]) }
func (h *BHS) uint32(offset int) uint32         { return binary.BigEndian.Uint32(h[offset:]) }
func (h *BHS) putUint16(offset int, v uint16)   { binary.BigEndian.PutUint16(h[offset:], v) }
func (h *BHS) putUint32(offset int, v uint32)   { binary.BigEndian.PutUint32(h[offset:], v) }

// start empties the header and writes the opcode: the first line of each Marshal.
func (h *BHS) start(o Opcode) {
	*h = BHS{}
	h[0] = byte(o)
}

// expect fails unless the header has opcode o: the first line of each Unmarshal.
func (h *BHS) expect(o Opcode) error {
	if h.Opcode() == o {
		return nil
	}
	return fieldError(o, "Opcode", uint64(h.Opcode()), "another PDU", "11.2.1.2")
}
