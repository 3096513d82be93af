package scsi

import (
	"errors"

	"github.com/isantarget/isantarget/meter"
)

// A Tag identifies a command within its I_T nexus (SAM-5 4.8.2). iSCSI uses
// the Initiator Task Tag.
type Tag uint32

// TaskAttribute is SAM-5 8.9: how a command is ordered in its task set.
type TaskAttribute uint8

// The task attributes.
const (
	Simple TaskAttribute = iota
	Ordered
	HeadOfQueue
	ACA
)

// ErrWouldBlock is what an operation, or a Delivery, answers when it was
// called with MayBlock false and cannot go on at once. Nothing has changed,
// and the command is run again where it may block.
var ErrWouldBlock = errors.New("scsi: would block")

// ErrGathered is what an operation answers that has left its last step to
// Command.Gathering.
var ErrGathered = errors.New("scsi: gathered")

// ErrAborted ends the waits of a command that task management has aborted.
// No medium is changed after an operation has seen it.
var ErrAborted = errors.New("scsi: command aborted")

// A Command is one Execute Command procedure call of SAM-5 5.1: who asks,
// what, and how it ended. The target port owns it and may use it again; the
// logical unit borrows it from Execute until SendCommandComplete.
//
// Before Execute the port sets the first seven fields; the others must be as
// Reset leaves them, or as they are in a new Command. A Command must not be
// copied.
type Command struct {
	Nexus     *Nexus // must be attached to the unit
	LUN       LUN
	Tag       Tag
	Attribute TaskAttribute
	CDB       CDB      // the port's memory, unchanged until SendCommandComplete; may be longer than the command (iSCSI pads it to 16 bytes)
	Units     *UnitMap // what the nexus sees, for REPORT LUNS
	Delivery  Delivery

	// What the operation leaves behind.

	DataIn []byte // data for the initiator, in a buffer that Delivery lent
	Length int    // bytes the CDB asks to move; against the expected length it is the residual
	Status Status
	Sense  []byte // sense data in the format of the unit's D_SENSE bit; nil without CHECK CONDITION

	// Silent says that no response is to be sent: task management aborted the
	// command and its initiator knows, or is not to know (SAM-5 5.3.3).
	Silent bool

	// MayBlock is false while the command is on the goroutine that called Execute,
	// which is the one that reads the connection: the operation, and Delivery, then
	// answer ErrWouldBlock instead of waiting. It tells SendCommandComplete the same.
	MayBlock bool
	// Linger, set by the port, is called with MayBlock false by an operation that
	// is about to do what hardly ever waits, as a write into a page cache: if it
	// gives true the operation goes on at once, and should it wait after all the
	// port does its other work without this goroutine. Nil: never.
	Linger func() bool
	// Gathering, set by the port, takes commands that are cheaper done together. Nil: none.
	Gathering *Gathering

	// Watch measures how long the command takes. The port starts it, and stops it when its
	// answer is out; Delivery books on it what it waits for, the unit the rest.
	Watch meter.Stopwatch

	task
}

// Reset makes c ready for its next use. It keeps Delivery and what the unit
// bound to c at its first use, so that a Command that is used again allocates
// nothing. The port calls it after SendCommandComplete.
func (c *Command) Reset() {
	c.Nexus, c.LUN, c.Tag, c.Attribute, c.CDB, c.Units = nil, 0, 0, Simple, nil, nil
	c.DataIn, c.Length, c.Status, c.Sense, c.Silent, c.MayBlock = nil, 0, Good, nil, false, false
	c.unit, c.operation = nil, nil
	c.aborted.Store(notAborted)
	c.signal.Store(nil)
	c.admitted, c.barrier = false, nil
	c.owes, c.yields, c.anew, c.returned = false, false, false, nil
}

// Unit is the logical unit that executes c.
func (c *Command) Unit() *LogicalUnit { return c.unit }

// Aborted tells whether task management has aborted c. An operation that works
// long without waiting in Delivery asks it between two pieces of its work, and
// returns ErrAborted.
func (c *Command) Aborted() bool { return c.aborted.Load() != notAborted }

// ReturnData ends a command whose data are p: the first allocation bytes of them
// go to the initiator (ALLOCATION LENGTH, SPC-4 4.2.5.6). p is copied. It
// gives the error of Delivery.
func (c *Command) ReturnData(p []byte, allocation int) error {
	p = p[:min(len(p), allocation)]
	if len(p) == 0 {
		return nil
	}
	b, err := c.Delivery.DataInBuffer(len(p))
	if err != nil {
		return err
	}
	c.Length = len(p)
	c.DataIn = b[:copy(b, p)]
	return nil
}

// ParameterList waits for the parameter list of n bytes (PARAMETER LIST LENGTH)
// and lends it. A list that the initiator promises shorter than the CDB has it
// is PARAMETER LIST LENGTH ERROR.
func (c *Command) ParameterList(n int) ([]byte, error) {
	c.Length = n
	if n == 0 {
		return nil, nil
	}
	b, err := c.Delivery.ReceiveDataOut(n)
	if err != nil {
		return nil, err
	}
	if len(b) < n {
		return nil, IllegalRequest(ASCParameterListLengthError)
	}
	return b[:n], nil
}

// Delivery is the service delivery subsystem as one command sees it: the
// transport protocol services of SAM-5 5.4 under their own names.
type Delivery interface {
	// DataInBuffer lends n bytes for data to the initiator, or fewer where the
	// initiator expects fewer (the rest is residual overflow); it waits while
	// the port's memory is spent, as ReceiveDataOut does. Asked again it lends the
	// same memory. n is at most the MAXIMUM TRANSFER LENGTH.
	DataInBuffer(n int) ([]byte, error)
	// ReceiveDataOut waits for the first n bytes from the initiator and lends
	// them; fewer come back when the initiator has promised fewer. It calls
	// Command.StepBack before it waits and Command.StepForward behind that, so that
	// an initiator that sends nothing holds up nobody else: an operation has changed
	// nothing before it has its data, and returns the errors of this.
	ReceiveDataOut(n int) ([]byte, error)
	// AbortCommand says that the command is aborted: what waits in this
	// Delivery returns ErrAborted, now and later. It does not wait. It may be
	// called more than once, but never after SendCommandComplete.
	AbortCommand()
	// SendCommandComplete takes the command back, once: the unit does not touch it
	// any more. With MayBlock false it is called before Execute returns, and does
	// not wait.
	SendCommandComplete()
}
