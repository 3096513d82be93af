package target

import (
	"errors"
	"fmt"
	"io"

	"github.com/isantarget/isantarget/iscsi"
	"github.com/isantarget/isantarget/meter"
	"github.com/isantarget/isantarget/scsi"
)

var (
	errHeaderDigest = errors.New("header digest error: the connection cannot go on (RFC 7143 7.8)")
	errDataDigest   = errors.New("data digest error")
	errLoggedOut    = errors.New("logged out")
	errColdReset    = errors.New("TARGET COLD RESET")
)

// A protocolError is what an initiator must not do.
type protocolError struct {
	what, clause string
}

func (e *protocolError) Error() string {
	return fmt.Sprintf("protocol error: %s (RFC 7143 %s)", e.what, e.clause)
}

// receive is the full feature phase: it reads PDUs until the connection ends,
// and says why. Answers collect in the transmit queue; they leave before the
// reader would wait for more.
func (c *Connection) receive() error {
	for {
		if c.transmit.crowded() {
			c.reads.End()
			c.transmit.waitForRoom()
		}
		if err := c.readHeader(); err != nil {
			return err
		}
		c.received.Add(1)
		if err := c.dispatch(); err != nil {
			c.transmit.flush(false)
			return err
		}
	}
}

// read fills p. Before it would wait, what is queued is sent.
func (c *Connection) read(p []byte) error {
	waits := c.reader.Buffered() < len(p)
	if waits {
		c.idle()
	}
	_, err := io.ReadFull(c.reader, p)
	if waits {
		c.tick(meter.Now())
		c.busy.Store(true)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("the peer closed the connection within a PDU")
	}
	return err
}

// idle sends what is queued before the reader waits. Who adds an answer later
// sees that it has to be sent (see task.SendCommandComplete).
func (c *Connection) idle() {
	c.reads.End()
	c.busy.Store(false)
	c.transmit.flush(false)
}

// readHeader reads a BHS with its additional headers and checks the header
// digest and the length of the segment to come (RFC 7143 11.2).
func (c *Connection) readHeader() error {
	if err := c.read(c.header[:]); err != nil {
		return err
	}
	ahs := c.ahs[:c.header.TotalAHSLength()]
	if len(ahs) > 0 {
		if err := c.read(ahs); err != nil {
			return err
		}
	}
	if c.digests.header {
		tail := c.tail[:iscsi.DigestLength]
		if err := c.read(tail); err != nil {
			return err
		}
		if iscsi.Digest(0).Update(c.header[:]).Update(ahs) != iscsi.DigestFrom(tail) {
			return errHeaderDigest
		}
	}
	if n := c.header.DataSegmentLength(); n > maxRecvDataSegmentLength {
		return &protocolError{fmt.Sprintf("data segment of %d bytes, more than the MaxRecvDataSegmentLength of %d", n, maxRecvDataSegmentLength), "13.12"}
	}
	return nil
}

// readData reads a whole data segment into p with its padding and checks the
// data digest; errDataDigest leaves the stream in step.
func (c *Connection) readData(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	if err := c.read(p); err != nil {
		return err
	}
	pad := iscsi.Pad(len(p))
	tail := c.tail[:pad]
	if c.digests.data {
		tail = c.tail[:pad+iscsi.DigestLength]
	}
	if len(tail) == 0 {
		return nil
	}
	if err := c.read(tail); err != nil {
		return err
	}
	if c.digests.data && iscsi.Digest(0).Update(p).Update(tail[:pad]) != iscsi.DigestFrom(tail[pad:]) {
		return errDataDigest
	}
	return nil
}

// discardData reads a segment of n bytes that nobody wants. Its digest is not
// looked at: nothing depends on it.
func (c *Connection) discardData(n int) error {
	if n == 0 {
		return nil
	}
	n += iscsi.Pad(n)
	if c.digests.data {
		n += iscsi.DigestLength
	}
	for n > 0 {
		if c.reader.Buffered() == 0 {
			c.idle()
			if _, err := c.reader.Peek(1); err != nil {
				return err
			}
			c.tick(meter.Now())
			c.busy.Store(true)
		}
		part := min(n, c.reader.Buffered())
		if _, err := c.reader.Discard(part); err != nil {
			return err
		}
		n -= part
	}
	return nil
}

// readText reads a data segment into memory of its own, as text and NOP-Out need.
func (c *Connection) readText() ([]byte, error) {
	p := make([]byte, c.header.DataSegmentLength())
	return p, c.readData(p)
}

// dispatch handles the PDU whose header has been read. An error ends the connection.
func (c *Connection) dispatch() error {
	if c.header.Opcode() != iscsi.OpSCSICommand {
		c.reads.End() // what follows may wait for commands, or answer for them
	}
	switch c.header.Opcode() {
	case iscsi.OpSCSICommand:
		return c.onSCSICommand()
	case iscsi.OpDataOut:
		c.arrived.Add(uint64(iscsi.BHSLength + c.header.DataSegmentLength()))
		return c.onDataOut()
	case iscsi.OpNopOut:
		return c.onNopOut()
	case iscsi.OpTaskManagementRequest:
		return c.onTaskManagement()
	case iscsi.OpTextRequest:
		return c.onText()
	case iscsi.OpLogoutRequest:
		return c.onLogout()
	case iscsi.OpSNACKRequest:
		// Without error recovery nothing is kept to be sent again (RFC 7143 11.16).
		return c.rejectPDU(iscsi.RejectSNACK)
	case iscsi.OpLoginRequest:
		return c.rejectFatal(iscsi.RejectProtocolError, &protocolError{"Login Request in the full feature phase", "6.3"})
	}
	return c.rejectPDU(iscsi.RejectCommandNotSupported)
}

// onSCSICommand is RFC 7143 11.3.
func (c *Connection) onSCSICommand() error {
	p := &c.pdu.command
	if err := p.Unmarshal(&c.header); err != nil {
		return c.rejectFatal(iscsi.RejectInvalidPDUField, err)
	}
	s := c.session
	if s.discovery {
		return c.rejectPDU(iscsi.RejectCommandNotSupported)
	}
	long, err := c.extendedCDB(p)
	if err != nil {
		return c.rejectFatal(iscsi.RejectInvalidPDUField, err)
	}
	n := c.header.DataSegmentLength()
	if err := s.checkImmediateData(p, n); err != nil {
		return c.rejectFatal(iscsi.RejectProtocolError, err)
	}
	where, t := s.admit(c, p, long)
	switch where {
	case outside:
		return c.discardData(n)
	case tooMany:
		return c.rejectPDU(iscsi.RejectTooManyImmediate)
	case inUse:
		return c.rejectFatal(iscsi.RejectTaskInProgress, &protocolError{"Initiator Task Tag is in use", "11.2.1.8"})
	}
	if err := c.firstBurst(t, p, n); err != nil {
		t.abandon()
		return err
	}
	t.Watch.Lap(meter.Network, c.now())
	return c.deliver(t, p)
}

// extendedCDB is the whole CDB where an AHS holds its end; nil without one.
func (c *Connection) extendedCDB(p *iscsi.SCSICommand) ([]byte, error) {
	n := c.header.TotalAHSLength()
	if n == 0 {
		return nil, nil
	}
	tail, err := iscsi.ExtendedCDB(c.ahs[:n])
	if err != nil || tail == nil {
		return nil, err
	}
	return append(append(make([]byte, 0, len(p.CDB)+len(tail)), p.CDB[:]...), tail...), nil
}

// checkImmediateData refuses what RFC 7143 11.3.4 and 13.11 rule out: the
// initiator has lost count, and no answer would bring it back.
func (s *Session) checkImmediateData(p *iscsi.SCSICommand, n int) error {
	switch {
	case n == 0:
		return nil
	case !p.Write:
		return &protocolError{"immediate data with a command that writes nothing", "11.3.1"}
	case n > int(p.Length):
		return &protocolError{"more immediate data than the Expected Data Transfer Length", "11.3.4"}
	case n > s.parameters.firstBurst && s.parameters.immediateData:
		return &protocolError{"more immediate data than the FirstBurstLength", "13.14"}
	}
	return nil
}

// firstBurst reads the immediate data of a command and opens the sequence of
// its unsolicited data. The task's buffer is memory for all of the data if that
// is free at once, or else for the first burst; if not even that is, the
// command ends with TASK SET FULL and what the initiator sends is thrown away.
func (c *Connection) firstBurst(t *task, p *iscsi.SCSICommand, n int) error {
	if !p.Write {
		return nil
	}
	s, d := c.session, &t.out
	unsolicited := n
	if !p.Final {
		unsolicited = min(s.parameters.firstBurst, t.expected)
		d.push(sequence{ttt: iscsi.ReservedTag, end: max(unsolicited, n)})
	}
	if !p.Final && s.parameters.initialR2T || n > 0 && !s.parameters.immediateData {
		d.fail(errUnexpectedData)
	}
	if unsolicited > 0 && d.failure == nil {
		d.buffer = s.burstBuffer(t.expected, unsolicited)
		if d.buffer == nil {
			t.refused = true
			d.fail(scsi.TaskSetFull)
		}
	}
	d.received = n
	if n == 0 {
		return nil
	}
	if d.buffer == nil {
		return c.discardData(n)
	}
	err := c.readData(d.buffer.p[:n])
	if errors.Is(err, errDataDigest) {
		c.reject(iscsi.RejectDataDigestError)
		d.fail(errDataCRC)
		return nil
	}
	return err
}

// burstBuffer lends memory for expected bytes, or for first at least; nil when
// there is none.
func (s *Session) burstBuffer(expected, first int) *buffer {
	buffers := &s.entity.buffers
	if expected <= MaxTransfer {
		if m := s.memory.tryTake(bufferBytes(expected)); m != nil {
			return buffers.get(expected, m)
		}
	}
	if m := s.memory.tryTakeUnasked(bufferBytes(first)); m != nil {
		return buffers.get(first, m)
	}
	return nil
}

// execute hands a command to its logical unit. A command that cannot have its
// first burst kept is not executed.
func (t *task) execute() {
	// Either the map that is read here is a new one, or who has replaced it finds the
	// command given, and takes it back (Session.withdraw).
	t.given.Store(true)
	if units := t.session.units.Load(); units != t.Units {
		t.session.mu.Lock()
		t.Units = units
		t.session.mu.Unlock()
	}
	if t.waits { // another reader may be at work here, and the one of its connection has waited
		t.Watch.Lap(meter.Queue, meter.Now())
	} else {
		t.Watch.Lap(meter.Queue, t.connection.now())
	}
	if t.refused {
		t.Status = scsi.TaskSetFull
		t.SendCommandComplete()
		return
	}
	t.Units.Find(t.LUN).Execute(&t.Command)
}

// reject queues a Reject of the PDU whose header was read (RFC 7143 11.17).
func (c *Connection) reject(reason iscsi.RejectReason) { c.rejectHeader(reason, &c.header) }

// rejectHeader queues a Reject of the PDU with the header h.
func (c *Connection) rejectHeader(reason iscsi.RejectReason, h *iscsi.BHS) {
	c.log.WithField("reason", reason.String()).WithField("pdu", h.Opcode().String()).Warn("PDU rejected")
	c.transmit.add(item{kind: itemMessage, message: &message{
		data: append([]byte(nil), h[:]...),
		marshal: func(h *iscsi.BHS, sn serialNumbers) {
			p := iscsi.Reject{Reason: reason, StatSN: sn.stat, ExpCmdSN: sn.exp, MaxCmdSN: sn.max}
			p.Marshal(h)
		},
	}})
}

// rejectPDU rejects the PDU and goes on with the next.
func (c *Connection) rejectPDU(reason iscsi.RejectReason) error {
	c.reject(reason)
	return c.discardData(c.header.DataSegmentLength())
}

// rejectFatal rejects the PDU and ends the connection with err.
func (c *Connection) rejectFatal(reason iscsi.RejectReason, err error) error {
	c.reject(reason)
	return err
}
