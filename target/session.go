package target

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/isantarget/isantarget/iscsi"
	"github.com/isantarget/isantarget/meter"
	"github.com/isantarget/isantarget/scsi"
)

// maxImmediate bounds the immediate commands a session has open beside its
// window; they take no CmdSN, so the window does not bound them.
const maxImmediate = 16

// What Session.admit says beside the placements of a commandWindow.
const (
	tooMany placement = iota + 100 // immediate commands
	inUse                          // the Initiator Task Tag is
	now                            // it is immediate
)

// A Session is an I_T nexus over one or more connections (RFC 7143 4.4.2). It
// alone counts CmdSN, and commands are given to logical units in its order.
type Session struct {
	entity     *Entity
	node       *Node // nil in a discovery session
	group      *PortalGroup
	nexus      *scsi.Nexus
	initiator  iscsi.Name
	alias      string
	isid       iscsi.ISID
	tsih       uint16
	discovery  bool
	rule       string // label of the rule that admits it; mu guards it
	known      bool   // see SessionInfo; mu guards it
	proof      string // the CHAP user that the initiator has proven to be; empty: none
	parameters sessionParameters
	since      time.Time
	log        *logrus.Entry
	units      atomic.Pointer[scsi.UnitMap]
	mapping    sync.Mutex // held while units is replaced, and what it leads to attached and detached
	lost       bool       // the nexus is lost: units is replaced no more; mapping guards it
	window     commandWindow
	memory     purse
	free       freeList
	flow       meter.Flow

	// ordering is held while a command is given to its logical unit in a session
	// that may have several connections, so that they cannot change the order of CmdSN.
	ordering sync.Mutex

	mu          sync.Mutex
	tasks       taskTable
	immediate   int
	earlyBytes  int // see maxEarlyBytes
	connections []*Connection
	begun       bool // it is its node's: others may join it
	ending      bool
	owed        time.Duration // requestLogout found nobody to tell; 0: nothing is owed
	leaving     bool          // a logout is being carried out: commands are ignored
	losing      sync.Once     // loseNexus
	broken      atomic.Bool   // a connection has ended otherwise than by a logout
	done        chan struct{} // closed when nothing of the session can act any more
}

// admit takes a slot for the command p if the window allows it.
func (s *Session) admit(c *Connection, p *iscsi.SCSICommand, long []byte) (placement, *task) {
	t := s.free.take()
	if t == nil {
		t = &task{session: s}
	}
	s.mu.Lock()
	where := now
	switch {
	case s.leaving, !p.Immediate && !s.window.contains(p.CmdSN):
		where = outside
	case p.Immediate && s.immediate >= maxImmediate:
		where = tooMany
	case s.tasks.find(p.InitiatorTaskTag) != nil:
		where = inUse
	default:
		t.start(c, p, long)
		s.tasks.insert(t)
		if p.Immediate {
			s.immediate++
		}
	}
	s.mu.Unlock()
	if where != now {
		s.free.put(t)
		return where, nil
	}
	return where, t
}

// deliver gives t to its logical unit when its turn has come, and after it
// what waited for it. errRelieved: another reader has taken over meanwhile.
func (c *Connection) deliver(t *task, p *iscsi.SCSICommand) error {
	held := c.post.held()
	early := false
	if p.Immediate {
		t.execute()
	} else {
		early, _ = c.session.inOrder(c, p.CmdSN, t, 0, nil)
	}
	if err := c.post.end(held); err != nil {
		return err
	}
	if early {
		c.session.runEarly()
	}
	return nil
}

// sequenced runs f when the PDU with that CmdSN is due: at once if it is
// immediate, later if others are missing, never if it is a duplicate. Later it runs
// on the reader of whichever connection brings what was missing. f takes no time, so
// the place in the window is free again at once. f keeps data; an error ends the
// connection: what waits for its turn keeps too much.
func (c *Connection) sequenced(immediate bool, cmdSN uint32, data []byte, f func()) error {
	return c.inTurn(immediate, cmdSN, len(data), func() {
		if !immediate {
			c.session.window.open()
		}
		f()
	})
}

// sequencedLong is sequenced for what goes on after f has returned: its place in the
// window is free when answered says so, or a peer could have begun any number of them.
func (c *Connection) sequencedLong(immediate bool, cmdSN uint32, f func()) {
	_ = c.inTurn(immediate, cmdSN, 0, f) // it keeps no data, so never too much
}

// inTurn runs f when its turn has come, and after it what waited for it; until then f
// keeps n bytes.
func (c *Connection) inTurn(immediate bool, cmdSN uint32, n int, f func()) error {
	if immediate {
		f()
		return nil
	}
	early, err := c.session.inOrder(c, cmdSN, nil, n, f)
	if early {
		c.session.runEarly()
	}
	return err
}

// maxEarlyBytes bounds what the data of requests that are no commands, and have come
// before their turn, take in a session.
const maxEarlyBytes = 1 << 20

var errEarlyBytes = fmt.Errorf("requests that came before their turn (CmdSN) keep more than %d bytes of data", maxEarlyBytes)

// inOrder is the one place where CmdSN advances: t is executed or f run, which came
// over c, when the number is due; waiting tells that others may have waited for it.
// n is how many bytes f keeps until then: with too many it is an error.
func (s *Session) inOrder(c *Connection, cmdSN uint32, t *task, n int, f func()) (waiting bool, err error) {
	if s.parameters.maxConnections > 1 {
		s.ordering.Lock()
		defer s.ordering.Unlock()
	}
	s.mu.Lock()
	where := s.window.place(cmdSN)
	if where == early {
		if n > maxEarlyBytes-s.earlyBytes {
			s.mu.Unlock()
			return false, errEarlyBytes
		}
		s.earlyBytes += n
		if t != nil {
			t.waits = true
			t.Linger, t.Gathering = nil, nil // nobody is at the post while what came early is run
		}
		s.window.hold(cmdSN, func() {
			s.letGo(n)
			s.run(t, f)
			c.transmit.flush(false) // another connection's reader runs this
		})
	}
	waiting = s.window.ahead > 0
	s.mu.Unlock()
	if where != inOrder {
		if where == outside && t != nil {
			t.abandon()
		}
		return false, nil
	}
	s.run(t, f)
	return waiting, nil
}

// letGo books that n bytes of what came early are kept no more.
func (s *Session) letGo(n int) {
	if n > 0 {
		s.mu.Lock()
		s.earlyBytes -= n
		s.mu.Unlock()
	}
}

// runEarly runs what came early and is due now.
func (s *Session) runEarly() {
	s.ordering.Lock()
	defer s.ordering.Unlock()
	for {
		s.mu.Lock()
		deliver, ok := s.window.next()
		s.mu.Unlock()
		switch {
		case !ok:
			return
		case deliver == nil: // skipped by task management
			s.window.open()
		default:
			deliver()
		}
	}
}

func (s *Session) run(t *task, f func()) {
	if t != nil {
		t.execute()
		return
	}
	f()
}

// recall takes the commands out that f picks and that wait for their turn: no
// logical unit knows them yet. It tells whether there were any.
func (s *Session) recall(f func(*task) bool) bool {
	if s.parameters.maxConnections > 1 {
		s.ordering.Lock() // what has left the window has arrived in its task set
		defer s.ordering.Unlock()
	}
	recalled := s.tasksOf(func(t *task) bool {
		return t.waits && f(t) && s.window.recall(t.cmdSN)
	})
	for _, t := range recalled {
		t.abandon()
		t.release()
	}
	return len(recalled) > 0
}

// abandon frees a task that no logical unit has seen, without an answer.
func (t *task) abandon() {
	t.answered = true // it took no CmdSN, so its end opens no place in the window
	t.Silent = true
	t.respond()
}

// answered books the end of a command: once its response is on its way the
// initiator may send one more.
func (s *Session) answered(t *task) {
	if !t.answered {
		t.answered = true
		if !t.immediate {
			s.window.open()
		}
	}
}

// forget takes the tag of t out of the table.
func (s *Session) forget(t *task) {
	s.mu.Lock()
	s.tasks.remove(t)
	if t.immediate {
		s.immediate--
	}
	s.mu.Unlock()
}

// hold finds the task of tag that came over c, and holds it; nil: there is none.
func (s *Session) hold(tag uint32, c *Connection) *task {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tasks.find(tag)
	if t == nil || t.connection != c {
		return nil
	}
	t.holders.Add(1)
	return t
}

// recycle takes a slot back that nobody holds.
func (s *Session) recycle(t *task) { s.free.put(t) }

// stillWaitsForData tells whether a command of c waits for Data-Out that waited already
// when this was asked before.
func (s *Session) stillWaitsForData(c *Connection) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	waits := false
	s.tasks.each(func(t *task) {
		if t.connection == c {
			t.out.mu.Lock()
			waits = waits || t.out.open() && t.out.seen
			t.out.seen = t.out.open()
			t.out.mu.Unlock()
		}
	})
	return waits
}

// tasksOf lists the tasks that f picks.
func (s *Session) tasksOf(f func(*task) bool) []*task {
	s.mu.Lock()
	defer s.mu.Unlock()
	var picked []*task
	s.tasks.each(func(t *task) {
		if f(t) {
			t.holders.Add(1)
			picked = append(picked, t)
		}
	})
	return picked
}

var (
	errSessionEnded = errors.New("the session has ended")
	errReinstated   = errors.New("reinstated by a new login (RFC 7143 6.3.5)")
	errDraining     = errors.New("the target is shutting down")
)

// join adds c, with the connection ID cid, to the session. A connection that has
// the same one is to be replaced: it is returned, and still there.
func (s *Session) join(c *Connection, cid uint16) (old *Connection, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !s.begun:
		return nil, refuse(iscsi.LoginSessionDoesNotExist, "its leading connection has not logged in yet")
	case s.ending:
		return nil, refuse(iscsi.LoginSessionDoesNotExist, "the session is ending")
	}
	staying := 0 // one that has logged out may still be there for a moment
	for _, o := range s.connections {
		if o.cid == cid {
			old = o
		}
		if !o.clean.Load() {
			staying++
		}
	}
	if old == nil && staying >= s.parameters.maxConnections {
		return nil, refuse(iscsi.LoginTooManyConnections, "the session has %d connections, as many as were agreed (MaxConnections)", staying)
	}
	s.connections = append(s.connections, c)
	return old, nil
}

// unjoin takes a connection out again whose login came to nothing after join.
func (s *Session) unjoin(c *Connection) {
	s.mu.Lock()
	s.connections = slices.DeleteFunc(s.connections, func(o *Connection) bool { return o == c })
	last := len(s.connections) == 0
	s.ending = s.ending || last
	s.mu.Unlock()
	if last {
		s.end()
	}
}

// connectionLost is called once by the reader of c when it has ended. Its
// commands have nobody to answer to. Without error recovery an unclean end of
// one connection ends the session (RFC 7143 7.1.5), since what it had on the
// way would be missing from the order of commands for ever.
func (s *Session) connectionLost(c *Connection) {
	s.drop(c)
	s.mu.Lock()
	s.connections = slices.DeleteFunc(s.connections, func(o *Connection) bool { return o == c })
	rest := slices.Clone(s.connections)
	last := len(rest) == 0
	if last || !c.clean.Load() {
		s.ending = true
	}
	s.mu.Unlock()
	c.logEnd()
	if last {
		s.end()
		return
	}
	if !c.clean.Load() {
		for _, o := range rest {
			o.fail(errSessionEnded)
		}
		return
	}
	s.abort(func(t *task) bool { return t.connection == c })
}

// drop tells the commands of c that no data will come.
func (s *Session) drop(c *Connection) {
	for _, t := range s.tasksOf(func(t *task) bool { return t.connection == c }) {
		t.drop()
		t.release()
	}
}

// drop ends the waits of a task whose connection is gone.
func (t *task) drop() {
	d := &t.out
	d.mu.Lock()
	d.dropped = true
	respond := d.waiting
	d.waiting = false
	d.mu.Unlock()
	if respond {
		t.respond()
		return
	}
	d.signal()
}

// abort aborts the tasks that f picks, and waits for them: for all at once, since each may
// hang in a store, and what the initiator sends meanwhile may have their tags.
func (s *Session) abort(f func(*task) bool) {
	s.recall(f)
	var all sync.WaitGroup
	for _, t := range s.tasksOf(f) {
		s.mu.Lock()
		lu := t.Units.Find(t.LUN)
		s.mu.Unlock()
		all.Go(func() {
			lu.AbortTask(&t.Command)
			t.release()
		})
	}
	all.Wait()
}

// end is the I_T nexus loss (SAM-5 6.3.4): nothing of the session acts after it.
func (s *Session) end() {
	s.losing.Do(s.loseNexus)
	for _, t := range s.tasksOf(func(*task) bool { return true }) {
		t.abandonEarly()
		t.release()
	}
	s.entity.removeSession(s)
	close(s.done)
}

// loseNexus tells the logical units of the loss, and waits until nothing of the
// session acts there.
func (s *Session) loseNexus() {
	if s.discovery {
		return
	}
	s.mapping.Lock()
	s.lost = true
	s.mapping.Unlock()
	var all sync.WaitGroup
	s.units.Load().Units(func(_ scsi.LUN, lu *scsi.LogicalUnit) {
		all.Go(func() { lu.NexusLost(s.nexus) })
	})
	all.Wait()
}

// abandonEarly frees a task that still waited for its turn in the window.
func (t *task) abandonEarly() {
	s := t.session
	s.mu.Lock()
	waiting := s.tasks.find(t.tag) == t && !t.given.Load()
	s.mu.Unlock()
	if waiting {
		t.abandon()
	}
}

// terminate ends every connection, and with them the session. It does not wait.
func (s *Session) terminate(err error) {
	s.mu.Lock()
	s.ending = true
	connections := slices.Clone(s.connections)
	s.mu.Unlock()
	for _, c := range connections {
		c.finish(err)
	}
}

// await waits until the session has ended, for at most bound.
func (s *Session) await(bound time.Duration) bool {
	timer := time.NewTimer(bound)
	defer timer.Stop()
	select {
	case <-s.done:
		return true
	case <-timer.C:
		return false
	}
}

// logEnd says why a connection ended.
func (c *Connection) logEnd() {
	cause := *c.cause.Load()
	if c.clean.Load() || c.session.discovery {
		c.log.WithField("event", "logout").Infof("connection closed: %v", describeEnd(cause))
		return
	}
	if !c.session.broken.Swap(true) {
		c.session.node.lost.Add(1)
	}
	c.log.WithField("event", "session-lost").Warnf("session lost: %v", describeEnd(cause))
}
