package initiator

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/isantarget/isantarget/iscsi"
)

// ErrRejected says that the target answered a request with a Reject.
var ErrRejected = errors.New("the target rejects the request")

// A Task is a request that was sent and waits for its answer.
type Task struct {
	Tag      uint32
	CmdSN    uint32
	Response *PDU // the PDU that ended it
	Reject   *iscsi.Reject

	// Of a SCSI command.
	Command Command
	Result  Result
	R2Ts    []iscsi.R2T // those that came, answered or not

	c       *Connection
	opcode  iscsi.Opcode // of the request
	done    bool
	dataIns uint32 // Data-In PDUs so far
	burst   int    // bytes of the Data-In sequence under way
}

// Done reports whether the answer has come.
func (t *Task) Done() bool { return t.done }

// await reads until t has ended.
func (t *Task) await() error {
	deadline := t.c.deadline()
	for !t.done {
		if time.Now().After(deadline) {
			return fmt.Errorf("%v with tag %08x has no end after %v", t.opcode, t.Tag, t.c.Timeout)
		}
		if err := t.c.Pump(); err != nil {
			return fmt.Errorf("waiting for the end of %v with tag %08x: %w", t.opcode, t.Tag, err)
		}
	}
	if t.Reject != nil {
		return fmt.Errorf("%w: %v: %v", ErrRejected, t.opcode, t.Reject.Reason)
	}
	return nil
}

// Forget drops the account of t: what still comes for it is a violation.
func (t *Task) Forget() { delete(t.c.tasks, t.Tag) }

func (c *Connection) register(t *Task) {
	t.c = c
	c.tasks[t.Tag] = t
}

// Drain reads for a while and fails on what must not come. It serves to give a
// target the time to do wrong; that nothing came proves nothing by itself.
func (c *Connection) Drain(d time.Duration) error {
	timeout := c.Timeout
	defer func() { c.Timeout = timeout }()
	for end := time.Now().Add(d); ; {
		if c.Timeout = time.Until(end); c.Timeout <= 0 {
			return nil
		}
		if err := c.Pump(); errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// Pump reads one PDU, judges it, and puts it where it belongs.
func (c *Connection) Pump() error {
	p, err := c.Receive()
	if err != nil {
		return err
	}
	if n := len(c.Async) + len(c.Rejects) + len(c.Pings); c.Forgive && n > maxUnasked {
		return fmt.Errorf("the target has sent %d PDUs that nobody asked for", n)
	}
	switch p.BHS.Opcode() {
	case iscsi.OpNopIn:
		return c.onNopIn(p)
	case iscsi.OpAsyncMessage:
		return c.onAsync(p)
	case iscsi.OpReject:
		return c.onReject(p)
	}
	t := c.tasks[p.BHS.InitiatorTaskTag()]
	if t == nil {
		return violation("11.2.1.8", "%v for the task tag %08x, which is no task's", p.BHS.Opcode(), p.BHS.InitiatorTaskTag())
	}
	answers := map[iscsi.Opcode]iscsi.Opcode{
		iscsi.OpDataIn: iscsi.OpSCSICommand, iscsi.OpR2T: iscsi.OpSCSICommand, iscsi.OpSCSIResponse: iscsi.OpSCSICommand,
		iscsi.OpTaskManagementResponse: iscsi.OpTaskManagementRequest, iscsi.OpTextResponse: iscsi.OpTextRequest,
		iscsi.OpLogoutResponse: iscsi.OpLogoutRequest,
	}
	if want, ok := answers[p.BHS.Opcode()]; !ok || want != t.opcode {
		return violation("11.2.1.2", "%v in answer to %v", p.BHS.Opcode(), t.opcode)
	}
	switch p.BHS.Opcode() {
	case iscsi.OpDataIn:
		return t.onDataIn(p)
	case iscsi.OpR2T:
		return t.onR2T(p)
	case iscsi.OpSCSIResponse:
		return t.onSCSIResponse(p)
	}
	return t.onAnswer(p)
}

// onAnswer ends a request that is no SCSI command.
func (t *Task) onAnswer(p *PDU) error {
	var m struct {
		logout iscsi.LogoutResponse
		text   iscsi.TextResponse
		tmf    iscsi.TaskManagementResponse
	}
	var err error
	switch p.BHS.Opcode() {
	case iscsi.OpLogoutResponse:
		err = m.logout.Unmarshal(&p.BHS)
	case iscsi.OpTextResponse:
		err = m.text.Unmarshal(&p.BHS)
	case iscsi.OpTaskManagementResponse:
		err = m.tmf.Unmarshal(&p.BHS)
	}
	if err != nil {
		return err
	}
	t.finish(p)
	return t.c.account(p, true)
}

func (t *Task) finish(p *PDU) {
	t.Response, t.done = p, true
	delete(t.c.tasks, t.Tag)
}

// account checks StatSN and takes ExpCmdSN and MaxCmdSN. A PDU that carries status
// uses its StatSN up; others show the next one (RFC 7143 4.2.2.2).
func (c *Connection) account(p *PDU, status bool) error {
	var fields iscsi.NopIn // the three numbers stand in the same place in all PDUs that have them
	h := p.BHS
	h.SetOpcode(iscsi.OpNopIn)
	h.SetInitiatorTaskTag(iscsi.ReservedTag)
	if err := fields.Unmarshal(&h); err != nil {
		return err
	}
	if fields.StatSN != c.ExpStatSN {
		if err := c.judge(violation("4.2.2.2", "StatSN %d of %v, expected %d", fields.StatSN, p.BHS.Opcode(), c.ExpStatSN)); err != nil {
			return err
		}
		c.ExpStatSN = fields.StatSN
	}
	if status {
		c.ExpStatSN++
	}
	return c.judge(c.Session.advance(fields.ExpCmdSN, fields.MaxCmdSN))
}

func (c *Connection) onNopIn(p *PDU) error {
	var n iscsi.NopIn
	if err := n.Unmarshal(&p.BHS); err != nil {
		return err
	}
	if n.InitiatorTaskTag != iscsi.ReservedTag {
		t := c.tasks[n.InitiatorTaskTag]
		if t == nil || t.opcode != iscsi.OpNopOut {
			return violation("11.19.1", "NOP-In in answer to %08x, which is no NOP-Out", n.InitiatorTaskTag)
		}
		t.finish(p)
		return c.account(p, true)
	}
	if err := c.account(p, false); err != nil {
		return err
	}
	c.Pings = append(c.Pings, n)
	if n.TargetTransferTag == iscsi.ReservedTag || c.IgnorePings {
		return nil
	}
	pong := PDU{Data: p.Data}
	(&iscsi.NopOut{Immediate: true, LUN: n.LUN, InitiatorTaskTag: iscsi.ReservedTag, TargetTransferTag: n.TargetTransferTag,
		CmdSN: c.Session.CmdSN, ExpStatSN: c.ExpStatSN}).Marshal(&pong.BHS)
	return c.Send(&pong, 0)
}

func (c *Connection) onAsync(p *PDU) error {
	var m iscsi.AsyncMessage
	if err := m.Unmarshal(&p.BHS); err != nil {
		return err
	}
	c.Async = append(c.Async, m)
	c.Sense = append(c.Sense, p.Data)
	return c.account(p, true)
}

// keepsTask reports whether a SCSI Response follows the Reject: of a command whose
// immediate data was corrupt only the data is thrown away, not the command.
func (r *Rejection) keepsTask() bool {
	return r.Reason == iscsi.RejectDataDigestError && r.Header.Opcode() == iscsi.OpSCSICommand
}

func (c *Connection) onReject(p *PDU) error {
	var r Rejection
	if err := r.Unmarshal(&p.BHS); err != nil {
		return err
	}
	if len(p.Data) < iscsi.BHSLength {
		return violation("11.17.4", "a Reject with %d bytes of the rejected header", len(p.Data))
	}
	copy(r.Header[:], p.Data)
	c.Rejects = append(c.Rejects, r)
	if t := c.tasks[r.Header.InitiatorTaskTag()]; t != nil && t.opcode == r.Header.Opcode() && !r.keepsTask() {
		t.Reject = &r.Reject
		t.finish(p)
	}
	return c.account(p, true)
}
