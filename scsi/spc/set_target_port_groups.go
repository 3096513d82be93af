package spc

import (
	"encoding/binary"
	"errors"
	"slices"

	"github.com/isantarget/isantarget/scsi"
)

const (
	setTargetPortGroupsHeader     = 4
	setTargetPortGroupsDescriptor = 4
	// maximumSetTargetPortGroups bounds the parameter list: there are not more groups
	// than numbers for them.
	maximumSetTargetPortGroups = setTargetPortGroupsHeader + setTargetPortGroupsDescriptor<<16
)

// The operation code and service action of SET TARGET PORT GROUPS (SPC-4 6.45).
const (
	maintenanceOut             = 0xa4
	setTargetPortGroupsService = 0x0a
)

// WithoutExplicitAccess are rows without SET TARGET PORT GROUPS: the access states are
// the target's own to change, and INQUIRY says so (TPGS 01b, SPC-4 table 145).
func WithoutExplicitAccess(rows []scsi.Operation) []scsi.Operation {
	return slices.DeleteFunc(rows, func(op scsi.Operation) bool { return isSetTargetPortGroups(&op) })
}

// hasExplicitAccess tells whether initiators may change the access states of lu.
func hasExplicitAccess(lu *scsi.LogicalUnit) bool {
	rows := lu.Operations()
	for i := range rows {
		if isSetTargetPortGroups(&rows[i]) {
			return true
		}
	}
	return false
}

func isSetTargetPortGroups(op *scsi.Operation) bool {
	return op.Opcode == maintenanceOut && op.ServiceAction == setTargetPortGroupsService
}

func setTargetPortGroupsRow() scsi.Operation {
	return scsi.Operation{
		Name: "SET TARGET PORT GROUPS", Opcode: maintenanceOut, ServiceAction: setTargetPortGroupsService, HasServiceAction: true,
		Usage:    []byte{0xa4, 0x0a, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0},
		Timeouts: brief(), Conflict: scsi.ConflictAlways, Access: scsi.InStandby | scsi.InUnavailable, Traits: scsi.WithoutMedium,
		Execute: setTargetPortGroups,
	}
}

// setTargetPortGroups is SPC-4 6.45. The whole list is checked before anything is
// changed.
func setTargetPortGroups(c *scsi.Command) error {
	n := c.CDB.Uint32(6)
	if n > maximumSetTargetPortGroups {
		return scsi.InvalidFieldInCDB(6, scsi.WholeByte)
	}
	list, err := c.ParameterList(int(n))
	if err != nil || len(list) == 0 {
		return err
	}
	if (len(list)-setTargetPortGroupsHeader)%setTargetPortGroupsDescriptor != 0 {
		return scsi.IllegalRequest(scsi.ASCParameterListLengthError)
	}
	states, err := groupStates(c.Unit(), list)
	if err != nil {
		return err
	}
	err = c.Unit().SetAccessStates(c, states)
	if errors.Is(err, scsi.ErrNoPortGroup) { // they have changed meanwhile
		return scsi.IllegalRequest(scsi.ASCInvalidFieldInParameterList)
	}
	return err
}

// groupStates reads the descriptors: of groups that are there, each once, states
// that an initiator may ask for.
func groupStates(lu *scsi.LogicalUnit, list []byte) (states []scsi.GroupState, err error) {
	seen := map[uint16]bool{}
	for _, g := range lu.PortGroups() {
		seen[g.ID] = false
	}
	for at := setTargetPortGroupsHeader; at < len(list); at += setTargetPortGroupsDescriptor {
		s := scsi.GroupState{
			Group: binary.BigEndian.Uint16(list[at+2:]),
			State: scsi.AccessState(list[at] & 0x0f),
		}
		if s.State > scsi.Unavailable {
			return nil, scsi.InvalidFieldInParameterList(at, 3)
		}
		if twice, known := seen[s.Group]; twice || !known {
			return nil, scsi.InvalidFieldInParameterList(at+2, scsi.WholeByte)
		}
		seen[s.Group] = true
		states = append(states, s)
	}
	return states, nil
}
