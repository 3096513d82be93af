package spc

import (
	"encoding/binary"

	"github.com/isantarget/isantarget/scsi"
)

// The parameter list of PERSISTENT RESERVE OUT (SPC-4 6.16.3 and 6.16.4).
const (
	basicListLength = 24
	// maxListLength has room for hundreds of TransportIDs; a longer list is refused.
	maxListLength = 64 << 10

	flagSPECIPT = 3 // the bits of byte 20
	flagALLTGPT = 2
	flagAPTPL   = 0
)

// A reserveOut is a service action with its parameter list.
type reserveOut struct {
	command *scsi.Command
	list    []byte
}

func (o *reserveOut) key() uint64     { return binary.BigEndian.Uint64(o.list) }     // RESERVATION KEY
func (o *reserveOut) newKey() uint64  { return binary.BigEndian.Uint64(o.list[8:]) } // SERVICE ACTION RESERVATION KEY
func (o *reserveOut) bit(n uint) bool { return o.list[20]>>n&1 != 0 }
func (o *reserveOut) kind() scsi.ReservationType {
	return scsi.ReservationType(o.command.CDB.Byte(2) & 0x0f)
}

// wholeUnit tells that SCOPE is LU_SCOPE; there is no other.
func (o *reserveOut) wholeUnit() bool { return o.command.CDB.Byte(2)>>4 == 0 }

// persistentReserveOutRows are the service actions of PERSISTENT RESERVE OUT (SPC-4
// 6.16). They wait for nobody: a reservation can be taken from a host that has stopped
// in the middle of a write.
func persistentReserveOutRows() []scsi.Operation {
	row := func(name string, action byte, conflict scsi.Conflict, execute func(*reserveOut) error) scsi.Operation {
		return scsi.Operation{
			Name: "PERSISTENT RESERVE OUT, " + name, Opcode: 0x5f, ServiceAction: uint16(action), HasServiceAction: true,
			Usage:    []byte{0x5f, action, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, 0},
			Timeouts: brief(), Conflict: conflict, Access: scsi.InStandby, Traits: scsi.WithoutMedium,
			Execute: func(c *scsi.Command) error {
				list, err := reserveOutList(c)
				if err != nil {
					return err
				}
				return execute(&reserveOut{c, list})
			},
		}
	}
	const free, registered = scsi.ConflictOnAnyReserve, scsi.ConflictUnlessRegistered
	return []scsi.Operation{
		row("REGISTER", 0x00, free, func(o *reserveOut) error { return o.register(false) }),
		row("RESERVE", 0x01, registered, (*reserveOut).reserve),
		row("RELEASE", 0x02, registered, (*reserveOut).release),
		row("CLEAR", 0x03, registered, (*reserveOut).clear),
		row("PREEMPT", 0x04, registered, func(o *reserveOut) error { return o.preempt(false) }),
		row("PREEMPT AND ABORT", 0x05, registered, func(o *reserveOut) error { return o.preempt(true) }),
		row("REGISTER AND IGNORE EXISTING KEY", 0x06, free, func(o *reserveOut) error { return o.register(true) }),
		row("REGISTER AND MOVE", 0x07, registered, (*reserveOut).move),
	}
}

// reserveOutList is the parameter list. Only with SPEC_I_PT, and for REGISTER AND
// MOVE, has it more than 24 bytes.
func reserveOutList(c *scsi.Command) ([]byte, error) {
	wrong := scsi.IllegalRequest(scsi.ASCParameterListLengthError)
	n := int(c.CDB.Uint32(5))
	if n < basicListLength || n > maxListLength {
		return nil, wrong
	}
	list, err := c.ParameterList(n)
	if err != nil {
		return nil, err
	}
	action := c.CDB.ServiceAction()
	moves := action == 0x07
	registers := action == 0x00 || action == 0x06
	if n != basicListLength && !moves && !(registers && list[20]>>flagSPECIPT&1 != 0) {
		return nil, wrong
	}
	return list, nil
}

// register is REGISTER, or REGISTER AND IGNORE EXISTING KEY.
func (o *reserveOut) register(ignore bool) error {
	q := scsi.RegisterRequest{
		Key: o.key(), NewKey: o.newKey(), IgnoreKey: ignore,
		AllTargetPorts: o.bit(flagALLTGPT), ThroughLoss: o.bit(flagAPTPL), Specified: o.bit(flagSPECIPT),
	}
	if q.Specified && !ignore {
		var err error
		if q.Initiators, err = o.initiators(); err != nil {
			return err
		}
	}
	return o.command.Unit().Register(o.command, q)
}

// initiators are the TransportIDs behind the basic list (SPC-4 6.16.3).
func (o *reserveOut) initiators() (ports []scsi.InitiatorPort, err error) {
	const first = basicListLength + 4
	if len(o.list) < first || uint64(binary.BigEndian.Uint32(o.list[basicListLength:])) != uint64(len(o.list)-first) {
		return nil, scsi.IllegalRequest(scsi.ASCParameterListLengthError)
	}
	for at := first; at < len(o.list); {
		port, n, err := scsi.ParseTransportID(o.list[at:], at)
		if err != nil {
			return nil, err
		}
		ports = append(ports, port)
		at += n
	}
	return ports, nil
}

// checkKind refuses a SCOPE or TYPE that there is not.
func (o *reserveOut) checkKind() error {
	switch {
	case !o.wholeUnit():
		return scsi.InvalidFieldInCDB(2, scsi.WholeByte)
	case !o.kind().Valid():
		return scsi.InvalidFieldInCDB(2, 3)
	}
	return nil
}

func (o *reserveOut) reserve() error {
	if err := o.checkKind(); err != nil {
		return err
	}
	return o.command.Unit().PersistentReserve(o.command, o.key(), o.kind())
}

func (o *reserveOut) release() error {
	return o.command.Unit().PersistentRelease(o.command, o.key(), o.kind(), o.wholeUnit())
}

func (o *reserveOut) clear() error { return o.command.Unit().PersistentClear(o.command, o.key()) }

// preempt is PREEMPT, or PREEMPT AND ABORT.
func (o *reserveOut) preempt(abort bool) error {
	return o.command.Unit().Preempt(o.command, scsi.PreemptRequest{
		Key: o.key(), Victim: o.newKey(), Type: o.kind(), WholeUnit: o.wholeUnit(), Abort: abort,
	})
}

// move is REGISTER AND MOVE, whose parameter list is another one (SPC-4 6.16.4).
func (o *reserveOut) move() error {
	const unregister, aptpl, length = 0x02, 0x01, 20
	if uint64(binary.BigEndian.Uint32(o.list[length:])) != uint64(len(o.list)-scsi.MoveTransportID) {
		return scsi.IllegalRequest(scsi.ASCParameterListLengthError)
	}
	port, n, err := scsi.ParseTransportID(o.list[scsi.MoveTransportID:], scsi.MoveTransportID)
	if err != nil {
		return err
	}
	if scsi.MoveTransportID+n != len(o.list) {
		return scsi.InvalidFieldInParameterList(length, scsi.WholeByte)
	}
	return o.command.Unit().RegisterAndMove(o.command, scsi.MoveRequest{
		Key: o.key(), NewKey: o.newKey(), Initiator: port,
		Unregister: o.list[17]&unregister != 0, ThroughLoss: o.list[17]&aptpl != 0,
		RelativeID: binary.BigEndian.Uint16(o.list[18:]),
	})
}
