package scsi

import (
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isantarget/isantarget/meter"
)

// DefaultHangBound is how long task management waits for commands that hang in
// a store. Initiators give a task management function 15 s.
const DefaultHangBound = 10 * time.Second

// A LogicalUnit is a device server with what SAM-5 puts around it: a task set
// and its manager, unit attentions per I_T nexus, reservations, mode pages and
// an identity. The exported fields are set before the unit is used.
type LogicalUnit struct {
	Identity Identity
	Device   DeviceServer
	// Report, if set, hears of what no initiator is told in full: an error that
	// is no sense data, a panic in an operation, commands that hang. It must not
	// wait.
	Report func(error)
	// HangBound is how long Manage and NexusLost wait.
	HangBound time.Duration

	// Locks, in the order in which one goroutine may take them: modes.mu, mu,
	// and, beside both, tasks.mu.

	absent bool // answers for LUNs that have no unit
	table  *operationTable
	meter  *meter.Unit
	odd    *meter.Row // of CDBs that no row fits
	tasks  taskSet
	modes  modePages

	mu           sync.Mutex // guards what stands below, but for what is atomic
	nexuses      atomic.Pointer[map[*Nexus]*attentions]
	attentive    atomic.Int32                 // nexuses with a pending unit attention
	reservations atomic.Pointer[reservations] // never nil

	reserving  sync.Mutex // one change of persistent reservations at a time, recorded and published; before mu
	keeper     Keeper     // where they are recorded; nil: nowhere
	groups     atomic.Pointer[[]PortGroup]
	restricted atomic.Bool // a group is not active/optimized
	transition bool        // access states are being changed

	removed atomic.Pointer[removal] // the unit is being taken away
}

// NewLogicalUnit makes a logical unit of ds. keeper keeps what must outlive the
// process (saved mode pages); what it holds for id is loaded. Without a keeper
// (nil) nothing can be saved. A device server whose peripheral qualifier is not
// 000b makes the unit that answers for absent LUNs: it has no identity, no unit
// attentions and no reservations.
func NewLogicalUnit(id Identity, ds DeviceServer, keeper Keeper) (*LogicalUnit, error) {
	lu := &LogicalUnit{Identity: id, Device: ds, HangBound: DefaultHangBound, absent: ds.InquiryData().Qualifier != 0}
	lu.tasks.limit = maxTasks
	lu.nexuses.Store(&map[*Nexus]*attentions{})
	if !lu.absent {
		if err := id.validate(); err != nil {
			return nil, err
		}
	}
	var err error
	if lu.table, err = newOperationTable(ds.Operations()); err != nil {
		return nil, err
	}
	lu.countWith(meter.NewUnit())
	if r, ok := ds.(Rememberer); ok && keeper != nil {
		if err := r.Remember(Record{id, keeper}); err != nil {
			return nil, fmt.Errorf("scsi: records of %s: %w", id.Serial, err)
		}
	}
	if err := lu.loadModePages(keeper); err != nil {
		return nil, fmt.Errorf("scsi: mode pages of %s: %w", id.Serial, err)
	}
	lu.loadReservations(keeper)
	return lu, nil
}

// Operations is the command table, ascending by operation code and service
// action. The caller must not change it.
func (lu *LogicalUnit) Operations() []Operation { return lu.table.rows }

// Execute is SCSI Command Received (SAM-5 5.4.2): c enters the task set. It does
// not wait: what can be answered without blocking is answered before it returns,
// everything else on a goroutine of its own. Calls of one nexus come in CmdSN order.
func (lu *LogicalUnit) Execute(c *Command) {
	c.unit = lu
	c.operation = lu.table.find(c.CDB)
	c.order, c.bystander = Free, false
	inline := true
	if op := c.operation; op != nil {
		c.order = op.Order
		c.bystander = op.bystander()
		inline = op.Traits&Inline != 0
		c.CDB = c.CDB[:min(len(c.CDB), len(op.Usage))]
	}
	if c.Attribute > HeadOfQueue {
		// SAM-5 8.6.5: there is no ACA condition.
		c.end(IllegalRequest(ASCInvalidMessageError))
		c.Delivery.SendCommandComplete()
		return
	}
	started, full := lu.tasks.enter(c)
	switch {
	case full:
		c.Status = TaskSetFull
		c.Delivery.SendCommandComplete()
	case started && inline:
		lu.try(c)
	case started:
		c.goRun()
	}
}

// goRun runs c on a goroutine of its own.
func (c *Command) goRun() {
	if c.work == nil {
		c.work = c.runBlocking
	}
	go c.work()
}

func (c *Command) runBlocking() {
	c.Watch.Lap(meter.Queue, meter.Now())
	c.MayBlock = true
	err := c.unit.perform(c)
	for err == ErrWouldBlock && c.anew { // see StepForward
		c.anew, c.admitted = false, false
		err = c.unit.perform(c)
	}
	c.unit.finish(c, err)
}

// try runs c on the caller's goroutine, and on another one if it would block.
func (lu *LogicalUnit) try(c *Command) {
	c.MayBlock = false
	switch err := lu.perform(c); err {
	case ErrGathered: // and perhaps ended already
	case ErrWouldBlock:
		c.goRun()
	default:
		lu.finish(c, err)
	}
}

// panicked is what a command ends with whose operation has panicked with r.
func panicked(r any) error { return fmt.Errorf("panic: %v\n%s", r, debug.Stack()) }

// perform admits and executes c. A panic in the operation ends the command, not
// the daemon.
func (lu *LogicalUnit) perform(c *Command) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = panicked(r)
		}
	}()
	if c.Aborted() {
		return ErrAborted
	}
	if !c.admitted {
		if err := lu.admit(c); err != nil {
			return err
		}
		c.admitted = true
	}
	return c.operation.Execute(c)
}

// admit says why c, which has become enabled, may not be executed. The order is
// that of SAM-5 5.3.3 (RESERVATION CONFLICT before anything else) and 5.14
// (then unit attentions).
func (lu *LogicalUnit) admit(c *Command) error {
	if r := lu.removed.Load(); r != nil {
		return r.answer
	}
	op := c.operation
	if op == nil {
		return lu.refuse(c)
	}
	if err := lu.reservations.Load().refuse(op, c.Nexus, c.CDB); err != nil {
		return err
	}
	if op.Traits&KeepsAttentions == 0 && c.granted == nil {
		if s := c.TakeAttention(); s != nil {
			return s
		}
	}
	if lu.restricted.Load() {
		if s := lu.AccessState(c.Nexus); !op.Access.Allow(s) {
			return s.sense()
		}
	}
	if op.Traits&WithoutMedium == 0 {
		if s := lu.Ready(); s != nil {
			return s
		}
	} else if op.Order != Free && lu.tasks.hung.Load() > 0 {
		return notReadyWhileHanging() // it counts on having no older command beside it
	} else if s := lu.sanitizing(op); s != nil {
		return s
	}
	if op.Traits&Writes != 0 && lu.WriteProtected() {
		return DataProtect(ASCWriteProtected)
	}
	return op.checkCDB(c.CDB)
}

// sanitizing is why op, which needs no medium, is refused nevertheless: a sanitize
// operation lets few commands through while it runs, and after it has failed (SBC-3 4.11).
func (lu *LogicalUnit) sanitizing(op *Operation) *Sense {
	if op.Traits&(KeepsAttentions|DuringSanitize) != 0 {
		return nil
	}
	s := lu.Device.Ready()
	if s != nil && (s.Code == ASCLogicalUnitNotReadySanitizeInProgress || s.Code == ASCSanitizeCommandFailed) {
		return s
	}
	return nil
}

// refuse answers a CDB that no row fits.
func (lu *LogicalUnit) refuse(c *Command) error {
	if s := c.TakeAttention(); s != nil {
		return s
	}
	if lu.table.hasOpcode(c.CDB) {
		if c.CDB.Opcode() == variableLength {
			return InvalidFieldInCDB(8, WholeByte)
		}
		return InvalidFieldInCDB(1, 4)
	}
	if err := lu.Device.Unsupported(c); err != nil {
		return err
	}
	return InvalidCDB(ASCInvalidCommandOperationCode, 0, WholeByte)
}

// Ready is nil, or why commands that need the medium are refused.
func (lu *LogicalUnit) Ready() *Sense {
	if lu.tasks.hung.Load() > 0 {
		return notReadyWhileHanging()
	}
	if lu.reservations.Load().lost != nil {
		return notReadyWithoutRecord()
	}
	return lu.Device.Ready()
}

// notReadyWhileHanging is why commands are refused while aborted ones hang in a
// store. Initiators try again after it.
func notReadyWhileHanging() *Sense { return NotReady(ASCLogicalUnitNotReadyOperationInProgress) }

// WriteProtected tells whether commands that write are refused, by the medium
// or by software write protect (SWP).
func (lu *LogicalUnit) WriteProtected() bool {
	return lu.modes.writeProtect.Load() || lu.Device.ModeParameterHeader()&deviceWriteProtected != 0
}

// deviceWriteProtected is WP in the DEVICE-SPECIFIC PARAMETER byte (SBC-3 6.4.1).
const deviceWriteProtected = 0x80

// finish ends c with err and takes it out of the task set.
func (lu *LogicalUnit) finish(c *Command, err error) { lu.finishAt(c, err, meter.Now()) }

// finishAt is finish of a command on which work ended at a moment.
func (lu *LogicalUnit) finishAt(c *Command, err error, at meter.Moment) {
	c.Watch.Lap(meter.Store, at)
	c.end(err)
	left := lu.tasks.leave(c)
	startAll(left.start)
	if left.ready {
		lu.report(errors.New("the commands that hung in the store have ended: ready again"))
	}
	if left.complete {
		c.complete()
	}
}

// end sets what the command leaves behind.
func (c *Command) end(err error) {
	switch e := err.(type) {
	case nil:
	case *Sense:
		c.check(e)
	case Status:
		c.Status = e
	default:
		c.endOddly(err)
	}
}

// endOddly is end for an error that is wrapped or of no SCSI kind.
func (c *Command) endOddly(err error) {
	var (
		sense  *Sense
		status Status
	)
	switch {
	case errors.Is(err, ErrAborted):
		// If task management has not aborted it, its connection is gone.
		c.Silent = true
	case errors.As(err, &sense):
		c.check(sense)
	case errors.As(err, &status):
		c.Status = status
	default:
		c.unit.report(fmt.Errorf("%s: %w", c.name(), err))
		c.check(HardwareError(ASCInternalTargetFailure))
	}
}

// check ends c with CHECK CONDITION.
func (c *Command) check(s *Sense) {
	c.Status = CheckCondition
	c.Sense = s.Append(c.senseBuffer[:0], c.unit.modes.descriptorSense.Load())
}

// complete gives c, which has left the task set, back to its port.
func (c *Command) complete() {
	switch c.aborted.Load() {
	case abortedSilently:
		c.Silent, c.DataIn, c.Sense = true, nil, nil
	case abortedByOther:
		c.Status, c.Silent, c.DataIn, c.Sense = TaskAborted, false, nil, nil
	}
	c.Delivery.SendCommandComplete()
}

// name is what c is called in an error.
func (c *Command) name() string {
	if c.operation == nil {
		return fmt.Sprintf("operation code %02Xh", c.CDB.Opcode())
	}
	return c.operation.Name
}

func (lu *LogicalUnit) report(err error) {
	if lu.Report != nil {
		lu.Report(fmt.Errorf("scsi: logical unit %s: %w", lu.Identity.Serial, err))
	}
}
