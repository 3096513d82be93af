package spc

import (
	"encoding/binary"

	"github.com/isantarget/isantarget/scsi"
)

// persistentReserveInRows are the service actions of PERSISTENT RESERVE IN (SPC-4 6.15).
func persistentReserveInRows() []scsi.Operation {
	row := func(name string, action byte, data func(*scsi.LogicalUnit, scsi.Reservations) []byte) scsi.Operation {
		return scsi.Operation{
			Name: "PERSISTENT RESERVE IN, " + name, Opcode: 0x5e, ServiceAction: uint16(action), HasServiceAction: true,
			Usage:    []byte{0x5e, action, 0, 0, 0, 0, 0, 0xff, 0xff, 0},
			Timeouts: brief(), Conflict: scsi.ConflictOnAnyReserve, Access: scsi.InStandby,
			Traits: scsi.Inline | scsi.WithoutMedium,
			Execute: func(c *scsi.Command) error {
				return c.ReturnData(data(c.Unit(), c.Unit().Reservations()), int(c.CDB.Uint16(7)))
			},
		}
	}
	return []scsi.Operation{
		row("READ KEYS", 0x00, readKeys),
		row("READ RESERVATION", 0x01, readReservation),
		row("REPORT CAPABILITIES", 0x02, reportCapabilities),
		row("READ FULL STATUS", 0x03, readFullStatus),
	}
}

// appendReservationHeader begins what each service action but REPORT CAPABILITIES
// returns: PRGENERATION and ADDITIONAL LENGTH.
func appendReservationHeader(generation uint32, additional int) []byte {
	b := make([]byte, 0, 8+additional)
	b = binary.BigEndian.AppendUint32(b, generation)
	return binary.BigEndian.AppendUint32(b, uint32(additional))
}

// readKeys is SPC-4 6.15.2: every registered key.
func readKeys(_ *scsi.LogicalUnit, r scsi.Reservations) []byte {
	b := appendReservationHeader(r.Generation, 8*len(r.Registrations))
	for _, x := range r.Registrations {
		b = binary.BigEndian.AppendUint64(b, x.Key)
	}
	return b
}

// readReservation is SPC-4 6.15.3: the reservation. That of all registrants has no
// key of its own.
func readReservation(_ *scsi.LogicalUnit, r scsi.Reservations) []byte {
	if r.Type == 0 {
		return appendReservationHeader(r.Generation, 0)
	}
	b := appendReservationHeader(r.Generation, 16)
	key := uint64(0)
	if holder := r.Holder(); holder != nil {
		key = holder.Key
	}
	b = binary.BigEndian.AppendUint64(b, key)
	return append(b, 0, 0, 0, 0, 0, byte(r.Type), 0, 0) // SCOPE: LU_SCOPE
}

// The bits of REPORT CAPABILITIES (SPC-4 6.15.4).
const (
	capableCRH   = 0x10 // RESERVE and RELEASE by 5.13.3
	capableSIP   = 0x08 // SPEC_I_PT
	capableATP   = 0x04 // ALL_TG_PT
	capablePTPL  = 0x01 // APTPL
	typeMask     = 0x80 // TMV
	allowReading = 0x30 // ALLOW COMMANDS 011b: write exclusive lets through what only asks (see the rows)
	activePTPL   = 0x01
)

// reportCapabilities is SPC-4 6.15.4.
func reportCapabilities(lu *scsi.LogicalUnit, r scsi.Reservations) []byte {
	b := []byte{0, 8, capableCRH | capableSIP | capableATP, typeMask | allowReading, 0, 0, 0, 0}
	if lu.ReservationsRecordable() {
		b[2] |= capablePTPL
	}
	if r.ThroughLoss {
		b[3] |= activePTPL
	}
	// The mask has a bit for each type, in the order of its numbers and from byte 4 on.
	for t := range scsi.ReservationType(16) {
		if t.Valid() {
			b[4+t/8] |= 1 << (t % 8)
		}
	}
	return b
}

// readFullStatus is SPC-4 6.15.5: every registration with its TransportID. There is a
// descriptor for each target port (ALL_TG_PT is zero).
func readFullStatus(_ *scsi.LogicalUnit, r scsi.Reservations) []byte {
	b := appendReservationHeader(r.Generation, 0)
	for _, x := range r.Registrations {
		b = binary.BigEndian.AppendUint64(b, x.Key)
		b = append(b, 0, 0, 0, 0)
		if x.Holder {
			b = append(b, 0x01, byte(r.Type)) // R_HOLDER; SCOPE and TYPE
		} else {
			b = append(b, 0, 0)
		}
		b = append(b, 0, 0, 0, 0)
		b = binary.BigEndian.AppendUint16(b, x.TargetPort.RelativeID)
		id := x.Initiator.Append(nil)
		b = binary.BigEndian.AppendUint32(b, uint32(len(id)))
		b = append(b, id...)
	}
	binary.BigEndian.PutUint32(b[4:], uint32(len(b)-8))
	return b
}
