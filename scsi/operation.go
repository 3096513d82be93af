package scsi

import "github.com/isantarget/isantarget/meter"

// An Operation is one row of a command table: all that is known of a command.
// The row says what may be asked, when, and beside what; the function only
// does it.
type Operation struct {
	Name             string // as the standard writes it: "READ (10)"
	Opcode           byte
	ServiceAction    uint16
	HasServiceAction bool
	// Usage is the CDB usage data of SPC-4 6.35.3: its length is the CDB's, its
	// first byte the opcode, the service action stands where the CDB has it, and
	// any other bit is set where the CDB may set it. Bits beyond it are refused
	// with a field pointer.
	Usage    []byte
	Timeouts CommandTimeouts // SPC-4 6.35.4, in seconds
	Conflict Conflict        // which reservations of others refuse it
	// Harmless tells of a CDB that it meets reservations as Allowed does, where the
	// standard sets some CDBs of a row apart; nil: none.
	Harmless func(CDB) bool
	Access   AccessStates // the asymmetric access states that let it through, beside the active ones
	Order    Order        // what must not run beside it
	Traits   Traits
	// Direction is where the blocks that it moves go, for those who count commands.
	Direction meter.Direction
	// Extent is what the command touches, for Order; nil for none.
	Extent func(CDB) Extent
	// Execute does it. nil: GOOD. *Sense: CHECK CONDITION. A Status ends with
	// that status. ErrWouldBlock: run it again with MayBlock (only of a row with
	// Inline). ErrAborted: it was aborted while it waited.
	Execute func(*Command) error

	row *meter.Row // of the unit whose table it is in
}

// bystander tells whether no ordering class keeps the command out: those that look at
// the unit itself, and persistent reservations, which must be had from a host whose
// commands have stopped half-way.
func (op *Operation) bystander() bool {
	return op.Order == Free && (op.Traits&KeepsAttentions != 0 || op.Conflict >= ConflictOnAnyReserve)
}

// Traits are the yes-or-no facts of a row.
type Traits uint16

const (
	// Inline: Execute is tried first where it must not block (see Command.MayBlock).
	Inline Traits = 1 << iota
	// KeepsAttentions: a pending unit attention neither ends the command nor is
	// told by it (SAM-5 5.14: INQUIRY, REPORT LUNS, REQUEST SENSE).
	KeepsAttentions
	// WithoutMedium: allowed while the device server is not ready.
	WithoutMedium
	// Writes: changes the medium, so refused by software write protect (SWP)
	// and on a read-only medium with DATA PROTECT 27/00.
	Writes
	// DuringSanitize: allowed while the medium is sanitized and after that has
	// failed (SBC-3 4.11), as rows with KeepsAttentions are. For rows with WithoutMedium.
	DuringSanitize
)

// Conflict says how a row meets the reservations of other nexuses; SPC-4
// table 65 (5.13.1) and SBC-3 table 13 give the words. Persistent reservations
// read the same field.
type Conflict uint8

// How a command meets a reservation that another nexus holds.
const (
	// Allowed never conflicts (INQUIRY).
	Allowed Conflict = iota
	// ConflictOnWrite reads the medium: it is allowed beside write exclusive, and
	// conflicts with exclusive access and with RESERVE.
	ConflictOnWrite
	// ConflictAlways writes or changes state: it conflicts with write exclusive too.
	ConflictAlways
	// ConflictOnReserve is allowed beside every persistent reservation but
	// conflicts with RESERVE of SPC-2 (TEST UNIT READY).
	ConflictOnReserve
	// ConflictOnRegistration is RESERVE and RELEASE of SPC-2: they conflict as soon as
	// any nexus is registered for persistent reservations (SPC-2 5.5.1), unless they
	// come from one for which they do nothing (SPC-4 5.13.3).
	ConflictOnRegistration
	// ConflictOnAnyReserve conflicts with RESERVE even of its own nexus (SPC-2 5.5.1),
	// and with no persistent reservation: PERSISTENT RESERVE IN, and registering.
	ConflictOnAnyReserve
	// ConflictUnlessRegistered is ConflictOnAnyReserve, and conflicts when its nexus is
	// not registered, whether there is a reservation or not: the service actions of
	// PERSISTENT RESERVE OUT but those that register (SPC-4 table 66).
	ConflictUnlessRegistered
)

// Order says what must not run beside a command, whatever the task attributes.
type Order uint8

// The ordering classes.
const (
	Free            Order = iota // beside anything but an exclusive extent it overlaps
	ExclusiveExtent              // alone on the blocks it touches (read-modify-write)
	Alone                        // alone in the task set (FORMAT UNIT)
)

// An Extent is a range of logical blocks.
type Extent struct {
	LBA    uint64
	Blocks uint64
}

// Overlaps tells whether a block belongs to both.
func (e Extent) Overlaps(o Extent) bool {
	return e.Blocks > 0 && o.Blocks > 0 && e.LBA-o.LBA < o.Blocks || o.Blocks > 0 && e.Blocks > 0 && o.LBA-e.LBA < e.Blocks
}

// CommandTimeouts are what REPORT SUPPORTED OPERATION CODES tells with RCTD, in seconds.
type CommandTimeouts struct {
	Nominal, Recommended uint32
}
