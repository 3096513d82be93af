package initiator

import (
	"fmt"

	"github.com/isantarget/isantarget/iscsi"
)

// Request sends any PDU that bears an initiator task tag and keeps account of it. The
// header is sent as it is, its tag and numbers with it.
func (c *Connection) Request(p *PDU, faults Faults) (*Task, error) {
	t := &Task{Tag: p.BHS.InitiatorTaskTag(), opcode: p.BHS.Opcode()}
	c.register(t)
	return t, c.Send(p, faults)
}

// Await reads until the answer to a Request has come, and returns it.
func (t *Task) Await() (*PDU, error) {
	if err := t.await(); err != nil {
		return nil, err
	}
	return t.Response, nil
}

// exchange is Request and Await.
func (c *Connection) exchange(p *PDU) (*PDU, error) {
	t, err := c.Request(p, 0)
	if err != nil {
		return nil, err
	}
	return t.Await()
}

// Ping sends a NOP-Out with data and returns what the NOP-In brings back.
func (c *Connection) Ping(data []byte, immediate bool) ([]byte, error) {
	t, err := c.StartPing(data, immediate)
	if err != nil {
		return nil, err
	}
	answer, err := t.Await()
	if err != nil {
		return nil, err
	}
	return answer.Data, nil
}

// StartPing sends a NOP-Out and does not wait for its answer.
func (c *Connection) StartPing(data []byte, immediate bool) (*Task, error) {
	s := c.Session
	p := PDU{Data: data}
	(&iscsi.NopOut{Immediate: immediate, InitiatorTaskTag: s.NextTag(), TargetTransferTag: iscsi.ReservedTag,
		CmdSN: s.take(immediate), ExpStatSN: c.ExpStatSN}).Marshal(&p.BHS)
	return c.Request(&p, 0)
}

// Manage sends a task management request. Its tag, numbers and, unless it names a
// task, ReferencedTaskTag are filled in.
func (c *Connection) Manage(r iscsi.TaskManagementRequest) (iscsi.TaskManagementStatus, error) {
	t, err := c.StartManage(r)
	if err != nil {
		return 0, err
	}
	return t.WaitManage()
}

// StartManage sends a task management request and does not wait for its answer.
func (c *Connection) StartManage(r iscsi.TaskManagementRequest) (*Task, error) {
	s := c.Session
	r.InitiatorTaskTag, r.CmdSN, r.ExpStatSN = s.NextTag(), s.take(r.Immediate), c.ExpStatSN
	switch r.Function {
	case iscsi.AbortTask, iscsi.TaskReassign, iscsi.QueryTask:
	default:
		r.ReferencedTaskTag = iscsi.ReservedTag
	}
	var p PDU
	r.Marshal(&p.BHS)
	return c.Request(&p, 0)
}

// WaitManage reads until the answer to a task management request has come.
func (t *Task) WaitManage() (iscsi.TaskManagementStatus, error) {
	answer, err := t.Await()
	if err != nil {
		return 0, err
	}
	var m iscsi.TaskManagementResponse
	err = m.Unmarshal(&answer.BHS)
	return m.Response, err
}

// Abort asks the target to abort the task of t (ABORT TASK, immediate).
func (c *Connection) Abort(t *Task) (iscsi.TaskManagementStatus, error) {
	return c.Manage(iscsi.TaskManagementRequest{Immediate: true, Function: iscsi.AbortTask, LUN: t.Command.LUN,
		ReferencedTaskTag: t.Tag, RefCmdSN: t.CmdSN})
}

// Logout logs a connection or the session out.
func (c *Connection) Logout(reason iscsi.LogoutReason, cid uint16) (iscsi.LogoutResponse, error) {
	s := c.Session
	var p PDU
	(&iscsi.LogoutRequest{Immediate: true, Reason: reason, InitiatorTaskTag: s.NextTag(), CID: cid, CmdSN: s.CmdSN, ExpStatSN: c.ExpStatSN}).Marshal(&p.BHS)
	var m iscsi.LogoutResponse
	answer, err := c.exchange(&p)
	if err != nil {
		return m, err
	}
	return m, m.Unmarshal(&answer.BHS)
}

// SNACK sends a SNACK. A target at ErrorRecoveryLevel 0 rejects it.
func (c *Connection) SNACK(r iscsi.SNACK) error {
	var p PDU
	r.ExpStatSN = c.ExpStatSN
	r.Marshal(&p.BHS)
	return c.Send(&p, 0)
}

// maxText is how many bytes an answer to a text exchange has at most.
const maxText = 1 << 20

// Text runs a text exchange: it sends pairs, split by the C bit into pieces of split
// bytes if split is not 0, and puts the pieces of the answer together.
func (c *Connection) Text(split int, pairs ...iscsi.KeyValue) ([]iscsi.KeyValue, error) {
	s := c.Session
	tag, transfer := s.NextTag(), iscsi.ReservedTag
	text := iscsi.AppendText(nil, pairs...)
	var answer []byte
	for range 1024 {
		n := len(text)
		if split > 0 {
			n = min(n, split)
		}
		more := n < len(text)
		p := PDU{Data: text[:n]}
		(&iscsi.TextRequest{Immediate: false, Final: !more, Continue: more, InitiatorTaskTag: tag, TargetTransferTag: transfer,
			CmdSN: s.take(false), ExpStatSN: c.ExpStatSN}).Marshal(&p.BHS)
		text = text[n:]
		r, err := c.exchange(&p)
		if err != nil {
			return nil, err
		}
		var m iscsi.TextResponse
		if err := m.Unmarshal(&r.BHS); err != nil {
			return nil, err
		}
		if answer = append(answer, r.Data...); len(answer) > maxText {
			return nil, fmt.Errorf("a text of more than %d bytes", maxText)
		}
		if m.Final {
			return iscsi.ParseText(answer, iscsi.TextLimits{Bytes: maxText, Pairs: 65536})
		}
		transfer = m.TargetTransferTag
	}
	return nil, fmt.Errorf("a text exchange of more than 1024 requests")
}
