package scsi

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
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

// Identity is what a logical unit is called. All its names on the wire are made
// of Serial alone; so a logical unit is the same one for every initiator as long
// as its serial is, wherever its blocks lie and whatever it is mapped to.
type Identity struct {
	// Name is what the operator calls the unit. It is told to people only.
	Name string
	// Serial is the unit serial number (SPC-4 7.8.18): 1 to 64 printable ASCII
	// characters without blanks, made once with NewSerial and kept.
	Serial string
	// Revision is the PRODUCT REVISION LEVEL (SPC-4 6.6.2): up to four
	// characters of the program's version.
	Revision string
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
	for i := range len(id.Serial) {
		if b := id.Serial[i]; b <= 0x20 || b >= 0x7f {
			return fmt.Errorf("scsi: serial %q: character %d is not printable ASCII", id.Serial, i+1)
		}
	}
	return nil
}

// digest is what the binary names are cut from.
func (id Identity) digest() [sha256.Size]byte { return sha256.Sum256([]byte(id.Serial)) }

// NAA is the name of the unit in the NAA IEEE Registered Extended format (SPC-4
// 7.8.6.6.5): 6h, the company id, and 100 bits of the SHA-256 of the serial.
func (id Identity) NAA() [16]byte {
	sum := id.digest()
	var n [16]byte
	copy(n[3:], sum[:13])
	n[0] = 0x60 | byte(companyID>>20)
	n[1] = byte(companyID >> 12 & 0xff)
	n[2] = byte(companyID >> 4 & 0xff)
	n[3] = byte(companyID&0xf)<<4 | n[3]&0xf
	return n
}

// EUI64 is the name of the unit in the EUI-64 based 16-byte format (SPC-4
// 7.8.6.5.4), the one for virtual logical units: 64 bits of the SHA-256 of the
// serial, the company id, and 40 bits more.
func (id Identity) EUI64() [16]byte {
	sum := id.digest()
	var e [16]byte
	copy(e[:8], sum[16:24])
	e[8], e[9], e[10] = byte(companyID>>16), byte(companyID>>8&0xff), byte(companyID&0xff)
	copy(e[11:], sum[24:29])
	return e
}

// String is the SCSI name string of the unit (SPC-4 7.8.6.11): "naa." and the
// 32 hexadecimal digits of NAA.
func (id Identity) String() string {
	n := id.NAA()
	return "naa." + hex.EncodeToString(n[:])
}
