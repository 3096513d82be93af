package target

import (
	"sync"
	"sync/atomic"

	"github.com/isantarget/isantarget/iscsi"
	"github.com/isantarget/isantarget/meter"
	"github.com/isantarget/isantarget/scsi"
)

// A task is a SCSI command with what iSCSI adds to it: its tag, its data
// buffers and the account of the data still to come. Tasks are slots that a
// session uses again and again; it makes as many as its window needs.
//
// A task has holders: the command itself until its response has been written,
// and the reader while it fills the buffer with Data-Out. The last one to let
// go frees the buffers and the slot, so an aborted command never frees memory
// that a late Data-Out still writes to.
type task struct {
	scsi.Command
	session    *Session
	connection *Connection // connection allegiance, RFC 7143 4.2.1
	chain      *task       // the next of its bucket in the task table, or of the free list

	tag       uint32 // Initiator Task Tag
	expected  int    // Expected Data Transfer Length in bytes
	read      bool
	write     bool
	cmdSN     uint32
	waits     bool        // came before its turn; the session's lock guards it
	immediate bool        // took no place in the command window
	answered  bool        // its end has been booked on the command window
	refused   bool        // there was no memory for its first burst; settled before it is delivered
	given     atomic.Bool // the logical unit has it, or has had it
	cdb       [16]byte

	linger  func() bool // beginLinger, bound once
	holders atomic.Int32
	in      *buffer // data for the initiator
	out     dataOut // data from it
}

// start prepares a free slot for the command p, which came over c; long is the
// whole CDB where it has more than 16 bytes.
func (t *task) start(c *Connection, p *iscsi.SCSICommand, long []byte) {
	t.connection = c
	t.tag = p.InitiatorTaskTag
	t.expected = int(p.Length)
	t.read, t.write = p.Read, p.Write
	t.cmdSN, t.waits = p.CmdSN, false
	t.immediate = p.Immediate
	t.answered, t.refused = false, false
	t.given.Store(false)
	t.cdb = p.CDB
	t.holders.Store(1)
	t.out.reset()

	t.Command.Reset()
	t.Watch.Start(c.now())
	t.Nexus = t.session.nexus
	t.LUN = scsi.LUN(p.LUN)
	t.Tag = scsi.Tag(p.InitiatorTaskTag)
	t.Attribute = taskAttribute(p.Attribute)
	t.CDB = scsi.CDB(t.cdb[:])
	if long != nil {
		t.CDB = scsi.CDB(long)
	}
	t.Units = t.session.units.Load()
	t.Delivery = t
	if t.linger == nil {
		t.linger = t.beginLinger
	}
	t.Linger = t.linger
	t.Gathering = nil
	if t.session.parameters.maxConnections == 1 { // else the reader of another connection may execute it
		t.Gathering = &c.reads
	}
}

// taskAttribute translates RFC 7143 11.3.1; untagged is SIMPLE. What RFC 7143
// reserves becomes ACA, which the logical unit refuses.
func taskAttribute(a uint8) scsi.TaskAttribute {
	switch a {
	case iscsi.AttributeUntagged, iscsi.AttributeSimple:
		return scsi.Simple
	case iscsi.AttributeOrdered:
		return scsi.Ordered
	case iscsi.AttributeHeadOfQueue:
		return scsi.HeadOfQueue
	}
	return scsi.ACA
}

// DataInBuffer is scsi.Delivery: it lends n bytes of the session's memory.
func (t *task) DataInBuffer(n int) ([]byte, error) {
	if n > MaxTransfer {
		return nil, errTooLarge
	}
	if t.in != nil {
		if cap(t.in.p) >= n {
			t.in.p = t.in.p[:n]
			return t.in.p, nil
		}
		t.session.entity.buffers.put(t.in)
		t.in = nil
	}
	bytes := bufferBytes(n)
	m := t.session.memory.tryTake(bytes)
	if m != nil {
		t.in = t.session.entity.buffers.get(n, m)
		return t.in.p, nil
	}
	if !t.MayBlock {
		return nil, scsi.ErrWouldBlock
	}
	// Who has the memory may be a peer that takes nothing: others are not to wait for it.
	t.StepBack()
	t.lap(meter.Store)
	defer t.lap(meter.Queue)
	for ; m == nil; m = t.session.memory.take(bytes, t.out.wake) {
		if t.out.isAborted() {
			return nil, scsi.ErrAborted
		}
	}
	t.in = t.session.entity.buffers.get(n, m)
	return t.in.p, t.StepForward()
}

// AbortCommand is scsi.Delivery.
func (t *task) AbortCommand() {
	t.out.mu.Lock()
	t.out.aborted = true
	t.out.mu.Unlock()
	t.out.signal()
}

// SendCommandComplete is scsi.Delivery: it queues the response. Where the
// initiator still owes data the response waits for the end of the last
// sequence, as RFC 7143 11.4.3 demands.
func (t *task) SendCommandComplete() {
	mayBlock, c := t.MayBlock, t.connection
	if !mayBlock {
		c.tick(t.Watch.At()) // the reader goes on with the next
	}
	t.out.mu.Lock()
	t.out.ended = true
	if t.out.silenced {
		t.Silent = true
	}
	open := t.out.open()
	wait := open && !t.Silent && !t.out.dropped
	t.out.waiting = wait
	var spare *buffer
	if !open { // nobody fills it any more: the next command finds it warm in the processor's cache
		spare, t.out.buffer = t.out.buffer, nil
	}
	t.out.mu.Unlock()
	if spare != nil {
		t.session.entity.buffers.put(spare)
	}
	if wait {
		return
	}
	t.respond()
	if mayBlock || !c.busy.Load() {
		c.transmit.flush(mayBlock)
	}
}

// respond hands the response to the transmit queue, which lets the task go.
// After it the tag is free: the initiator may use it as soon as it reads.
func (t *task) respond() {
	t.session.forget(t)
	if t.Silent {
		t.session.answered(t)
		t.countAlone()
		t.release()
		return
	}
	t.connection.transmit.add(item{kind: itemTask, task: t})
}

// release lets one holder go.
func (t *task) release() {
	if t.holders.Add(-1) != 0 {
		return
	}
	buffers := &t.session.entity.buffers
	if t.in != nil {
		buffers.put(t.in)
		t.in = nil
	}
	if t.out.buffer != nil {
		buffers.put(t.out.buffer)
		t.out.buffer = nil
	}
	t.session.recycle(t)
}

// A taskTable finds the tasks of a session by Initiator Task Tag. It chains
// the tasks themselves, so that nothing is allocated for a command. The
// session's lock guards it.
type taskTable struct {
	buckets [64]*task
	count   int
}

func (b *taskTable) find(tag uint32) *task {
	for t := b.buckets[tag%uint32(len(b.buckets))]; t != nil; t = t.chain {
		if t.tag == tag {
			return t
		}
	}
	return nil
}

func (b *taskTable) insert(t *task) {
	head := &b.buckets[t.tag%uint32(len(b.buckets))]
	t.chain = *head
	*head = t
	b.count++
}

func (b *taskTable) remove(t *task) {
	for p := &b.buckets[t.tag%uint32(len(b.buckets))]; *p != nil; p = &(*p).chain {
		if *p == t {
			*p = t.chain
			t.chain = nil
			b.count--
			return
		}
	}
}

// each calls f for every task; f must not change the table.
func (b *taskTable) each(f func(*task)) {
	for _, t := range b.buckets {
		for ; t != nil; t = t.chain {
			f(t)
		}
	}
}

// A freeList keeps the slots that no command uses.
type freeList struct {
	mu   sync.Mutex
	head *task
}

func (l *freeList) take() *task {
	l.mu.Lock()
	t := l.head
	if t != nil {
		l.head = t.chain
		t.chain = nil
	}
	l.mu.Unlock()
	return t
}

func (l *freeList) put(t *task) {
	l.mu.Lock()
	t.chain = l.head
	l.head = t
	l.mu.Unlock()
}
