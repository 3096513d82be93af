package scsi

import "sync/atomic"

// maxTasks bounds the commands of one logical unit; one more ends with TASK SET FULL.
const maxTasks = 8192

// task is what the logical unit keeps in a Command from Execute until
// SendCommandComplete. But for aborted it belongs to the task set's lock, or to
// the goroutine that runs the command.
type task struct {
	unit      *LogicalUnit
	operation *Operation // nil for a CDB that no row fits
	run       func()     // runs the command where it may block; made once, kept by Reset
	aborted   atomic.Uint32

	next, previous *Command // in the task set, by age
	start          *Command // in a chain of commands to be started
	barrier        *Command // in a sweep: the next older command with an ordering class
	entered        uint64   // number of entry
	pins           int      // task managers that are about to call AbortCommand
	state          taskState
	order          Order
	bystander      bool // beside anything (see bystander)
	admitted       bool // has passed admit
	hung           bool // outlived the bound of a task manager
	ready          chan struct{}

	senseBuffer [MaxSenseLength]byte
}

// taskState is the state of a command in its task set (SAM-5 8.8).
type taskState uint8

const (
	outside taskState = iota
	dormant
	enabled
	ended // left the set, but pinned by a task manager
)

// Why a command was aborted, in task.aborted.
const (
	notAborted      uint32 = iota
	abortedSilently        // its initiator knows, or is not to know
	abortedByOther         // ends with TASK ABORTED
)
