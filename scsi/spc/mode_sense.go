package spc

import (
	"encoding/binary"

	"github.com/isantarget/isantarget/scsi"
)

// Page and subpage codes that mean more than one page (SPC-4 table 198).
const (
	allPages    = 0x3f
	allSubpages = 0xff
)

// writeProtected is WP in the DEVICE-SPECIFIC PARAMETER byte of a direct access
// block device (SBC-3 6.4.1).
const writeProtected = 0x80

// directAccess is the peripheral device type of a direct access block device.
const directAccess = 0x00

// modeSense6 is MODE SENSE (6) (SPC-4 6.13).
func modeSense6(c *scsi.Command) error {
	pages, err := modePages(c)
	if err != nil {
		return err
	}
	descriptor := blockDescriptor(c, false)
	b := []byte{0, 0, deviceSpecific(c.Unit()), byte(len(descriptor))}
	b = append(append(b, descriptor...), pages...)
	if len(b)-1 > 0xff {
		// The length has no room in this form; MODE SENSE (10) has.
		return scsi.InvalidFieldInCDB(2, 5)
	}
	b[0] = byte(len(b) - 1)
	return c.ReturnData(b, int(c.CDB.Byte(4)))
}

// modeSense10 is MODE SENSE (10) (SPC-4 6.14).
func modeSense10(c *scsi.Command) error {
	pages, err := modePages(c)
	if err != nil {
		return err
	}
	long := c.CDB.Bit(1, 4) // LLBAA
	descriptor := blockDescriptor(c, long)
	b := []byte{3: deviceSpecific(c.Unit()), 7: byte(len(descriptor))}
	if long && len(descriptor) > 0 {
		b[4] = 0x01 // LONGLBA
	}
	b = append(append(b, descriptor...), pages...)
	binary.BigEndian.PutUint16(b, uint16(len(b)-2))
	return c.ReturnData(b, int(c.CDB.Uint16(7)))
}

// modePages are the pages that a MODE SENSE of either length asks for.
func modePages(c *scsi.Command) ([]byte, error) {
	lu := c.Unit()
	pc := scsi.PageControl(c.CDB.Byte(2) >> 6)
	code, subcode := c.CDB.Byte(2)&0x3f, c.CDB.Byte(3)
	if pc == scsi.SavedValues && !lu.ModePagesSavable() {
		return nil, scsi.IllegalRequest(scsi.ASCSavingParametersNotSupported)
	}
	if code == 0 && subcode == 0 && pc == scsi.CurrentValues {
		return nil, nil // the header and the block descriptor alone
	}
	if code == allPages && subcode != 0 && subcode != allSubpages {
		return nil, scsi.InvalidFieldInCDB(3, scsi.WholeByte)
	}
	pages := lu.AppendModePages(nil, code, subcode, pc)
	if len(pages) > 0 {
		return pages, nil
	}
	if len(lu.AppendModePages(nil, code, allSubpages, pc)) > 0 {
		return nil, scsi.InvalidFieldInCDB(3, scsi.WholeByte)
	}
	return nil, scsi.InvalidFieldInCDB(2, 5)
}

// blockDescriptor is the block descriptor, or nothing with DBD.
func blockDescriptor(c *scsi.Command, long bool) []byte {
	if c.CDB.Bit(1, 3) {
		return nil
	}
	return c.Unit().Device.BlockDescriptor(long)
}

// deviceSpecific is the DEVICE-SPECIFIC PARAMETER byte, with software write protect in WP.
func deviceSpecific(lu *scsi.LogicalUnit) byte {
	b := lu.Device.ModeParameterHeader()
	if lu.Device.PeripheralDeviceType() == directAccess && lu.WriteProtected() {
		b |= writeProtected
	}
	return b
}
