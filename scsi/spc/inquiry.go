package spc

import (
	"encoding/binary"

	"github.com/isantarget/isantarget/scsi"
)

// The version descriptors that hold for every unit (SPC-4 table 179); the device
// server adds those of its command set. None claims a version of the standard.
const (
	versionSAM5  = 0x00a0
	versionISCSI = 0x0960
	versionSPC4  = 0x0460
)

// standardLength is the length of standard INQUIRY data.
const standardLength = 96

// inquiry is INQUIRY (SPC-4 6.6).
func inquiry(c *scsi.Command) error {
	allocation := int(c.CDB.Uint16(3))
	if c.CDB.Bit(1, 0) {
		page := vitalProductData(c, c.CDB.Byte(2))
		if page == nil {
			return scsi.InvalidFieldInCDB(2, scsi.WholeByte)
		}
		return c.ReturnData(page, allocation)
	}
	if c.CDB.Byte(2) != 0 {
		// A page code without EVPD.
		return scsi.InvalidFieldInCDB(2, scsi.WholeByte)
	}
	return c.ReturnData(standardInquiryData(c), allocation)
}

// peripheral is the first byte of all INQUIRY data: the peripheral qualifier and
// the peripheral device type. Through a port in the unavailable state the unit is
// one that could be there, but is not (SPC-4 5.15.2.4.5).
func peripheral(c *scsi.Command) byte {
	const notConnected = 1
	lu := c.Unit()
	qualifier := lu.Device.InquiryData().Qualifier
	if qualifier == 0 && lu.AccessState(c.Nexus) == scsi.Unavailable {
		qualifier = notConnected
	}
	return qualifier<<5 | lu.Device.PeripheralDeviceType()
}

// standardInquiryData is SPC-4 6.6.2.
func standardInquiryData(c *scsi.Command) []byte {
	lu := c.Unit()
	device := lu.Device.InquiryData()
	b := make([]byte, standardLength)
	b[0] = peripheral(c)
	if device.Removable {
		b[1] = 0x80
	}
	b[2] = 0x06        // VERSION: SPC-4
	b[3] = 0x10 | 0x02 // HISUP; RESPONSE DATA FORMAT
	b[4] = standardLength - 5
	switch {
	case len(lu.PortGroups()) == 0:
	case hasExplicitAccess(lu):
		b[5] = 0x30 // TPGS: implicit and explicit asymmetric logical unit access
	default:
		b[5] = 0x10 // TPGS: implicit alone
	}
	if device.ThirdPartyCopy {
		b[5] |= 0x08 // 3PC
	}
	b[6] = 0x10 // MULTIP: a unit may be reached through several target ports
	b[7] = 0x02 // CMDQUE
	putASCII(b[8:16], lu.Identity.VendorField())
	putASCII(b[16:32], lu.Identity.ProductField())
	putASCII(b[32:36], lu.Identity.Revision)
	at := 58
	for _, v := range append([]uint16{versionSAM5, versionISCSI, versionSPC4}, device.VersionDescriptors...) {
		if at+2 <= 74 {
			binary.BigEndian.PutUint16(b[at:], v)
			at += 2
		}
	}
	return b
}

// putASCII puts s into a left-aligned ASCII field (SPC-4 4.3.1): cut or filled
// with blanks.
func putASCII(field []byte, s string) {
	for i := copy(field, s); i < len(field); i++ {
		field[i] = ' '
	}
}
