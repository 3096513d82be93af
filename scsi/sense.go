package scsi

import (
	"encoding/binary"
	"fmt"
	"math"
)

// SenseKey is the SENSE KEY field (SPC-4 4.5.6).
type SenseKey uint8

// The sense keys.
const (
	KeyNoSense         SenseKey = 0x0
	KeyRecoveredError  SenseKey = 0x1
	KeyNotReady        SenseKey = 0x2
	KeyMediumError     SenseKey = 0x3
	KeyHardwareError   SenseKey = 0x4
	KeyIllegalRequest  SenseKey = 0x5
	KeyUnitAttention   SenseKey = 0x6
	KeyDataProtect     SenseKey = 0x7
	KeyBlankCheck      SenseKey = 0x8
	KeyVendorSpecific  SenseKey = 0x9
	KeyCopyAborted     SenseKey = 0xa
	KeyAbortedCommand  SenseKey = 0xb
	KeyVolumeOverflow  SenseKey = 0xd
	KeyMiscompare      SenseKey = 0xe
	KeyCompleted       SenseKey = 0xf
	senseKeySpecificOK          = 0x80 // SKSV
)

// String is the name of the key as SPC-4 writes it.
func (k SenseKey) String() string {
	names := [16]string{
		"NO SENSE", "RECOVERED ERROR", "NOT READY", "MEDIUM ERROR",
		"HARDWARE ERROR", "ILLEGAL REQUEST", "UNIT ATTENTION", "DATA PROTECT",
		"BLANK CHECK", "VENDOR SPECIFIC", "COPY ABORTED", "ABORTED COMMAND",
		"SENSE KEY Ch", "VOLUME OVERFLOW", "MISCOMPARE", "COMPLETED",
	}
	return names[k&0xf]
}

// Sense is sense data (SPC-4 4.5). It is an error: an operation that returns
// one ends with CHECK CONDITION and these data.
//
// A Sense is not changed once it has been returned, so one value may serve many
// commands.
type Sense struct {
	Key  SenseKey
	Code SenseCode
	// Deferred says that the error belongs to an earlier command that has
	// already ended (SPC-4 4.5.5): response code 71h or 73h.
	Deferred bool
	// Information is the INFORMATION field, in SBC the LBA of the error or the
	// offset of a miscompare; nil for none. The fixed format has 32 bits for
	// it: a larger value goes without VALID there.
	Information *uint64
	// CommandSpecific is the COMMAND-SPECIFIC INFORMATION field; nil for none.
	CommandSpecific *uint64
	// At most one of the two sense key specific forms is set.
	Field    *FieldPointer // with ILLEGAL REQUEST, or COPY ABORTED
	Progress *uint16       // with NOT READY or NO SENSE: done, in 1/65536
}

// A FieldPointer says which field of the CDB or of the parameter list is wrong
// (SPC-4 4.5.2.4.2).
type FieldPointer struct {
	InCDB bool   // C/D: the CDB, else the parameter list
	Byte  uint16 // the first byte of the field
	// Bit is the most significant bit of the field in Byte; it counts only with
	// HasBit (BPV).
	Bit    uint8
	HasBit bool
}

// String names the field in words: "byte 1 bit 0 of the CDB".
func (f FieldPointer) String() string {
	where := "the parameter list"
	if f.InCDB {
		where = "the CDB"
	}
	if f.HasBit {
		return fmt.Sprintf("byte %d bit %d of %s", f.Byte, f.Bit, where)
	}
	return fmt.Sprintf("byte %d of %s", f.Byte, where)
}

// Error is the sense key, the additional sense code and where it points.
func (s *Sense) Error() string {
	text := fmt.Sprintf("%v, %v", s.Key, s.Code)
	if s.Deferred {
		text = "deferred " + text
	}
	if s.Field != nil {
		text += " (" + s.Field.String() + ")"
	}
	if s.Information != nil {
		text += fmt.Sprintf(" (information %#x)", *s.Information)
	}
	return text
}

// IllegalRequest is ILLEGAL REQUEST with code.
func IllegalRequest(code SenseCode) *Sense { return &Sense{Key: KeyIllegalRequest, Code: code} }

// NotReady is NOT READY with code.
func NotReady(code SenseCode) *Sense { return &Sense{Key: KeyNotReady, Code: code} }

// DataProtect is DATA PROTECT with code.
func DataProtect(code SenseCode) *Sense { return &Sense{Key: KeyDataProtect, Code: code} }

// HardwareError is HARDWARE ERROR with code.
func HardwareError(code SenseCode) *Sense { return &Sense{Key: KeyHardwareError, Code: code} }

// AbortedCommand is ABORTED COMMAND with code.
func AbortedCommand(code SenseCode) *Sense { return &Sense{Key: KeyAbortedCommand, Code: code} }

// MediumError is MEDIUM ERROR with code; the INFORMATION field is lba, the first
// block in error.
func MediumError(code SenseCode, lba uint64) *Sense {
	return &Sense{Key: KeyMediumError, Code: code, Information: &lba}
}

// Miscompare is MISCOMPARE, MISCOMPARE DURING VERIFY OPERATION; the INFORMATION
// field is offset (SBC-3 5.3 and 5.30: bytes from the start of the data-out buffer).
func Miscompare(offset uint64) *Sense {
	return &Sense{Key: KeyMiscompare, Code: ASCMiscompareDuringVerifyOperation, Information: &offset}
}

// WholeByte is the bit of [InvalidFieldInCDB] and [InvalidFieldInParameterList]
// for a field that starts at the most significant bit of its byte, or is
// longer: the field pointer then names the byte alone.
const WholeByte = -1

// InvalidFieldInCDB is ILLEGAL REQUEST, INVALID FIELD IN CDB with a pointer to
// the field that begins in this byte at this bit (0 to 7, the most significant
// of the field, or WholeByte).
func InvalidFieldInCDB(byteIndex, bit int) *Sense {
	return InvalidCDB(ASCInvalidFieldInCDB, byteIndex, bit)
}

// InvalidCDB is [InvalidFieldInCDB] with another additional sense code.
func InvalidCDB(code SenseCode, byteIndex, bit int) *Sense {
	return &Sense{Key: KeyIllegalRequest, Code: code, Field: pointer(true, byteIndex, bit)}
}

// InvalidFieldInParameterList is the same for the parameter list: ILLEGAL
// REQUEST, INVALID FIELD IN PARAMETER LIST.
func InvalidFieldInParameterList(byteIndex, bit int) *Sense {
	return &Sense{Key: KeyIllegalRequest, Code: ASCInvalidFieldInParameterList, Field: pointer(false, byteIndex, bit)}
}

func pointer(inCDB bool, byteIndex, bit int) *FieldPointer {
	f := &FieldPointer{InCDB: inCDB, Byte: uint16(byteIndex)}
	if bit >= 0 {
		f.Bit, f.HasBit = uint8(bit&7), true
	}
	return f
}

// MaxSenseLength is the most bytes that Append adds.
const MaxSenseLength = 8 + informationLength + commandSpecificLength + senseKeySpecificLength

// The lengths of the sense data descriptors (SPC-4 4.5.2.2 to 4.5.2.4) and of
// fixed format sense data (4.5.3).
const (
	informationLength      = 12
	commandSpecificLength  = 12
	senseKeySpecificLength = 8
	fixedSenseLength       = 18
)

// Append adds the sense data to b, in the descriptor format (SPC-4 4.5.2) or
// the fixed format (4.5.3), and gives b back.
func (s *Sense) Append(b []byte, descriptor bool) []byte {
	if descriptor {
		return s.appendDescriptors(b)
	}
	return s.appendFixed(b)
}

func (s *Sense) appendFixed(b []byte) []byte {
	b = append(b, make([]byte, fixedSenseLength)...)
	f := b[len(b)-fixedSenseLength:]
	f[0] = s.responseCode(0x70)
	f[2] = byte(s.Key)
	if s.Information != nil && *s.Information <= math.MaxUint32 {
		f[0] |= 0x80
		binary.BigEndian.PutUint32(f[3:], uint32(*s.Information))
	}
	f[7] = fixedSenseLength - 8
	if s.CommandSpecific != nil && *s.CommandSpecific <= math.MaxUint32 {
		binary.BigEndian.PutUint32(f[8:], uint32(*s.CommandSpecific))
	}
	binary.BigEndian.PutUint16(f[12:], uint16(s.Code))
	s.putKeySpecific(f[15:18])
	return b
}

func (s *Sense) appendDescriptors(b []byte) []byte {
	start := len(b)
	b = append(b, s.responseCode(0x72), byte(s.Key), byte(s.Code>>8), byte(s.Code), 0, 0, 0, 0)
	if s.Information != nil {
		b = append(b, 0x00, informationLength-2, 0x80, 0)
		b = binary.BigEndian.AppendUint64(b, *s.Information)
	}
	if s.CommandSpecific != nil {
		b = append(b, 0x01, commandSpecificLength-2, 0, 0)
		b = binary.BigEndian.AppendUint64(b, *s.CommandSpecific)
	}
	if s.Field != nil || s.Progress != nil {
		b = append(b, 0x02, senseKeySpecificLength-2, 0, 0, 0, 0, 0, 0)
		s.putKeySpecific(b[len(b)-4 : len(b)-1])
	}
	b[start+7] = byte(len(b) - start - 8)
	return b
}

func (s *Sense) responseCode(current byte) byte {
	if s.Deferred {
		return current + 1
	}
	return current
}

// putKeySpecific writes the three bytes of the SENSE KEY SPECIFIC field.
func (s *Sense) putKeySpecific(f []byte) {
	switch {
	case s.Field != nil:
		f[0] = senseKeySpecificOK
		if s.Field.InCDB {
			f[0] |= 0x40
		}
		if s.Field.HasBit {
			f[0] |= 0x08 | s.Field.Bit
		}
		binary.BigEndian.PutUint16(f[1:], s.Field.Byte)
	case s.Progress != nil:
		f[0] = senseKeySpecificOK
		binary.BigEndian.PutUint16(f[1:], *s.Progress)
	}
}
