package target

import (
	"sync"

	"github.com/isantarget/isantarget/iscsi"
	"github.com/isantarget/isantarget/meter"
)

// An itemKind says what an item of the transmit queue becomes on the wire.
type itemKind uint8

const (
	itemTask    itemKind = iota // Data-In and SCSI Response: the end of a command
	itemR2T                     // one R2T of a command
	itemMessage                 // any other PDU
)

// An item is what waits to be sent. It is a value, so that queueing a command's
// end allocates nothing.
type item struct {
	kind    itemKind
	task    *task
	r2t     sequence
	offset  int // of the R2T, bytes
	length  int
	message *message
}

// A message is a PDU that belongs to no command's data path.
type message struct {
	// marshal writes the header but its data segment length; sn are the numbers
	// at the moment of sending.
	marshal func(h *iscsi.BHS, sn serialNumbers)
	data    []byte
	// keepsStatSN: the PDU does not use up a StatSN (NOP-In that asks, R2T).
	keepsStatSN bool
	// sent is called once the PDU has been given to the socket; nil for nothing.
	sent func()
}

// serialNumbers are the three numbers every PDU of a target carries.
type serialNumbers struct {
	stat, exp, max uint32
}

// maxQueuedMessages bounds the messages that wait for a peer which does not
// read: the reader then takes no more PDUs from it. Commands are bounded by the
// window.
// Their data, which a NOP-Out makes as long as a segment, is bounded as well.
const (
	maxQueuedMessages = 64
	maxQueuedBytes    = 1 << 20
)

// A transmitQueue collects what is to be sent over one connection and writes
// it in batches. Whoever adds the end of a command becomes the writer if there
// is none, and writes until the queue is empty; the connection's reader only
// adds, and writes once when it has nothing more to read. The reader never
// waits for the socket: what the socket does not take at once is left to a
// goroutine, or a stalled peer would silence NOP-Out and task management.
type transmitQueue struct {
	connection *Connection
	digests    digests
	statSN     uint32 // of the next response; only the writer touches it
	resume     func() // continues a write on a goroutine of its own; bound once

	mu       sync.Mutex
	room     sync.Cond
	items    []item
	messages int
	bytes    int // data of the messages
	writing  bool
	emptied  uint64 // how often the writer has found nothing more to write
	closed   bool
	spare    []item // the emptied slice of the last batch

	tally   meter.Tally // of commands whose answers are out; only the writer touches it
	batch   *batch      // what is being written; only the writer touches it
	current []item      // the items of batch, and those to follow
}

// digests says which digests a connection agreed on (RFC 7143 13.1).
type digests struct {
	header, data bool
}

func (q *transmitQueue) init(c *Connection) {
	q.connection = c
	q.room.L = &q.mu
	q.resume = func() { q.write(true) }
	q.writing = true // the login is, until open
}

// open ends the login's hold on the socket: what has been queued meanwhile, as
// an Async Message of a shutdown, follows the last Login Response.
func (q *transmitQueue) open(statSN uint32, d digests) {
	q.mu.Lock()
	q.statSN, q.digests = statSN, d
	q.writing = false
	q.mu.Unlock()
	q.flush(false)
}

// agreed tells which digests the connection uses.
func (q *transmitQueue) agreed() digests {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.digests
}

// add queues i without sending it.
func (q *transmitQueue) add(i item) {
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		i.drop()
		return
	}
	q.items = append(q.items, i)
	if i.kind == itemMessage {
		q.messages++
		q.bytes += len(i.message.data)
	}
	q.mu.Unlock()
}

// send queues a message and sends it.
func (q *transmitQueue) send(m *message) {
	q.add(item{kind: itemMessage, message: m})
	q.flush(true)
}

// waitForRoom holds the reader while the peer does not read its messages.
func (q *transmitQueue) waitForRoom() {
	q.mu.Lock()
	if q.full() && !q.writing {
		q.mu.Unlock()
		q.flush(false)
		q.mu.Lock()
	}
	for q.full() && !q.closed {
		q.room.Wait()
	}
	q.mu.Unlock()
}

// crowded tells whether the reader is to wait for room.
func (q *transmitQueue) crowded() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.full()
}

// full tells whether too much waits for the peer. q.mu is held.
func (q *transmitQueue) full() bool {
	return q.messages > maxQueuedMessages || q.bytes > maxQueuedBytes
}

// flush sends what is queued unless somebody is at it. With mayBlock false it
// gives the socket what it takes at once and leaves the rest to a goroutine.
func (q *transmitQueue) flush(mayBlock bool) {
	q.mu.Lock()
	if q.writing || len(q.items) == 0 {
		q.mu.Unlock()
		return
	}
	q.writing = true
	q.mu.Unlock()
	q.write(mayBlock)
}

// write is the writer: it runs until the queue is empty, or, when it may not
// block, until the socket is full.
func (q *transmitQueue) write(mayBlock bool) {
	for q.batch != nil || q.nextBatch() {
		done, err := q.batch.write(q, mayBlock)
		if err != nil {
			q.connection.fail(err)
			q.close()
		}
		if !done && err == nil {
			go q.resume()
			return
		}
		q.endBatch()
	}
}

// nextBatch takes all that is queued; false: there is nothing, and nobody
// writes any more.
func (q *transmitQueue) nextBatch() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.items) == 0 {
		q.writing = false
		q.emptied++
		return false
	}
	q.current = q.items
	q.items = q.spare[:0]
	q.spare = nil
	if q.messages > 0 {
		q.messages, q.bytes = 0, 0
		q.room.Broadcast()
	}
	q.batch = takeBatch(&q.connection.entity.batches)
	return true
}

// endBatch lets go what has been sent.
func (q *transmitQueue) endBatch() {
	q.count(len(q.current)) // those too that were not sent after all
	q.tally.Publish()
	for i := range q.current {
		q.current[i].finish()
		q.current[i] = item{}
	}
	q.connection.entity.batches.Put(q.batch)
	q.batch = nil
	q.mu.Lock()
	q.spare = q.current[:0]
	q.mu.Unlock()
	q.current = nil
}

// close drops what waits and what comes later. What is being written is its
// writer's, who finds the socket closed.
func (q *transmitQueue) close() {
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return
	}
	q.closed = true
	items := q.items
	q.items = nil
	q.room.Broadcast()
	q.mu.Unlock()
	for _, i := range items {
		i.drop()
	}
}

// numbers are the serial numbers of the next PDU. ExpCmdSN is read first: the
// window only grows, so the pair never shows an initiator less than it has.
func (q *transmitQueue) numbers() serialNumbers {
	w := &q.connection.session.window
	exp := w.exp.Load()
	return serialNumbers{stat: q.statSN, exp: exp, max: w.max.Load()}
}

// finish ends an item that was sent.
func (i *item) finish() {
	switch i.kind {
	case itemTask:
		i.task.session.answered(i.task) // an item that was never encoded
		i.task.release()
	case itemR2T:
		i.task.release()
	case itemMessage:
		if i.message.sent != nil {
			i.message.sent()
		}
	}
}

// drop ends an item that never will be sent.
func (i *item) drop() {
	switch i.kind {
	case itemMessage:
		return
	case itemTask:
		i.task.countAlone()
	}
	i.finish()
}

// stalled tells whether something waits for the socket, and how often nothing has.
func (q *transmitQueue) stalled() (waits bool, emptied uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.writing || len(q.items) > 0, q.emptied
}
