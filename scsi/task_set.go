package scsi

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
)

// maxTasks bounds the commands of one logical unit; one more ends with TASK SET FULL.
const maxTasks = 8192

// task is what the logical unit keeps in a Command from Execute until
// SendCommandComplete. What is not atomic belongs to the lock of the task set,
// or to the goroutine that runs the command.
type task struct {
	unit      *LogicalUnit
	operation *Operation // nil for a CDB that no row fits
	work      func()     // runs the command where it may block; made once, kept by Reset
	aborted   atomic.Uint32

	next, previous *Command // in the task set, by age
	start          *Command // in a chain of commands to be started
	barrier        *Command // in a sweep: the next older command with an ordering class
	entry          uint64   // how many commands had entered before it
	pins           int      // task managers that are about to call AbortCommand
	state          taskState
	order          Order
	bystander      bool // of an operation that no ordering class keeps out
	admitted       bool // has passed admit
	hung           bool // outlived the bound of a task manager; see taskSet.hang
	quiet          chan struct{}
	granted        chan struct{} // of a Claim: closed when it becomes enabled

	owes     bool          // has stepped back: it waits for its initiator, see StepBack
	yields   bool          // in a mixed sweep: other nexuses pass it
	anew     bool          // what it was admitted under may have changed while it waited
	wholes   uint64        // taskSet.wholes when it stepped back
	returned chan struct{} // closed when it may go on after StepForward

	signal atomic.Pointer[abortSignal] // made by Done

	senseBuffer [MaxSenseLength]byte
}

// taskState is the state of a command in its task set (SAM-5 8.8).
type taskState uint8

const (
	outside taskState = iota
	dormant
	enabled
)

// Why a command was aborted, in task.aborted.
const (
	notAborted      uint32 = iota
	abortedSilently        // its initiator knows, or is not to know
	abortedByOther         // ends with TASK ABORTED
)

// plain tells whether c is of the common kind: SIMPLE, and beside anything. In
// a set of plain commands every one is enabled.
func (c *Command) plain() bool { return c.Attribute == Simple && c.order == Free }

// passes tells whether c stands before all that is dormant.
func (c *Command) passes() bool { return c.Attribute == HeadOfQueue || c.granted != nil }

// Extent is what c touches by its row. It is worked out when it is asked for, since only
// an exclusive extent in the set makes anybody in the task set ask.
func (c *Command) Extent() Extent {
	if c.operation == nil || c.operation.Extent == nil {
		return Extent{}
	}
	return c.operation.Extent(c.CDB)
}

// conflict tells whether the ordering classes keep a and b apart.
func conflict(a, b *Command) bool {
	switch {
	case a.order == Free && b.order == Free, a.bystander, b.bystander:
		return false
	case a.order == Alone || b.order == Alone:
		return true
	}
	return a.Extent().Overlaps(b.Extent())
}

// A taskSet is the task set of a logical unit (SAM-5 8), one for all nexuses
// (TST 000b). Commands stand in it by age. A command is enabled when nothing
// in the set blocks it any more, and stays so until it leaves:
//
//   - HEAD OF QUEUE: enabled at once;
//   - ORDERED: blocked by every older command and every HEAD OF QUEUE;
//   - SIMPLE: blocked by older ORDERED commands and every HEAD OF QUEUE.
//
// Beside the attributes stand the ordering classes of the rows: two commands
// in conflict do not run together. A SIMPLE command waits for the older ones it
// conflicts with, enabled or not, which lets nobody starve. A HEAD OF QUEUE
// command stands before all that is dormant, so it waits only for those that
// are enabled, and for older ones of its kind. A Claim waits only for those that
// are enabled, and blocks nobody but those it conflicts with: what is dormant may
// wait for the very command that claims.
//
// An aborted command that hangs in a store blocks nobody; while there is one,
// admit refuses what could meet it.
//
// A command that waits for data of its initiator blocks only its own nexus: see
// Command.StepBack.
type taskSet struct {
	mu           sync.Mutex
	head, tail   *Command
	count        int
	limit        int
	dormant      int
	heads        int // HEAD OF QUEUE commands
	dormantHeads int // dormant ones that pass, see Command.passes
	barriers     int // commands that are not plain
	claims       []*Command
	holds        int // while positive nothing is enabled
	entries      uint64
	changed      chan struct{} // closed when a command leaves; made by who waits for it
	hanging      []*Command    // aborted, but not come back from the store: outside the order
	hung         atomic.Int32  // how many are hanging
	owing        int           // commands that have stepped back
	mixed        bool          // what is enabled may have passed what is dormant
	wholes       uint64        // commands that are alone in the set and have passed others
}

// enter puts c into the set. started says that it is enabled and the caller is
// to run it; full, that it was refused.
func (s *taskSet) enter(c *Command) (started, full bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.count >= s.limit && c.quiet == nil && c.granted == nil {
		return false, true
	}
	s.link(c)
	if s.barriers == 0 && s.holds == 0 {
		c.state = enabled
		return true, false
	}
	c.state = dormant
	s.dormant++
	if c.passes() {
		s.dormantHeads++
	}
	// Nobody else can be enabled by an entry.
	return s.sweep() == c, false
}

// departure is what follows when a command has left the set.
type departure struct {
	start    *Command // the chain of those that are enabled by it, for startAll
	complete bool     // the caller is to complete the command; else a task manager does, which still needs it
	ready    bool     // it was the last that hung
}

// leave takes c, which has ended, out of the set.
func (s *taskSet) leave(c *Command) departure {
	d, _ := s.withdraw(c)
	return d
}

// withdraw is leave for one that may have been taken out already: then was is false.
func (s *taskSet) withdraw(c *Command) (d departure, was bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.state == outside {
		return departure{}, false
	}
	if c.hung {
		d.ready = s.comeBack(c)
	} else {
		s.unlink(c)
	}
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
	d.start, d.complete = s.sweep(), c.pins == 0
	return d, true
}

// StandAside gives up the ordering class of c, which is being executed: nobody
// has to wait for it any longer because of what its row says.
func (c *Command) StandAside() {
	s := &c.unit.tasks
	s.mu.Lock()
	if c.order != Free && c.Attribute == Simple && !c.hung {
		s.barriers-- // it is plain now
	}
	c.order = Free
	start := s.sweep()
	s.mu.Unlock()
	startAll(start)
}

func (s *taskSet) link(c *Command) {
	c.entry = s.entries
	s.entries++
	c.previous, c.next = s.tail, nil
	if s.tail == nil {
		s.head = c
	} else {
		s.tail.next = c
	}
	s.tail = c
	s.count++
	if !c.plain() {
		s.barriers++
	}
	if c.Attribute == HeadOfQueue {
		s.heads++
	}
	if c.granted != nil {
		s.claims = append(s.claims, c)
	}
}

func (s *taskSet) unlink(c *Command) {
	if c.previous == nil {
		s.head = c.next
	} else {
		c.previous.next = c.next
	}
	if c.next == nil {
		s.tail = c.previous
	} else {
		c.next.previous = c.previous
	}
	c.next, c.previous = nil, nil
	s.count--
	if !c.plain() {
		s.barriers--
	}
	if c.Attribute == HeadOfQueue {
		s.heads--
	}
	if c.granted != nil {
		s.claims = slices.DeleteFunc(s.claims, func(x *Command) bool { return x == c })
	}
	if c.state == dormant {
		s.noLongerDormant(c)
	}
	if c.owes {
		c.owes = false
		s.owing--
	}
	c.state = outside
}

func (s *taskSet) noLongerDormant(c *Command) {
	s.dormant--
	if c.passes() {
		s.dormantHeads--
	}
}

// sweep enables every dormant command that nothing blocks and gives them as a
// chain. It is one pass over the set; what it must know of the older commands
// it gathers on the way. Without dormant commands it costs nothing.
func (s *taskSet) sweep() (start *Command) {
	if s.dormant == 0 && s.owing == 0 {
		s.mixed = false
	}
	if s.dormant == 0 || s.holds > 0 {
		return nil
	}
	if s.mixed {
		return s.sweepMixed()
	}
	var (
		last     = &start
		ordered  = s.heads > 0 // blocks SIMPLE
		older    = s.heads > 0 // blocks ORDERED
		barriers *Command      // those with an ordering class so far, youngest first
	)
	for c := s.head; c != nil; c = c.next {
		if ordered && s.dormantHeads == 0 {
			break // nobody younger can be enabled
		}
		if c.state == dormant && s.mayStart(c, older, ordered, barriers) {
			s.noLongerDormant(c)
			c.state = enabled
			*last, last = c, &c.start
		}
		older = true
		ordered = ordered || c.Attribute == Ordered
		if c.order != Free {
			c.barrier, barriers = barriers, c
		}
		if s.dormant == 0 {
			break
		}
	}
	*last = nil
	return start
}

// mayStart tells whether nothing blocks c, which is dormant; see taskSet.
func (s *taskSet) mayStart(c *Command, older, ordered bool, barriers *Command) bool {
	for _, x := range s.claims { // they may be younger, and enabled before c
		if x != c && x.state == enabled && conflict(c, x) {
			return false
		}
	}
	switch {
	case c.granted != nil:
		for x := s.head; x != nil; x = x.next {
			if x.state == enabled && conflict(c, x) {
				return false
			}
		}
		return true
	case c.Attribute == HeadOfQueue:
		for x, young := s.head, false; x != nil; x = x.next {
			young = young || x == c
			if (x.state == enabled || x.Attribute == HeadOfQueue && !young) && conflict(c, x) {
				return false
			}
		}
		return true
	case c.Attribute == Ordered:
		return !older && (c.quiet == nil || len(s.hanging) == 0)
	case ordered:
		return false
	case c.order == Free:
		for x := barriers; x != nil; x = x.barrier {
			if conflict(c, x) {
				return false
			}
		}
		return true
	}
	for x := s.head; x != c; x = x.next {
		if conflict(c, x) {
			return false
		}
	}
	return true
}

// hang takes c, which is enabled and aborted but hangs in a store, out of the
// order: what stands behind it is to be told that the unit is not ready, and
// not to wait with it.
func (s *taskSet) hang(c *Command) {
	s.unlink(c)
	s.count++
	c.state, c.hung = enabled, true
	s.hanging = append(s.hanging, c)
	s.hung.Add(1)
}

// comeBack is the end of a command that hung; last says that no other does.
func (s *taskSet) comeBack(c *Command) (last bool) {
	s.hanging = slices.DeleteFunc(s.hanging, func(x *Command) bool { return x == c })
	s.count--
	c.state, c.hung = outside, false
	return s.hung.Add(-1) == 0
}

// startAll starts a chain of enabled commands, each on its own goroutine.
func startAll(start *Command) {
	for c := start; c != nil; {
		next := c.start
		c.start = nil
		switch {
		case c.quiet != nil:
			close(c.quiet)
		case c.granted != nil:
			close(c.granted)
		case c.returned != nil:
			close(c.returned)
		default:
			c.goRun()
		}
		c = next
	}
}

// hold keeps dormant what is dormant and what enters, until release.
func (s *taskSet) hold() {
	s.mu.Lock()
	s.holds++
	s.mu.Unlock()
}

func (s *taskSet) release() {
	s.mu.Lock()
	s.holds--
	start := s.sweep()
	s.mu.Unlock()
	startAll(start)
}

// Quiesce enters a command of the unit's own that is ORDERED and alone: when it
// returns without an error every older command has ended, or waits for data of its
// initiator and begins anew when they have come, and every younger one waits until
// resume is called. If ctx ends first, it gives the error of ctx and
// has changed nothing. Task management does not affect it.
func (lu *LogicalUnit) Quiesce(ctx context.Context) (resume func(), err error) {
	c := &Command{Attribute: Ordered}
	c.unit, c.order, c.quiet = lu, Alone, make(chan struct{})
	if started, _ := lu.tasks.enter(c); started {
		close(c.quiet)
	}
	leave := sync.OnceFunc(func() {
		startAll(lu.tasks.leave(c).start)
	})
	select {
	case <-c.quiet:
		return leave, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}
