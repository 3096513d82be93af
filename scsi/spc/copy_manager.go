package spc

import (
	"slices"
	"sync"

	"github.com/isantarget/isantarget/scsi"
)

// The bounds of a copy manager, as RECEIVE COPY RESULTS and VPD page 8Fh tell them.
const (
	maxCSCDs             = 16
	maxSegments          = 64
	maxDescriptorsLength = maxCSCDs*cscdLength + maxSegments*segmentLength // bytes
	maxSegmentLength     = 0xffff * 4096                                   // bytes: as many blocks as a segment can name
	maxListIdentifiers   = 64                                              // of one nexus, in progress or remembered
)

// BlockCopier is what a copy manager needs of the block devices that it copies
// between. Package sbc has it.
type BlockCopier interface {
	// Blocks is the logical block length of lu in bytes, and how many blocks it has;
	// length 0 means that it is no device of this kind, or has no medium.
	Blocks(lu *scsi.LogicalUnit) (length int, capacity uint64)
	// Copy copies length bytes. c is the command that asks for it: for its nexus
	// the blocks are read and written, and it is looked at for whether it was
	// aborted. moved hears of each piece that is done, in bytes.
	Copy(c *scsi.Command, from, to CopyExtent, length int64, moved func(n int64)) error
}

// A CopyExtent is where a copy reads or writes: an offset in bytes in a unit.
type CopyExtent struct {
	Unit   *scsi.LogicalUnit
	Offset int64
}

// A CopyManager is the copy manager of a logical unit (SPC-4 5.17): it executes
// third-party copies, and remembers how each one ended under the list identifier
// that the nexus gave it, until the nexus asks for it, uses the identifier again
// or is lost.
type CopyManager struct {
	copier BlockCopier

	mu         sync.Mutex
	operations map[*scsi.Nexus][]*CopyOperation // oldest first
}

// NewCopyManager makes a copy manager that copies with copier.
func NewCopyManager(copier BlockCopier) *CopyManager {
	return &CopyManager{copier: copier, operations: make(map[*scsi.Nexus][]*CopyOperation)}
}

// Operations are the rows of EXTENDED COPY and of what tells about copies.
func (m *CopyManager) Operations() []scsi.Operation {
	receive := func(name string, action byte, execute func(*scsi.Command) error) scsi.Operation {
		return scsi.Operation{
			Name: name, Opcode: receiveCopyResults, ServiceAction: uint16(action), HasServiceAction: true,
			Usage:    []byte{receiveCopyResults, action, 0xff, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0},
			Timeouts: brief(), Conflict: scsi.ConflictOnWrite, Traits: scsi.Inline | scsi.WithoutMedium,
			Execute: execute,
		}
	}
	information := receive("RECEIVE ROD TOKEN INFORMATION", receiveTokenInformation, m.receiveTokenInformation)
	information.Usage = []byte{receiveCopyResults, receiveTokenInformation, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0}
	return []scsi.Operation{
		{
			Name: "EXTENDED COPY (LID1)", Opcode: extendedCopy, ServiceAction: extendedCopyLID1, HasServiceAction: true,
			Usage:    []byte{extendedCopy, extendedCopyLID1, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0},
			Timeouts: scsi.CommandTimeouts{Nominal: 10, Recommended: 300}, Conflict: scsi.ConflictAlways,
			Execute: m.extendedCopy,
		},
		receive("RECEIVE COPY STATUS (LID1)", receiveCopyStatus, m.copyStatus),
		receive("RECEIVE COPY OPERATING PARAMETERS", receiveOperatingParameters, m.operatingParameters),
		receive("RECEIVE COPY FAILURE DETAILS (LID1)", receiveFailureDetails, m.failureDetails),
		information,
	}
}

// Begin registers an operation of n under a list identifier. While another one of
// the nexus has it, that is OPERATION IN PROGRESS. A remembered one is forgotten.
func (m *CopyManager) Begin(n *scsi.Nexus, list uint32, action byte) (*CopyOperation, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	mine := m.operations[n]
	for i, o := range mine {
		if o.list == list && !o.finished() {
			return nil, scsi.IllegalRequest(scsi.ASCOperationInProgress)
		} else if o.list == list {
			mine = slices.Delete(mine, i, i+1)
			break
		}
	}
	if len(mine) >= maxListIdentifiers {
		i := slices.IndexFunc(mine, (*CopyOperation).finished)
		if i < 0 {
			return nil, scsi.IllegalRequest(scsi.ASCInsufficientResources)
		}
		mine = slices.Delete(mine, i, i+1)
	}
	o := newCopyOperation(list, action)
	m.operations[n] = append(mine, o)
	return o, nil
}

// find is the operation that n knows by list; nil if there is none.
func (m *CopyManager) find(n *scsi.Nexus, list uint32) *CopyOperation {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, o := range m.operations[n] {
		if o.list == list {
			return o
		}
	}
	return nil
}

// forget drops an operation.
func (m *CopyManager) forget(n *scsi.Nexus, o *CopyOperation) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.operations[n] = slices.DeleteFunc(m.operations[n], func(x *CopyOperation) bool { return x == o })
	if len(m.operations[n]) == 0 {
		delete(m.operations, n)
	}
}

// NexusLost forgets the operations of n. Those in the background end early.
func (m *CopyManager) NexusLost(n *scsi.Nexus) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, o := range m.operations[n] {
		o.stop()
	}
	delete(m.operations, n)
}

// Reset is NexusLost for every nexus.
func (m *CopyManager) Reset() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, mine := range m.operations {
		for _, o := range mine {
			o.stop()
		}
	}
	clear(m.operations)
}
