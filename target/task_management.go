package target

import (
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/isantarget/isantarget/iscsi"
	"github.com/isantarget/isantarget/scsi"
)

// onTaskManagement is RFC 7143 11.5.
func (c *Connection) onTaskManagement() error {
	var p iscsi.TaskManagementRequest
	if err := p.Unmarshal(&c.header); err != nil {
		return c.rejectFatal(iscsi.RejectInvalidPDUField, err)
	}
	s := c.session
	if s.discovery {
		return c.rejectPDU(iscsi.RejectCommandNotSupported)
	}
	if err := c.discardData(c.header.DataSegmentLength()); err != nil {
		return err
	}
	if p.Immediate && !s.beginImmediate() {
		c.reject(iscsi.RejectTooManyImmediate)
		return nil
	}
	// What waits for its turn is taken out here, on the reader, before the command
	// that it waits for can be read.
	recalled := p.Immediate && s.recallFor(&p)
	// The function waits until no affected command can act: not on the reader. That
	// waits only until it is settled which ones are, so that what follows is not.
	c.sequencedLong(p.Immediate, p.CmdSN, func() {
		settled := make(chan struct{})
		go func() {
			if p.Immediate {
				defer s.endImmediate()
			}
			c.manage(&p, recalled, sync.OnceFunc(func() { close(settled) }))
		}()
		<-settled
	})
	return nil
}

// recallFor takes the commands out that p affects, by their number and LUN, and
// that wait for their turn.
func (s *Session) recallFor(p *iscsi.TaskManagementRequest) bool {
	lun := scsi.LUN(p.LUN)
	switch p.Function {
	case iscsi.AbortTask:
		return s.recall(func(t *task) bool { return t.before(p) && t.tag == p.ReferencedTaskTag && t.LUN == lun })
	case iscsi.AbortTaskSet, iscsi.ClearTaskSet, iscsi.LogicalUnitReset:
		return s.units.Load().Has(lun) && s.recall(func(t *task) bool { return t.before(p) && t.LUN == lun })
	case iscsi.NexusReset, iscsi.TargetWarmReset, iscsi.TargetColdReset:
		return s.recall(func(t *task) bool { return t.before(p) })
	}
	return false
}

// before tells whether t was sent before p, by its number.
func (t *task) before(p *iscsi.TaskManagementRequest) bool {
	return iscsi.SerialNumber(t.cmdSN).Less(iscsi.SerialNumber(p.CmdSN))
}

// beginImmediate books an immediate request that takes long; false: there are too many.
func (s *Session) beginImmediate() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.immediate >= maxImmediate {
		return false
	}
	s.immediate++
	return true
}

func (s *Session) endImmediate() {
	s.mu.Lock()
	s.immediate--
	s.mu.Unlock()
}

// manage runs one function and answers it; recalled: a command that it affects
// was taken out already. It calls settled once it is known which commands are affected.
func (c *Connection) manage(p *iscsi.TaskManagementRequest, recalled bool, settled func()) {
	defer settled()
	s := c.session
	if p.Immediate {
		// Commands sent before the function over other connections are affected too
		// (RFC 7143 4.2.2.1); they are on their way.
		s.awaitCommands(p.CmdSN, settled)
		recalled = s.recallFor(p) || recalled
	}
	response := iscsi.FunctionComplete
	if p.Function != iscsi.AbortTask || !recalled {
		response = s.manage(p, settled)
	}
	settled()
	s.log.WithFields(logrus.Fields{"lun": scsi.LUN(p.LUN).String(), "response": response.String()}).Infof("task management: %v", p.Function)
	m := &message{marshal: func(h *iscsi.BHS, sn serialNumbers) {
		r := iscsi.TaskManagementResponse{
			Response: response, InitiatorTaskTag: p.InitiatorTaskTag,
			StatSN: sn.stat, ExpCmdSN: sn.exp, MaxCmdSN: sn.max,
		}
		r.Marshal(h)
	}}
	if p.Function == iscsi.TargetColdReset && response == iscsi.FunctionComplete {
		m.sent = s.node.coldReset
	}
	if !p.Immediate {
		s.window.open()
	}
	c.transmit.send(m)
}

// awaitCommands waits until the commands before cmdSN have arrived, as long as
// a session of several connections may take to bring them. Before it waits it calls
// settled, for the connection has to be read.
func (s *Session) awaitCommands(cmdSN uint32, settled func()) {
	const step = 5 * time.Millisecond
	for range s.entity.limits.HangBound / step {
		if !iscsi.SerialNumber(s.window.exp.Load()).Less(iscsi.SerialNumber(cmdSN)) {
			return
		}
		s.mu.Lock()
		single := len(s.connections) < 2
		s.mu.Unlock()
		if single {
			return
		}
		settled()
		time.Sleep(step)
	}
}

// manage runs p and tells the response of RFC 7143 11.6.1.
func (s *Session) manage(p *iscsi.TaskManagementRequest, settled func()) iscsi.TaskManagementStatus {
	switch p.Function {
	case iscsi.AbortTask, iscsi.QueryTask:
		settled() // the one with that tag
		return s.manageTask(p)
	case iscsi.AbortTaskSet:
		return s.manageUnit(p, scsi.AbortTaskSet, settled)
	case iscsi.ClearTaskSet:
		return s.manageUnit(p, scsi.ClearTaskSet, settled)
	case iscsi.LogicalUnitReset:
		return s.manageUnit(p, scsi.LogicalUnitReset, settled)
	case iscsi.QueryTaskSet:
		return s.manageUnit(p, scsi.QueryTaskSet, settled)
	case iscsi.QueryAsynchronousEvent:
		return s.manageUnit(p, scsi.QueryAsynchronousEvent, settled)
	case iscsi.NexusReset:
		return s.manageAll(p, scsi.ITNexusReset, settled)
	case iscsi.TargetWarmReset, iscsi.TargetColdReset:
		return s.manageAll(p, scsi.LogicalUnitReset, settled)
	case iscsi.TaskReassign:
		return iscsi.ReassignmentNotSupported
	}
	return iscsi.FunctionNotSupported
}

// manageTask is ABORT TASK or QUERY TASK.
func (s *Session) manageTask(p *iscsi.TaskManagementRequest) iscsi.TaskManagementStatus {
	s.mu.Lock()
	t := s.tasks.find(p.ReferencedTaskTag)
	if t != nil && uint64(t.LUN) != p.LUN {
		t = nil
	}
	if t == nil && p.Function == iscsi.QueryTask {
		s.mu.Unlock()
		return iscsi.FunctionComplete // there is no such task: RFC 7144, SAM-5 7.10
	}
	if t == nil {
		skipped := s.window.skip(p.RefCmdSN, p.CmdSN)
		s.mu.Unlock()
		if skipped {
			s.runEarly()
			return iscsi.FunctionComplete
		}
		return iscsi.TaskDoesNotExist
	}
	t.holders.Add(1)
	lun, tag, units := t.LUN, t.Tag, t.Units
	s.mu.Unlock()
	defer t.release()
	lu := units.Find(lun)
	if p.Function == iscsi.QueryTask {
		return taskManagementStatus(lu.Manage(scsi.QueryTask, s.nexus, tag))
	}
	response := lu.AbortTask(&t.Command)
	if response == scsi.FunctionComplete && !t.overtake() {
		return iscsi.TaskDoesNotExist // its response is ahead of this one
	}
	return taskManagementStatus(response)
}

// manageUnit runs f for the logical unit that p names.
func (s *Session) manageUnit(p *iscsi.TaskManagementRequest, f scsi.Function, settled func()) iscsi.TaskManagementStatus {
	lun := scsi.LUN(p.LUN)
	units := s.units.Load()
	if !units.Has(lun) {
		return iscsi.LUNDoesNotExist
	}
	response := units.Find(lun).ManageMarked(f, s.nexus, 0, settled)
	if response == scsi.FunctionComplete && (f == scsi.AbortTaskSet || f == scsi.ClearTaskSet || f == scsi.LogicalUnitReset) {
		s.silence(func(t *task) bool { return t.LUN == lun && t.before(p) })
	}
	return taskManagementStatus(response)
}

// manageAll runs f, which p asks for, for every logical unit of the session, and for
// all of them at once: one that hangs holds up the answer, not the others.
func (s *Session) manageAll(p *iscsi.TaskManagementRequest, f scsi.Function, settled func()) iscsi.TaskManagementStatus {
	var mu sync.Mutex
	var all, marks sync.WaitGroup
	result := iscsi.FunctionComplete
	s.units.Load().Units(func(_ scsi.LUN, lu *scsi.LogicalUnit) {
		marks.Add(1)
		all.Go(func() {
			r := lu.ManageMarked(f, s.nexus, 0, marks.Done)
			mu.Lock()
			defer mu.Unlock()
			if r != scsi.FunctionComplete {
				result = taskManagementStatus(r)
			}
		})
	})
	marks.Wait()
	settled()
	all.Wait()
	if result == iscsi.FunctionComplete {
		s.silence(func(t *task) bool { return t.before(p) })
	}
	return result
}

// silence drops the responses of the tasks that f picks and that have left their task
// sets: those that wait for data which an aborted command will not get, and those that
// would follow the response of the function. Their tags may be others' by then.
func (s *Session) silence(f func(*task) bool) {
	for _, t := range s.tasksOf(func(t *task) bool { return t.given.Load() && f(t) }) {
		t.overtake()
		t.release()
	}
}

// overtake drops the response of a task that has left its task set; false: the
// response is in the transmit queue already.
func (t *task) overtake() bool {
	t.out.mu.Lock()
	t.out.silenced = !t.out.ended
	overtaken := t.out.silenced || t.Silent
	t.out.mu.Unlock()
	return t.silence() || overtaken
}

// silence drops a response that waits for data; false: there is none.
func (t *task) silence() bool {
	d := &t.out
	d.mu.Lock()
	waiting := d.waiting
	d.waiting = false
	d.mu.Unlock()
	if waiting {
		t.Silent = true
		t.respond()
	}
	return waiting
}

func taskManagementStatus(r scsi.Response) iscsi.TaskManagementStatus {
	switch r {
	case scsi.FunctionComplete:
		return iscsi.FunctionComplete
	case scsi.FunctionSucceeded:
		return iscsi.FunctionSucceeded
	case scsi.IncorrectLogicalUnitNumber:
		return iscsi.LUNDoesNotExist
	case scsi.FunctionNotSupported:
		return iscsi.FunctionNotSupported
	}
	return iscsi.FunctionRejected
}

// coldReset ends every session of the node (RFC 7143 11.5.1).
func (n *Node) coldReset() {
	for _, s := range n.all() {
		s.terminate(errColdReset)
	}
}
