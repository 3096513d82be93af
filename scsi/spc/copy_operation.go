package spc

import (
	"sync"

	"github.com/isantarget/isantarget/scsi"
)

// The OPERATION CODEs and SERVICE ACTIONs of third-party copies (SPC-4 tables 105
// and 106).
const (
	extendedCopy     = 0x83
	extendedCopyLID1 = 0x00

	// PopulateToken and WriteUsingToken are service actions of 83h that SBC-3 has.
	PopulateToken   = 0x10
	WriteUsingToken = 0x11

	receiveCopyResults         = 0x84
	receiveCopyStatus          = 0x00
	receiveOperatingParameters = 0x03
	receiveFailureDetails      = 0x04
	receiveTokenInformation    = 0x07
)

// CopyStatus is the COPY OPERATION STATUS field (SPC-4 table 271).
type CopyStatus uint8

// How a copy operation stands.
const (
	CopyCompleted    CopyStatus = 0x01
	CopyFailed       CopyStatus = 0x02
	CopyResidual     CopyStatus = 0x03 // completed, with less than was asked for
	CopyInForeground CopyStatus = 0x11
	CopyInBackground CopyStatus = 0x12
	CopyTerminated   CopyStatus = 0x60
)

// A CopyOperation is a third-party copy with a list identifier, in progress or
// remembered. Its methods may be called at once from many goroutines.
type CopyOperation struct {
	list   uint32
	action byte
	done   chan struct{}

	mu       sync.Mutex
	stopped  bool
	status   CopyStatus
	segments uint16
	count    int64 // bytes, or blocks where blocks is set
	counter  uint16
	sense    *scsi.Sense
	result   scsi.Status
	token    []byte
}

func newCopyOperation(list uint32, action byte) *CopyOperation {
	return &CopyOperation{list: list, action: action, done: make(chan struct{}), status: CopyInForeground}
}

// Done is closed when an operation in the background is to end early.
func (o *CopyOperation) Done() <-chan struct{} { return o.done }

// stop closes Done.
func (o *CopyOperation) stop() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.stopped {
		o.stopped = true
		close(o.done)
	}
}

// Background says that the command has ended and the work goes on.
func (o *CopyOperation) Background() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.status = CopyInBackground
}

// Count adds to the TRANSFER COUNT: bytes of EXTENDED COPY, blocks of the others.
func (o *CopyOperation) Count(n int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.count += n
	o.counter++
}

// segment notes that one more segment has been processed.
func (o *CopyOperation) segment() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.segments++
	o.counter++
}

// Finish notes how the operation ended: err is that of its command. token is what
// POPULATE TOKEN has made.
func (o *CopyOperation) Finish(status CopyStatus, err error, token []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.status, o.token = status, token
	switch e := err.(type) {
	case nil:
	case *scsi.Sense:
		o.status, o.result, o.sense = CopyFailed, scsi.CheckCondition, e
	case scsi.Status:
		o.status, o.result = CopyFailed, e
	default:
		o.status, o.result = CopyTerminated, scsi.TaskAborted
	}
}

func (o *CopyOperation) finished() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.status != CopyInForeground && o.status != CopyInBackground
}
