package scsi

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/isantarget/isantarget/meter"
)

// A Function is a task management function (SAM-5 7).
type Function uint8

// The task management functions. CLEAR ACA has no place to act, for there is no
// ACA condition.
const (
	AbortTask              Function = iota + 1 // SAM-5 7.2
	AbortTaskSet                               // SAM-5 7.3
	ClearACA                                   // SAM-5 7.4
	ClearTaskSet                               // SAM-5 7.5
	ITNexusReset                               // SAM-5 7.6
	LogicalUnitReset                           // SAM-5 7.7
	QueryTask                                  // SAM-5 7.8
	QueryTaskSet                               // SAM-5 7.9
	QueryAsynchronousEvent                     // SAM-5 7.10
)

// A Response is the service response of a task management function (SAM-5 7.1).
type Response uint8

// The service responses.
const (
	// FunctionComplete: it is done, and no affected command can act any more; or
	// what a query asks for is not there.
	FunctionComplete Response = iota
	// FunctionSucceeded: what a query asks for is there.
	FunctionSucceeded
	// FunctionRejected: an affected command still acts.
	FunctionRejected
	// FunctionNotSupported: the logical unit does not know the function.
	FunctionNotSupported
	// IncorrectLogicalUnitNumber: no logical unit has the LUN.
	IncorrectLogicalUnitNumber
)

// Manage runs a task management function for nexus n (SAM-5 7); tag is the command's
// for ABORT TASK and QUERY TASK. When it returns FunctionComplete no affected command
// can act any more. It waits at most HangBound for commands that hang in a store: then it
// returns FunctionRejected and the unit is not ready until they end.
//
// A command that ended just before may still be on its way through
// SendCommandComplete: the port sends that response before the one of the function,
// or not at all. Manage waits, so it is not for the goroutine that reads a connection.
func (lu *LogicalUnit) Manage(f Function, n *Nexus, tag Tag) Response {
	return lu.ManageMarked(f, n, tag, nil)
}

// AbortTask is ABORT TASK of Manage for c itself, of which the port knows that it has not
// been used again: it may have ended meanwhile, and another command have its tag.
func (lu *LogicalUnit) AbortTask(c *Command) Response {
	if lu.absent {
		return IncorrectLogicalUnitNumber
	}
	return lu.abort(c.Nexus, func(x *Command) bool { return x == c }, nil)
}

// ManageMarked is Manage that calls marked, unless it is nil, as soon as it is settled
// which commands are affected: those that come later are not. That takes no time, so
// the goroutine that reads a connection can wait for it, and what follows the function
// in the order of the port is left alone.
func (lu *LogicalUnit) ManageMarked(f Function, n *Nexus, tag Tag, marked func()) Response {
	if marked != nil {
		marked = sync.OnceFunc(marked)
		defer marked()
	}
	if lu.absent {
		return IncorrectLogicalUnitNumber
	}
	mine := func(c *Command) bool { return c.Nexus == n }
	one := func(c *Command) bool { return c.Nexus == n && c.Tag == tag }
	all := func(*Command) bool { return true }
	switch f {
	case AbortTask:
		return lu.abortMarked(n, one, nil, marked)
	case AbortTaskSet:
		return lu.abortMarked(n, mine, nil, marked)
	case ClearTaskSet:
		return lu.abortMarked(n, all, lu.tellCleared, marked)
	case LogicalUnitReset:
		return lu.reset(n, marked)
	case ITNexusReset:
		response := lu.abortMarked(n, mine, nil, marked)
		if response == FunctionComplete {
			lu.lose(n)
		}
		return response
	case QueryTask:
		return found(lu.tasks.any(one))
	case QueryTaskSet:
		return found(lu.tasks.any(mine))
	case QueryAsynchronousEvent:
		_, depth := lu.PendingAttention(n)
		return found(depth > 0)
	}
	return FunctionNotSupported
}

func found(yes bool) Response {
	if yes {
		return FunctionSucceeded
	}
	return FunctionComplete
}

// NexusLost is the I_T nexus loss event (SAM-5 6.3.4): the nexus's commands are aborted,
// its RESERVE is released. It waits as Manage does; whatever hangs, the rest is done.
func (lu *LogicalUnit) NexusLost(n *Nexus) {
	if lu.absent {
		return
	}
	lu.abort(n, func(c *Command) bool { return c.Nexus == n }, nil)
	if lu.detach(n) {
		lu.lose(n)
		lu.abort(n, latecomer(n), nil)
	}
}

// latecomer picks what came while the loss of n was on its way: a copy in the background
// hears of it from lose, and may have made one more claim before it did. What hangs was
// waited for already.
func latecomer(n *Nexus) func(*Command) bool {
	return func(c *Command) bool { return c.Nexus == n && !c.hung }
}

// lose is what an I_T nexus loss changes beside the task set.
func (lu *LogicalUnit) lose(n *Nexus) {
	lu.Release(n)
	lu.Device.NexusLost(n)
	lu.Attention(ASCITNexusLossOccurred, n, nil)
}

// reset is LOGICAL UNIT RESET (SAM-5 6.3.3) by n. New commands wait until it is done.
func (lu *LogicalUnit) reset(n *Nexus, marked func()) Response {
	lu.tasks.hold()
	defer lu.tasks.release()
	if response := lu.abortMarked(n, func(*Command) bool { return true }, nil, marked); response != FunctionComplete {
		return response
	}
	lu.endReserve(nil)
	lu.resetModePages()
	lu.Device.Reset()
	lu.Attention(ASCBusDeviceResetFunctionOccurred, nil, nil)
	return FunctionComplete
}

// abort aborts the commands now in the task set that affected picks, for n, and
// waits until they have left it. Those of n go silently (SAM-5 5.6); those of others
// end with TASK ABORTED, or silently where TAS is zero: then tell, if not nil, hears
// which nexuses have lost commands.
func (lu *LogicalUnit) abort(n *Nexus, affected func(*Command) bool, tell func(*Nexus)) Response {
	return lu.abortMarked(n, affected, tell, nil)
}

// abortMarked is abort that calls marked, unless it is nil, once it has picked.
func (lu *LogicalUnit) abortMarked(n *Nexus, affected func(*Command) bool, tell func(*Nexus), marked func()) Response {
	if hanging := lu.abortPicked(n, lu.modes.taskAborted.Load(), affected, tell, marked); len(hanging) > 0 {
		return FunctionRejected
	}
	return FunctionComplete
}

// abortAll is abort with TAS; hanging are the commands that hang in the store.
func (lu *LogicalUnit) abortAll(n *Nexus, tas bool, affected func(*Command) bool, tell func(*Nexus)) (hanging []string) {
	return lu.abortPicked(n, tas, affected, tell, nil)
}

// abortPicked is abortAll that calls marked, unless it is nil, once it has picked.
func (lu *LogicalUnit) abortPicked(n *Nexus, tas bool, affected func(*Command) bool, tell func(*Nexus), marked func()) (hanging []string) {
	asleep, awake, others, last := lu.tasks.abort(n, tas, affected)
	if marked != nil {
		marked()
	}
	for _, c := range asleep {
		c.Watch.Lap(meter.Queue, meter.Now())
		c.completeFor(n)
	}
	for _, c := range awake {
		c.Delivery.AbortCommand()
		c.signalAbort()
		if lu.tasks.unpin(c) {
			c.completeFor(n)
		}
	}
	if !tas && tell != nil {
		for x := range others {
			tell(x)
		}
	}
	hanging = lu.tasks.wait(lu.HangBound, func(c *Command) bool { return c.entry < last && affected(c) })
	if len(hanging) > 0 {
		lu.report(fmt.Errorf("aborted, but hanging in the store for %v: %s; not ready until they end", lu.HangBound, strings.Join(hanging, ", ")))
	}
	return hanging
}

// completeFor gives c back to its port in the name of a task manager for n. It does
// not wait for a peer, which may take no responses: not for that of n, for whom others
// may be kept waiting meanwhile (reset), and that of another nexus goes on its own.
func (c *Command) completeFor(n *Nexus) {
	if c.Nexus == n {
		c.MayBlock = false
		c.complete()
	} else {
		c.MayBlock = true
		go c.complete()
	}
}

// tellCleared establishes the unit attention for a nexus whose commands another one
// has cleared in silence (SAM-5 5.6.1).
func (lu *LogicalUnit) tellCleared(n *Nexus) {
	lu.Attention(ASCCommandsClearedByAnotherInitiator, n, nil)
}

// abort marks the affected commands. asleep are those that were dormant and have
// left the set; awake are enabled and pinned: the caller calls AbortCommand for each,
// then unpin. others are the nexuses beside n that lose commands, and last is the
// first entry that is not affected any more.
func (s *taskSet) abort(n *Nexus, tas bool, affected func(*Command) bool) (asleep, awake []*Command, others map[*Nexus]bool, last uint64) {
	s.mu.Lock()
	others = map[*Nexus]bool{}
	for _, c := range s.pick(affected) {
		how := abortedSilently
		if c.Nexus != n {
			others[c.Nexus] = true
			if tas {
				how = abortedByOther
			}
		}
		c.aborted.CompareAndSwap(notAborted, how)
		if c.state == dormant && !c.returning() {
			s.unlink(c)
			asleep = append(asleep, c)
			continue
		}
		c.pins++
		awake = append(awake, c)
	}
	last = s.entries
	start := s.sweep()
	s.mu.Unlock()
	startAll(start)
	return asleep, awake, others, last
}

// unpin ends a pin of abort. It tells whether c has ended meanwhile, and the
// caller is to complete it.
func (s *taskSet) unpin(c *Command) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.pins--
	return c.pins == 0 && c.state == outside
}

// pick gives the commands in the set that f picks, those that hang included and
// those of the unit's own not. s.mu is held.
func (s *taskSet) pick(f func(*Command) bool) (picked []*Command) {
	for c := s.head; c != nil; c = c.next {
		if c.quiet == nil && f(c) {
			picked = append(picked, c)
		}
	}
	for _, c := range s.hanging {
		if f(c) {
			picked = append(picked, c)
		}
	}
	return picked
}

// any tells whether a command in the set is picked.
func (s *taskSet) any(picked func(*Command) bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.pick(picked)) > 0
}

// wait waits until no picked command is left in the set, but at most for bound.
// Those that are still there it lets hang, and names.
func (s *taskSet) wait(bound time.Duration, picked func(*Command) bool) (hanging []string) {
	timer := time.NewTimer(bound)
	defer timer.Stop()
	for {
		changed := s.watch(picked)
		if changed == nil {
			return nil
		}
		select {
		case <-changed:
		case <-timer.C:
			return s.giveUp(picked)
		}
	}
}

// watch gives nil if no picked command is in the set, else a channel that is
// closed when a command leaves.
func (s *taskSet) watch(picked func(*Command) bool) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.pick(picked)) == 0 {
		return nil
	}
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	return s.changed
}

// giveUp lets the picked commands, which are aborted, hang.
func (s *taskSet) giveUp(picked func(*Command) bool) (hanging []string) {
	s.mu.Lock()
	for _, c := range s.pick(picked) {
		if !c.hung {
			s.hang(c)
		}
		hanging = append(hanging, fmt.Sprintf("%s (tag %#x of %v)", c.name(), uint32(c.Tag), c.Nexus.Initiator))
	}
	start := s.sweep()
	s.mu.Unlock()
	startAll(start)
	return hanging
}
