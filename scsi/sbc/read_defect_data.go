package sbc

import "github.com/isantarget/isantarget/scsi"

// defectListFormatReserved is the one DEFECT LIST FORMAT that SBC-3 5.17 does
// not define. An empty list is right in each of the others.
const defectListFormatReserved = 7

// readDefectData10 and readDefectData12 are READ DEFECT DATA (SBC-3 5.17 and
// 5.18). There are no defects: both lists are there if asked for, and empty.
func (d *Device) readDefectData10(c *scsi.Command) error {
	return d.readDefectData(c, 2, 4, int(c.CDB.Uint16(7)))
}

func (d *Device) readDefectData12(c *scsi.Command) error {
	return d.readDefectData(c, 1, 8, int(c.CDB.Uint32(6)))
}

// readDefectData answers with a header of so many bytes. Its second byte repeats
// REQ_PLIST, REQ_GLIST and the format, which stand in the byte asked of the CDB.
func (d *Device) readDefectData(c *scsi.Command, asked, header, allocation int) error {
	if _, err := d.begin(c); err != nil {
		return err
	}
	request := c.CDB.Byte(asked) & 0x1f
	if request&7 == defectListFormatReserved {
		return scsi.InvalidFieldInCDB(asked, 2)
	}
	p := make([]byte, header)
	p[1] = request
	return c.ReturnData(p, allocation)
}
