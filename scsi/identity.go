package scsi

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// What INQUIRY says of every logical unit of this target. The product
// identification is one for all: initiators copy between logical units
// (EXTENDED COPY) only where it is the same.
const (
	VendorIdentification  = "ISANTRGT"
	ProductIdentification = "VIRTUAL-DISK"
)

// companyID stands where NAA and EUI-64 have the company id that the IEEE
// assigns. This one is not assigned by the IEEE and does not pretend to be: in
// its first octet the U/L bit is set and the I/G bit clear, which makes it a
// locally administered identifier (IEEE 802c: the quadrant of administratively
// assigned ones). It must never change: every name of every logical unit holds it.
const companyID = 0x024953

// maxSerialLength leaves room for the serial in every designator and in the
// fields of initiators that keep it.
const maxSerialLength = 64

const (
	vendorLength  = 8   // T10 VENDOR IDENTIFICATION, and the vendor of a T10 designator
	productLength = 16  // PRODUCT IDENTIFICATION
	maxT10Length  = 128 // as much as other targets tell
)

// Identity is what a logical unit is called. Its names on the wire are made of
// Serial alone; so a logical unit is the same one for every initiator as long
// as its serial is, wherever its blocks lie and whatever it is mapped to.
//
// A disk that another target served before can keep the names that it had there:
// each of Vendor, Product, T10, NAA and EUI64 takes the place of ours.
type Identity struct {
	// Name is what the operator calls the unit. It is told to people only.
	Name string
	// Serial is the unit serial number (SPC-4 7.8.18): 1 to 64 printable ASCII
	// characters, a blank neither first nor last, made once with NewSerial and kept.
	Serial string
	// Revision is the PRODUCT REVISION LEVEL (SPC-4 6.6.2): up to four
	// characters of the program's version.
	Revision string

	// Vendor and Product are T10 VENDOR IDENTIFICATION and PRODUCT IDENTIFICATION
	// (SPC-4 6.6.2), up to 8 and 16 characters; empty: ours.
	Vendor, Product string
	// T10 is the whole T10 vendor ID designator (SPC-4 7.8.6.4): eight characters of
	// the vendor, filled with blanks, and what is unique for it; up to 128. Empty: it
	// is made of Vendor, Product and Serial.
	T10 string
	// NAA is the NAA designator (SPC-4 7.8.6.6), of 8 or 16 bytes, and EUI64 the
	// EUI-64 based one (7.8.6.5), of 8, 12 or 16. Nil: it is made of Serial. Empty and
	// not nil: the unit has none.
	NAA, EUI64 []byte
}

// NewSerial makes a serial of 16 hexadecimal digits from 64 random bits.
func NewSerial() string {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// validate says what is wrong with the identity.
func (id Identity) validate() error {
	if id.Serial == "" || len(id.Serial) > maxSerialLength {
		return fmt.Errorf("scsi: serial %q has %d characters: give it 1 to %d", id.Serial, len(id.Serial), maxSerialLength)
	}
	if strings.Trim(id.Serial, " ") != id.Serial {
		return fmt.Errorf("scsi: serial %q begins or ends with a blank", id.Serial)
	}
	for _, field := range []struct {
		name, value string
		length      int
	}{
		{"serial", id.Serial, maxSerialLength}, {"vendor", id.Vendor, vendorLength}, {"product", id.Product, productLength}, {"T10 designator", id.T10, maxT10Length},
	} {
		if len(field.value) > field.length {
			return fmt.Errorf("scsi: %s %q has more than %d characters", field.name, field.value, field.length)
		}
		for i := range len(field.value) {
			if b := field.value[i]; b < 0x20 || b >= 0x7f {
				return fmt.Errorf("scsi: %s %q: character %d is not printable ASCII", field.name, field.value, i+1)
			}
		}
	}
	if n := len(id.NAA); n != 0 && n != 8 && n != 16 {
		return fmt.Errorf("scsi: a NAA designator of %d bytes: it has 8 or 16", n)
	}
	if n := len(id.EUI64); n != 0 && n != 8 && n != 12 && n != 16 {
		return fmt.Errorf("scsi: an EUI-64 designator of %d bytes: it has 8, 12 or 16", n)
	}
	return nil
}

// VendorField is the T10 VENDOR IDENTIFICATION, without the blanks behind it.
func (id Identity) VendorField() string { return cmp.Or(id.Vendor, VendorIdentification) }

// ProductField is the PRODUCT IDENTIFICATION, without the blanks behind it.
func (id Identity) ProductField() string { return cmp.Or(id.Product, ProductIdentification) }

// T10Designator is the T10 vendor ID designator (SPC-4 7.8.6.4).
func (id Identity) T10Designator() []byte {
	if id.T10 != "" {
		return []byte(id.T10)
	}
	return fmt.Appendf(nil, "%-*s%-*s%s", vendorLength, id.VendorField(), productLength, id.ProductField(), id.Serial)
}

// NAADesignator is the NAA designator; empty: the unit has none.
func (id Identity) NAADesignator() []byte {
	if id.NAA != nil {
		return id.NAA
	}
	n := id.SerialNAA()
	return n[:]
}

// EUI64Designator is the EUI-64 based designator; empty: the unit has none.
func (id Identity) EUI64Designator() []byte {
	if id.EUI64 != nil {
		return id.EUI64
	}
	e := id.SerialEUI64()
	return e[:]
}

// NameString is the SCSI name string of the unit (SPC-4 7.8.6.11): "naa." or "eui."
// and the hexadecimal digits of that name. Empty: it has neither.
func (id Identity) NameString() string {
	if naa := id.NAADesignator(); len(naa) > 0 {
		return "naa." + hex.EncodeToString(naa)
	}
	if eui := id.EUI64Designator(); len(eui) > 0 {
		return "eui." + hex.EncodeToString(eui)
	}
	return ""
}

// digest is what the binary names are cut from.
func (id Identity) digest() [sha256.Size]byte { return sha256.Sum256([]byte(id.Serial)) }

// SerialNAA is the name that the serial makes in the NAA IEEE Registered Extended
// format (SPC-4 7.8.6.6.5): 6h, the company id, and 100 bits of its SHA-256. It is
// the unit's own for all that we keep of it, whatever initiators are told.
func (id Identity) SerialNAA() [16]byte {
	sum := id.digest()
	var n [16]byte
	copy(n[3:], sum[:13])
	n[0] = 0x60 | byte(companyID>>20)
	n[1] = byte(companyID >> 12 & 0xff)
	n[2] = byte(companyID >> 4 & 0xff)
	n[3] = byte(companyID&0xf)<<4 | n[3]&0xf
	return n
}

// SerialEUI64 is the name that the serial makes in the EUI-64 based 16-byte format
// (SPC-4 7.8.6.5.4), the one for virtual logical units: 64 bits of the SHA-256 of the
// serial, the company id, and 40 bits more.
func (id Identity) SerialEUI64() [16]byte {
	sum := id.digest()
	var e [16]byte
	copy(e[:8], sum[16:24])
	e[8], e[9], e[10] = byte(companyID>>16), byte(companyID>>8&0xff), byte(companyID&0xff)
	copy(e[11:], sum[24:29])
	return e
}

// String is "naa." and the 32 hexadecimal digits of SerialNAA: the name under which
// what is kept of the unit is found.
func (id Identity) String() string {
	n := id.SerialNAA()
	return "naa." + hex.EncodeToString(n[:])
}
