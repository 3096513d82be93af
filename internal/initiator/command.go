package initiator

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/isantarget/isantarget/iscsi"
)

// A Command is a SCSI command and how it is sent. What is zero or nil goes the way
// of a well-behaved initiator.
type Command struct {
	LUN       uint64 // as the wire has it: LUN n below 256 is n<<48
	CDB       []byte // more than 16 bytes go into an AHS
	Read      int    // bytes expected
	Write     []byte // bytes offered
	Attribute uint8  // 0: SIMPLE
	Immediate bool

	Expected *uint32 // Expected Data Transfer Length in place of the true one
	Tag      *uint32 // initiator task tag in place of the next one
	CmdSN    *uint32 // in place of the next one, which is then not used up

	ImmediateData   *int // bytes that go with the command, in place of as many as agreed
	UnsolicitedData *int // bytes that go without being asked for, immediate data among them
	SegmentLength   int  // bytes of a Data-Out, in place of the target's MaxRecvDataSegmentLength
	HoldData        bool // R2Ts are kept in Task.R2Ts and not answered
	IgnoreWindow    bool // send even when MaxCmdSN forbids it

	Edit        Edit // of the SCSI Command
	EditDataOut Edit // of each Data-Out
}

// A Result is how a SCSI command ended.
type Result struct {
	Response  uint8
	Status    uint8
	Sense     []byte // without its length
	Data      []byte // what was read
	Overflow  bool
	Underflow bool
	Residual  uint32

	DataIns   []iscsi.DataIn
	Collapsed bool // the status came with the data
}

// LUN returns the wire form of a logical unit number below 256 (SAM-5 4.7.7.2,
// peripheral device addressing).
func LUN(n uint8) uint64 { return uint64(n) << 48 }

// Start sends a command, and the data that goes with it unasked. It first reads until
// the command window is open.
func (c *Connection) Start(cmd Command) (*Task, error) {
	s := c.Session
	for end := c.deadline(); !cmd.Immediate && !cmd.IgnoreWindow && cmd.CmdSN == nil && !s.windowOpen(); {
		if time.Now().After(end) {
			return nil, fmt.Errorf("the command window stays closed for %v", c.Timeout)
		}
		if err := c.Pump(); err != nil {
			return nil, fmt.Errorf("waiting for the command window to open: %w", err)
		}
	}
	t := &Task{Command: cmd, opcode: iscsi.OpSCSICommand}
	if cmd.Tag != nil {
		t.Tag = *cmd.Tag
	} else {
		t.Tag = s.NextTag()
	}
	if cmd.CmdSN != nil {
		t.CmdSN = *cmd.CmdSN
	} else {
		t.CmdSN = s.take(cmd.Immediate)
	}
	c.register(t)
	immediate, unsolicited := c.unasked(&cmd)
	p := t.header(unsolicited > immediate)
	p.Data = cmd.Write[:immediate]
	faults := cmd.Edit.apply(p)
	if err := c.Send(p, faults); err != nil {
		return nil, err
	}
	if unsolicited > immediate {
		return t, t.SendData(iscsi.ReservedTag, immediate, unsolicited-immediate)
	}
	return t, nil
}

// unasked returns how many bytes go with the command, and how many unsolicited in
// all (RFC 7143 13.10, 13.11, 13.14).
func (c *Connection) unasked(cmd *Command) (immediate, unsolicited int) {
	p := &c.Session.Parameters
	if p.ImmediateData {
		immediate = min(len(cmd.Write), p.FirstBurstLength, c.MaxSend)
	}
	if cmd.ImmediateData != nil {
		immediate = *cmd.ImmediateData
	}
	unsolicited = immediate
	if !p.InitialR2T {
		unsolicited = min(len(cmd.Write), p.FirstBurstLength)
	}
	if cmd.UnsolicitedData != nil {
		unsolicited = *cmd.UnsolicitedData
	}
	return immediate, max(immediate, unsolicited)
}

func (t *Task) header(more bool) *PDU {
	cmd := &t.Command
	h := iscsi.SCSICommand{
		Immediate: cmd.Immediate, Final: !more, Read: cmd.Read > 0, Write: len(cmd.Write) > 0, Attribute: cmd.Attribute,
		LUN: cmd.LUN, InitiatorTaskTag: t.Tag, CmdSN: t.CmdSN, ExpStatSN: t.c.ExpStatSN,
		Length: uint32(max(cmd.Read, len(cmd.Write))),
	}
	if h.Attribute == iscsi.AttributeUntagged {
		h.Attribute = iscsi.AttributeSimple
	}
	if cmd.Expected != nil {
		h.Length = *cmd.Expected
	}
	p := new(PDU)
	n := copy(h.CDB[:], cmd.CDB)
	if n < len(cmd.CDB) {
		p.AHS = iscsi.AppendExtendedCDB(nil, cmd.CDB[n:])
	}
	h.Marshal(&p.BHS)
	return p
}

// SendData sends a sequence of Data-Outs with the bytes [offset, offset+length) of
// the command's data, under the tag of an R2T or, unsolicited, ReservedTag.
func (t *Task) SendData(tag uint32, offset, length int) error {
	size := t.Command.SegmentLength
	if size == 0 {
		size = t.c.MaxSend
	}
	for sn, end := uint32(0), offset+length; offset < end; sn++ {
		n := min(size, end-offset)
		d := iscsi.DataOut{Final: offset+n == end, LUN: t.Command.LUN, InitiatorTaskTag: t.Tag, TargetTransferTag: tag,
			ExpStatSN: t.c.ExpStatSN, DataSN: sn, BufferOffset: uint32(offset)}
		p := PDU{Data: t.Command.Write[offset : offset+n]}
		d.Marshal(&p.BHS)
		faults := t.Command.EditDataOut.apply(&p)
		if err := t.c.Send(&p, faults); err != nil {
			return err
		}
		offset += n
	}
	return nil
}

// Answer sends what an R2T asks for.
func (t *Task) Answer(r iscsi.R2T) error {
	return t.SendData(r.TargetTransferTag, int(r.BufferOffset), int(r.Length))
}

// Wait reads until the command has ended.
func (t *Task) Wait() (*Result, error) {
	if err := t.await(); err != nil {
		return nil, err
	}
	return &t.Result, nil
}

// WaitR2T reads until n R2Ts have come for the command in all, or it has ended.
func (t *Task) WaitR2T(n int) error {
	for end := t.c.deadline(); len(t.R2Ts) < n && !t.done; {
		if time.Now().After(end) {
			return fmt.Errorf("no R2T %d after %v", n, t.c.Timeout)
		}
		if err := t.c.Pump(); err != nil {
			return fmt.Errorf("waiting for R2T %d: %w", n, err)
		}
	}
	if len(t.R2Ts) < n {
		return fmt.Errorf("the command ended with status %02x after %d R2Ts, %d were expected", t.Result.Status, len(t.R2Ts), n)
	}
	return nil
}

// Execute is Start and Wait.
func (c *Connection) Execute(cmd Command) (*Result, error) {
	t, err := c.Start(cmd)
	if err != nil {
		return nil, err
	}
	return t.Wait()
}

// expected is the Expected Data Transfer Length as it was sent.
func (t *Task) expected() int {
	if t.Command.Expected != nil {
		return int(*t.Command.Expected)
	}
	return max(t.Command.Read, len(t.Command.Write))
}

func (t *Task) onDataIn(p *PDU) error {
	var d iscsi.DataIn
	if err := d.Unmarshal(&p.BHS); err != nil {
		return err
	}
	r := &t.Result
	t.burst += len(p.Data)
	switch {
	case t.Command.Read == 0:
		return violation("11.7", "Data-In for a command that does not read")
	case int(d.BufferOffset) != len(r.Data):
		return violation("11.7.6", "data at %d, expected at %d (DataPDUInOrder and DataSequenceInOrder are Yes)", d.BufferOffset, len(r.Data))
	case len(r.Data)+len(p.Data) > t.expected():
		return violation("11.4.5", "%d bytes of data, %d were expected", len(r.Data)+len(p.Data), t.expected())
	}
	if err := t.judgeSequence(d.DataSN); err != nil {
		return err
	}
	t.dataIns++
	r.Data = append(r.Data, p.Data...)
	r.DataIns = append(r.DataIns, d)
	if d.Final {
		t.burst = 0
	}
	if !d.HasStatus {
		return t.c.judge(t.c.Session.advance(d.ExpCmdSN, d.MaxCmdSN))
	}
	r.Collapsed, r.Status = true, d.Status
	r.Overflow, r.Underflow, r.Residual = d.Overflow, d.Underflow, d.Residual
	t.finish(p)
	if err := t.c.account(p, true); err != nil {
		return err
	}
	return t.judgeResidual()
}

// judgeSequence holds the number of a Data-In and the length of its sequence against
// the rules.
func (t *Task) judgeSequence(dataSN uint32) error {
	if dataSN != t.dataIns {
		if err := t.c.judge(violation("11.7.5", "DataSN %d, expected %d", dataSN, t.dataIns)); err != nil {
			return err
		}
	}
	if limit := t.c.Session.Parameters.MaxBurstLength; t.burst > limit {
		return t.c.judge(violation("13.13", "a sequence of %d bytes, MaxBurstLength is %d", t.burst, limit))
	}
	return nil
}

func (t *Task) onR2T(p *PDU) error {
	var r iscsi.R2T
	if err := r.Unmarshal(&p.BHS); err != nil {
		return err
	}
	limit := t.c.Session.Parameters.MaxBurstLength
	switch {
	case int(r.R2TSN) != len(t.R2Ts):
		return violation("11.8.2", "R2TSN %d, expected %d", r.R2TSN, len(t.R2Ts))
	case int(r.Length) > limit:
		return violation("11.8.4", "an R2T for %d bytes, MaxBurstLength is %d", r.Length, limit)
	case int(r.BufferOffset)+int(r.Length) > t.expected():
		return violation("11.8.4", "an R2T for %d bytes at %d, the command has %d", r.Length, r.BufferOffset, t.expected())
	case r.LUN != t.Command.LUN:
		return violation("11.8.5", "an R2T for LUN %016x, the command is for %016x", r.LUN, t.Command.LUN)
	}
	t.R2Ts = append(t.R2Ts, r)
	if err := t.c.account(p, false); err != nil || t.Command.HoldData {
		return err
	}
	return t.Answer(r)
}

func (t *Task) onSCSIResponse(p *PDU) error {
	var m iscsi.SCSIResponse
	if err := m.Unmarshal(&p.BHS); err != nil {
		return err
	}
	r := &t.Result
	r.Response, r.Status = m.Response, m.Status
	r.Overflow, r.Underflow, r.Residual = m.Overflow, m.Underflow, m.Residual
	if len(p.Data) > 0 {
		if len(p.Data) < 2 || int(binary.BigEndian.Uint16(p.Data)) > len(p.Data)-2 {
			return violation("11.4.7", "sense data of %x", p.Data)
		}
		r.Sense = p.Data[2 : 2+int(binary.BigEndian.Uint16(p.Data))]
	}
	t.finish(p)
	if err := t.c.account(p, true); err != nil {
		return err
	}
	if sent := t.dataIns + uint32(len(t.R2Ts)); m.Response == iscsi.ResponseCompleted && m.ExpDataSN != sent {
		if err := t.c.judge(violation("11.4.8", "ExpDataSN %d after %d Data-In and R2T", m.ExpDataSN, sent)); err != nil {
			return err
		}
	}
	if t.burst != 0 {
		if err := t.c.judge(violation("11.7.1", "the last Data-In before the SCSI Response is not final")); err != nil {
			return err
		}
	}
	return t.judgeResidual()
}

// judgeResidual holds the residual of a read that ended well against the data.
func (t *Task) judgeResidual() error {
	r := &t.Result
	if r.Status != 0 || r.Response != iscsi.ResponseCompleted || t.Command.Read == 0 {
		return nil
	}
	missing := t.expected() - len(r.Data)
	if r.Underflow && int(r.Residual) == missing || !r.Underflow && missing == 0 {
		return nil
	}
	return t.c.judge(violation("11.4.5", "%d of %d bytes read, underflow %v, residual %d", len(r.Data), t.expected(), r.Underflow, r.Residual))
}

// SenseCode returns the sense key and the additional sense code with its qualifier,
// from fixed (70h, 71h) or descriptor (72h, 73h) sense data (SPC-4 4.5).
func (r *Result) SenseCode() (key uint8, code uint16) {
	s := r.Sense
	switch {
	case len(s) >= 14 && s[0]&0x7e == 0x70:
		return s[2] & 0x0f, binary.BigEndian.Uint16(s[12:])
	case len(s) >= 4 && s[0]&0x7e == 0x72:
		return s[1] & 0x0f, binary.BigEndian.Uint16(s[2:])
	}
	return 0, 0
}
