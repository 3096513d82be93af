package spc

import (
	"encoding/binary"

	"github.com/isantarget/isantarget/scsi"
)

const (
	informationHeader = 32
	countsBlocks      = 0xf1 // TRANSFER COUNT UNITS: logical blocks
	countsBytes       = 0x00
	updateDelay       = 100 // ESTIMATED STATUS UPDATE DELAY, in milliseconds
)

// receiveTokenInformation is RECEIVE ROD TOKEN INFORMATION (SPC-4 6.30): how a
// copy operation stands, and the token that POPULATE TOKEN has made. Sense data
// have the field of their length even when there are none.
func (m *CopyManager) receiveTokenInformation(c *scsi.Command) error {
	o := m.find(c.Nexus, c.CDB.Uint32(2))
	if o == nil {
		return scsi.InvalidFieldInCDB(2, scsi.WholeByte)
	}
	return c.ReturnData(o.information(), int(c.CDB.Uint32(10)))
}

// information is the parameter data of RECEIVE ROD TOKEN INFORMATION.
func (o *CopyOperation) information() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	b := make([]byte, informationHeader)
	b[4] = o.action // RESPONSE TO SERVICE ACTION
	b[5] = byte(o.status)
	binary.BigEndian.PutUint16(b[6:], o.counter)
	binary.BigEndian.PutUint32(b[8:], 0xffffffff) // no estimate
	if o.status == CopyInForeground || o.status == CopyInBackground {
		binary.BigEndian.PutUint32(b[8:], updateDelay)
	}
	b[12] = byte(o.result)
	if o.sense != nil {
		b = o.sense.Append(b, false)
		b = append(b, make([]byte, -len(b)&3)...)
		b[13] = byte(len(b) - informationHeader) // LENGTH OF THE SENSE DATA FIELD
		b[14] = 18                               // SENSE DATA LENGTH
	}
	b[15] = countsBlocks
	if o.action == extendedCopyLID1 {
		b[15] = countsBytes
	}
	binary.BigEndian.PutUint64(b[16:], uint64(o.count))
	binary.BigEndian.PutUint16(b[24:], o.segments)
	if o.token == nil {
		b = binary.BigEndian.AppendUint32(b, 0)
	} else {
		b = binary.BigEndian.AppendUint32(b, uint32(2+len(o.token)))
		b = append(b, 0, 0) // ID FOR CREATING ROD CSCD DESCRIPTOR: not of an EXTENDED COPY
		b = append(b, o.token...)
	}
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return b
}
