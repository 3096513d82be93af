package target

import (
	"errors"
	"sync"

	"github.com/isantarget/isantarget/iscsi"
	"github.com/isantarget/isantarget/meter"
	"github.com/isantarget/isantarget/scsi"
)

// maxOutstandingR2T is the most R2Ts one command has open, whatever the
// initiator offers; one already keeps a link busy when a burst is large.
const maxOutstandingR2T = 8

var errTooLarge = errors.New("target: more than MaxTransfer bytes in one command")

// What RFC 7143 11.4.7.2 calls iSCSI conditions, as sense data.
var (
	errUnexpectedData  = scsi.AbortedCommand(scsi.ASCWriteErrorUnexpectedUnsolicitedData)
	errIncorrectAmount = scsi.AbortedCommand(scsi.ASCWriteErrorNotEnoughUnsolicitedData)
	errDataCRC         = scsi.AbortedCommand(scsi.ASCProtocolServiceCRCError)
	// A write whose header expects to read: GOOD would be a lie about data that
	// nobody sent. A read whose header expects to write harms nobody, and
	// iscsi-test-cu (iSCSIResiduals.Read10Invalid) demands GOOD for it.
	errDirection = scsi.IllegalRequest(scsi.ASCInvalidFieldInCommandInformationUnit)
)

// A sequence is the Data-Out PDUs that answer one R2T, or the unsolicited ones
// (RFC 7143 4.2.5.2).
type sequence struct {
	ttt    uint32 // ReservedTag for unsolicited data
	end    int    // buffer offset behind its last byte
	dataSN uint32 // expected next
	sn     uint32 // R2TSN
}

// dataOut is the account of a command's data from the initiator. Data arrives
// in order (DataPDUInOrder and DataSequenceInOrder are Yes), so one number
// tells what is there: received. The command's goroutine waits for it in
// ReceiveDataOut, the connection's reader fills the buffer.
type dataOut struct {
	mu       sync.Mutex
	wake     chan struct{} // holds one token: something changed
	buffer   *buffer       // nil: what comes is thrown away
	received int           // bytes from the start that have arrived
	asked    int           // bytes from the start that R2Ts have asked for
	wanted   int           // bytes that the command waits for
	r2tSN    uint32        // of the next R2T

	sequences [maxOutstandingR2T]sequence // open, in the order they are to be answered
	first     int
	count     int

	failure     error // why the command cannot have its data
	unsolicited bool  // unsolicited Data-Out PDUs came, so FirstBurstLength must be filled
	aborted     bool  // task management wants it to end
	dropped     bool  // the connection is gone: no more data will come
	ended       bool  // the logical unit has given it back
	waiting     bool  // its response waits for the last sequence
	silenced    bool  // task management was faster than its response
	seen        bool  // the keep-alive has found it waiting for data
}

// reset prepares the account for a new command. The lock is not needed: the slot is free.
func (d *dataOut) reset() {
	if d.wake == nil {
		d.wake = make(chan struct{}, 1)
	}
	select {
	case <-d.wake:
	default:
	}
	d.received, d.asked, d.wanted = 0, 0, 0
	d.r2tSN = 0
	d.first, d.count = 0, 0
	d.failure = nil
	d.unsolicited, d.aborted, d.dropped, d.ended, d.waiting, d.silenced, d.seen = false, false, false, false, false, false, false
}

// open tells whether the initiator owes data.
func (d *dataOut) open() bool { return d.count > 0 }

func (d *dataOut) head() *sequence { return &d.sequences[d.first] }

func (d *dataOut) push(s sequence) {
	d.sequences[(d.first+d.count)%maxOutstandingR2T] = s
	d.count++
}

func (d *dataOut) pop() {
	d.first = (d.first + 1) % maxOutstandingR2T
	d.count--
}

// signal wakes who waits for data or memory of this command.
func (d *dataOut) signal() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

func (d *dataOut) isAborted() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.aborted || d.dropped
}

// fail remembers the first reason why the data is not to be used.
func (d *dataOut) fail(err error) {
	if d.failure == nil {
		d.failure = err
	}
}

// state is why ReceiveDataOut need not wait: n bytes are there, or an error.
func (d *dataOut) state(n int) (done bool, err error) {
	switch {
	case d.aborted || d.dropped:
		return true, scsi.ErrAborted
	case d.failure != nil:
		return true, d.failure
	}
	return d.received >= n, nil
}

// ReceiveDataOut is scsi.Delivery. It returns at once when the first n bytes
// came unsolicited; otherwise it takes memory for all of them, asks for the
// rest with R2Ts and waits.
func (t *task) ReceiveDataOut(n int) ([]byte, error) {
	switch {
	case !t.write && t.read && n > 0:
		return nil, errDirection
	case !t.write:
		n = 0
	}
	n = min(n, t.expected)
	if n > MaxTransfer {
		return nil, errTooLarge
	}
	d := &t.out
	d.mu.Lock()
	for solicited, back := false, false; ; {
		if done, err := d.state(n); done || err != nil {
			var p []byte
			if err == nil && n > 0 {
				p = d.buffer.p[:n]
			}
			d.mu.Unlock()
			if back && err == nil {
				err = t.StepForward()
				t.lap(meter.Queue)
			}
			return p, err
		}
		if !t.MayBlock {
			d.mu.Unlock()
			return nil, scsi.ErrWouldBlock
		}
		if !back {
			back = true
			d.mu.Unlock()
			t.StepBack() // a peer that sends nothing holds up nobody but itself
			t.lap(meter.Store)
			d.mu.Lock()
			continue
		}
		if !d.open() && !solicited {
			// Only now is nobody filling the buffer: a larger one may take its place.
			solicited = true
			d.mu.Unlock()
			memory := t.growBuffer(n)
			t.lap(meter.Queue)
			if !memory {
				return nil, scsi.ErrAborted
			}
			d.mu.Lock()
			d.wanted = n
			d.asked = d.received
			t.solicit()
			d.mu.Unlock()
			t.connection.transmit.flush(false) // a peer that takes nothing must not hold the command
			d.mu.Lock()
			continue
		}
		d.mu.Unlock()
		<-d.wake
		t.lap(meter.Network)
		d.mu.Lock()
	}
}

// growBuffer makes room for n bytes; it waits for memory until the command is aborted.
func (t *task) growBuffer(n int) bool {
	d := &t.out
	if d.buffer != nil && cap(d.buffer.p) >= n {
		d.buffer.p = d.buffer.p[:cap(d.buffer.p)]
		return true
	}
	bytes := bufferBytes(n)
	m := t.session.memory.take(bytes, d.wake)
	for ; m == nil; m = t.session.memory.take(bytes, d.wake) {
		if d.isAborted() {
			return false
		}
	}
	larger := t.session.entity.buffers.get(n, m)
	d.mu.Lock()
	old := d.buffer
	if old != nil {
		copy(larger.p, old.p[:d.received])
	}
	d.buffer = larger
	d.mu.Unlock()
	if old != nil {
		t.session.entity.buffers.put(old)
	}
	return true
}

// solicit queues R2Ts for what the command wants, as many as may be open at
// once. d.mu is held.
func (t *task) solicit() {
	d, p := &t.out, &t.session.parameters
	for d.asked < d.wanted && d.count < min(p.maxOutstandingR2T, maxOutstandingR2T) {
		length := min(d.wanted-d.asked, p.maxBurst)
		s := sequence{ttt: t.connection.nextTransferTag(), end: d.asked + length, sn: d.r2tSN}
		t.holders.Add(1)
		t.connection.transmit.add(item{kind: itemR2T, task: t, r2t: s, offset: d.asked, length: length})
		d.r2tSN++
		d.asked += length
		d.push(s)
	}
}

// onDataOut is RFC 7143 11.7: it finds the task, checks that the PDU is the
// next of the open sequence, and reads the segment straight into its place.
// An error ends the connection.
func (c *Connection) onDataOut() error {
	p := &c.pdu.dataOut
	if err := p.Unmarshal(&c.header); err != nil {
		return c.rejectFatal(iscsi.RejectInvalidPDUField, err)
	}
	n := c.header.DataSegmentLength()
	t := c.session.hold(p.InitiatorTaskTag, c)
	if t == nil {
		// The command ended before its data came, as an aborted one does.
		return c.discardData(n)
	}
	defer t.release()
	into, err := t.dataOutPlace(p, n)
	if err != nil {
		return c.rejectFatal(iscsi.RejectProtocolError, err)
	}
	var digestErr error
	if into == nil {
		digestErr = c.discardData(n)
	} else {
		digestErr = c.readData(into)
	}
	if digestErr != nil && digestErr != errDataDigest {
		return digestErr
	}
	if digestErr != nil {
		c.reject(iscsi.RejectDataDigestError)
	}
	t.dataOutArrived(p, n, digestErr != nil)
	return nil
}

// dataOutPlace checks p, whose segment has n bytes, against the open sequence
// and tells where the segment goes; nil: it is to be thrown away.
func (t *task) dataOutPlace(p *iscsi.DataOut, n int) ([]byte, error) {
	d := &t.out
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.open() {
		if p.TargetTransferTag == iscsi.ReservedTag {
			d.fail(errUnexpectedData)
			return nil, &protocolError{"Data-Out without a sequence that allows it", "11.7"}
		}
		return nil, &protocolError{"Data-Out for a Target Transfer Tag that is not open", "11.7.4"}
	}
	s := d.head()
	switch {
	case p.TargetTransferTag != s.ttt:
		return nil, &protocolError{"Data-Out for a Target Transfer Tag that is not the oldest open one (DataSequenceInOrder=Yes)", "13.19"}
	case p.DataSN != s.dataSN:
		return nil, &protocolError{"Data-Out with a DataSN out of order", "11.7.5"}
	case int(p.BufferOffset) != d.received:
		return nil, &protocolError{"Data-Out with a Buffer Offset out of order (DataPDUInOrder=Yes)", "13.18"}
	case d.received+n > s.end:
		return nil, &protocolError{"Data-Out beyond the end of its sequence", "11.7"}
	}
	if d.ended || d.failure != nil || d.aborted || d.buffer == nil {
		return nil, nil
	}
	return d.buffer.p[d.received : d.received+n], nil
}

// dataOutArrived books a segment of n bytes, asks for more, and wakes who waits.
func (t *task) dataOutArrived(p *iscsi.DataOut, n int, corrupt bool) {
	d := &t.out
	d.mu.Lock()
	s := d.head()
	d.received += n
	s.dataSN++
	if s.ttt == iscsi.ReservedTag {
		d.unsolicited = true
	}
	if corrupt {
		d.fail(errDataCRC)
	}
	if p.Final {
		if d.received != s.end {
			d.fail(errIncorrectAmount)
		}
		d.pop()
		if d.failure == nil && !d.ended && !d.aborted {
			t.solicit()
		}
	}
	respond := d.waiting && !d.open()
	if respond {
		d.waiting = false
	}
	d.mu.Unlock()
	if respond {
		t.respond()
		return
	}
	if p.Final {
		d.signal()
	}
}
