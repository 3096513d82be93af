package spc

import (
	"github.com/isantarget/isantarget/scsi"
)

// The fields of a designation descriptor (SPC-4 7.8.6.1).
const (
	codeSetBinary = 0x01
	codeSetASCII  = 0x02
	codeSetUTF8   = 0x03

	ofUnit   = 0x00 // ASSOCIATION
	ofPort   = 0x10
	ofDevice = 0x20

	typeT10Vendor          = 0x01 // DESIGNATOR TYPE
	typeEUI64              = 0x02
	typeNAA                = 0x03
	typeRelativeTargetPort = 0x04
	typeTargetPortGroup    = 0x05
	typeSCSINameString     = 0x08

	protocolISCSI = 0x5 << 4
	piv           = 0x80 // the PROTOCOL IDENTIFIER is valid
)

// deviceIdentificationData is SPC-4 7.8.6 behind the header: the names of the
// unit, then those of the target port and the target device that the command
// came through. The NAA name stands first, for initiators that read no further.
func deviceIdentificationData(c *scsi.Command) []byte {
	id := c.Unit().Identity
	var b []byte
	if naa := id.NAADesignator(); len(naa) > 0 {
		b = appendDesignator(b, codeSetBinary, ofUnit|typeNAA, naa)
	}
	if eui := id.EUI64Designator(); len(eui) > 0 {
		b = appendDesignator(b, codeSetBinary, ofUnit|typeEUI64, eui)
	}
	b = appendDesignator(b, codeSetASCII, ofUnit|typeT10Vendor, id.T10Designator())
	if name := id.NameString(); name != "" {
		b = appendDesignator(b, codeSetUTF8, ofUnit|typeSCSINameString, nameString(name))
	}
	if c.Nexus == nil || c.Nexus.TargetPort == nil {
		return b
	}
	port := c.Nexus.TargetPort
	relative := []byte{0, 0, byte(port.RelativeID >> 8), byte(port.RelativeID)}
	b = appendDesignator(b, protocolISCSI|codeSetBinary, piv|ofPort|typeRelativeTargetPort, relative)
	if g := c.Unit().PortGroup(port); g != nil {
		group := []byte{0, 0, byte(g.ID >> 8), byte(g.ID)}
		b = appendDesignator(b, protocolISCSI|codeSetBinary, piv|ofPort|typeTargetPortGroup, group)
	}
	b = appendDesignator(b, protocolISCSI|codeSetUTF8, piv|ofPort|typeSCSINameString, nameString(port.String()))
	return appendDesignator(b, protocolISCSI|codeSetUTF8, piv|ofDevice|typeSCSINameString, nameString(port.Device))
}

// appendDesignator adds a designation descriptor to b.
func appendDesignator(b []byte, first, second byte, designator []byte) []byte {
	b = append(b, first, second, 0, byte(len(designator)))
	return append(b, designator...)
}

// nameString is SPC-4 7.8.6.11: ended by a zero and filled with zeros to a
// multiple of four bytes.
func nameString(s string) []byte {
	b := make([]byte, (len(s)+4)/4*4)
	copy(b, s)
	return b
}
