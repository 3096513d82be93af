package spc

import (
	"encoding/binary"
	"time"

	"github.com/isantarget/isantarget/scsi"
)

// The PARAMETER DATA FORMAT of REPORT TARGET PORT GROUPS (SPC-4 table 303).
const (
	formatLengthOnly = 0
	formatExtended   = 1
)

func reportTargetPortGroupsRow() scsi.Operation {
	return scsi.Operation{
		Name: "REPORT TARGET PORT GROUPS", Opcode: 0xa3, ServiceAction: 0x0a, HasServiceAction: true,
		Usage:    []byte{0xa3, 0xea, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0},
		Timeouts: brief(), Conflict: scsi.Allowed, Access: scsi.InEveryState, Traits: scsi.Inline | scsi.WithoutMedium,
		Execute: reportTargetPortGroups,
	}
}

// reportTargetPortGroups is SPC-4 6.37: every port that leads to the unit, and the
// state of its group.
func reportTargetPortGroups(c *scsi.Command) error {
	lu := c.Unit()
	b := make([]byte, 4, 64)
	switch c.CDB.Byte(1) >> 5 {
	case formatLengthOnly:
	case formatExtended:
		b = append(b, formatExtended<<4, implicitTransitionTime(lu), 0, 0)
	default:
		return scsi.InvalidFieldInCDB(1, 7)
	}
	const (
		pref      = 0x80
		supported = 0x80 | 0x08 | 0x04 | 0x02 | 0x01 // T_SUP, U_SUP, S_SUP, AN_SUP, AO_SUP
	)
	for _, g := range lu.PortGroups() {
		state := byte(g.State)
		if g.Preferred {
			state |= pref
		}
		b = append(b, state, supported, byte(g.ID>>8), byte(g.ID), 0, byte(g.Altered), 0, byte(len(g.Ports)))
		for _, p := range g.Ports {
			b = append(b, 0, 0, byte(p.RelativeID>>8), byte(p.RelativeID))
		}
	}
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return c.ReturnData(b, int(c.CDB.Uint32(6)))
}

// implicitTransitionTime is how many seconds a group may be transitioning before an
// initiator gives up on it: what the unit itself waits for, and a little.
func implicitTransitionTime(lu *scsi.LogicalUnit) byte {
	return byte(min((lu.HangBound+time.Second-1)/time.Second+2, 0xff))
}
