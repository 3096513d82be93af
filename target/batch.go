package target

import (
	"encoding/binary"
	"runtime"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/iscsi"
	"github.com/isantarget/isantarget/scsi"
)

// A PDU leaves as at most three pieces: header with its digest, data, padding
// with the data digest. maxPDUs of them fill a batch; the kernel takes 1024
// pieces at once.
const maxPDUs = 128

// A framing is the memory for what stands around the data of one PDU.
type framing struct {
	header iscsi.BHS
	digest [4]byte
	tail   [3 + 4]byte // padding, data digest
}

// A batch is what one writev(2) sends. Batches are shared by all connections:
// an idle one holds none.
type batch struct {
	framings [maxPDUs]framing
	vectors  [3 * maxPDUs]unix.Iovec
	pdus     int
	pieces   int // vectors in use
	written  int // vectors wholly sent

	// Where the queue's current items stand: next is the item to encode, and a
	// task's data may be cut by the end of a batch.
	next    int
	counted int // items whose commands have been counted
	offset  int
	dataSN  uint32

	// The arguments and results of one system call, so that the function handed
	// to the runtime's poller is bound once and allocates nothing.
	try      func(fd uintptr) bool
	mayBlock bool
	errno    syscall.Errno
	pending  bool
	taken    int // bytes
}

func takeBatch(p *sync.Pool) *batch {
	b, _ := p.Get().(*batch)
	if b == nil {
		b = new(batch)
		b.try = b.writev
	}
	b.pdus, b.pieces, b.written = 0, 0, 0
	b.next, b.counted, b.offset, b.dataSN = 0, 0, 0, 0
	return b
}

// write encodes and sends the items of q.current. done is false when the
// socket was full and mayBlock false: call it again to go on.
func (b *batch) write(q *transmitQueue, mayBlock bool) (done bool, err error) {
	for {
		if b.written == b.pieces {
			q.count(b.next)
			clear(b.vectors[:b.pieces])
			b.pdus, b.pieces, b.written = 0, 0, 0
			b.encode(q)
			if b.pieces == 0 {
				return true, nil
			}
		}
		if done, err := b.send(q.connection, mayBlock); !done || err != nil {
			return done, err
		}
	}
}

// encode turns items into PDUs until the batch is full.
func (b *batch) encode(q *transmitQueue) {
	for b.next < len(q.current) && b.pdus < maxPDUs {
		i := &q.current[b.next]
		whole := true
		switch i.kind {
		case itemTask:
			whole = b.encodeTask(q, i.task)
		case itemR2T:
			b.encodeR2T(q, i)
		case itemMessage:
			f := b.frame()
			i.message.marshal(&f.header, q.numbers())
			if !i.message.keepsStatSN {
				q.statSN++
			}
			b.seal(q, f, i.message.data)
		}
		if !whole {
			return
		}
		b.next++
		b.offset, b.dataSN = 0, 0
	}
}

func (b *batch) encodeR2T(q *transmitQueue, i *item) {
	f := b.frame()
	n := q.numbers()
	r := iscsi.R2T{
		LUN: uint64(i.task.LUN), InitiatorTaskTag: i.task.tag, TargetTransferTag: i.r2t.ttt,
		StatSN: n.stat, ExpCmdSN: n.exp, MaxCmdSN: n.max, R2TSN: i.r2t.sn,
		BufferOffset: uint32(i.offset), Length: uint32(i.length),
	}
	r.Marshal(&f.header)
	b.seal(q, f, nil)
}

// encodeTask is the end of a command: Data-In PDUs cut by the initiator's
// MaxRecvDataSegmentLength and by MaxBurstLength, the status in the last of
// them when it is GOOD, and a SCSI Response otherwise. It returns false when
// the batch was full before the end.
func (b *batch) encodeTask(q *transmitQueue, t *task) bool {
	data := t.dataIn()
	collapse := len(data) > 0 && t.Status == scsi.Good
	for b.offset < len(data) {
		if b.pdus == maxPDUs {
			return false
		}
		b.encodeDataIn(q, t, data, collapse)
	}
	if collapse {
		return true
	}
	if b.pdus == maxPDUs {
		return false
	}
	b.encodeResponse(q, t)
	return true
}

// dataIn is what the initiator gets of the command's data: no more than it expects.
func (t *task) dataIn() []byte {
	if !t.read {
		return nil
	}
	return t.DataIn[:min(len(t.DataIn), t.expected)]
}

func (b *batch) encodeDataIn(q *transmitQueue, t *task, data []byte, collapse bool) {
	p := &t.session.parameters
	burst := p.maxBurst - b.offset%p.maxBurst
	n := min(len(data)-b.offset, int(q.connection.maxSend.Load()), burst)
	last := b.offset+n == len(data)
	pdu := iscsi.DataIn{
		Final:            last || n == burst,
		InitiatorTaskTag: t.tag, TargetTransferTag: iscsi.ReservedTag,
		DataSN: b.dataSN, BufferOffset: uint32(b.offset),
	}
	if last && collapse {
		t.session.answered(t)
		pdu.HasStatus = true
		pdu.Status = uint8(t.Status)
		pdu.Overflow, pdu.Underflow, pdu.Residual = t.residual()
	}
	sn := q.numbers()
	pdu.ExpCmdSN, pdu.MaxCmdSN = sn.exp, sn.max
	if pdu.HasStatus {
		pdu.StatSN = sn.stat
		q.statSN++
	}
	f := b.frame()
	pdu.Marshal(&f.header)
	b.seal(q, f, data[b.offset:b.offset+n])
	b.offset += n
	b.dataSN++
}

func (b *batch) encodeResponse(q *transmitQueue, t *task) {
	t.session.answered(t)
	sn := q.numbers()
	q.statSN++
	pdu := iscsi.SCSIResponse{
		Response: iscsi.ResponseCompleted, Status: uint8(t.Status), InitiatorTaskTag: t.tag,
		StatSN: sn.stat, ExpCmdSN: sn.exp, MaxCmdSN: sn.max, ExpDataSN: b.dataSN + t.out.r2tSN,
	}
	pdu.Overflow, pdu.Underflow, pdu.Residual = t.residual()
	f := b.frame()
	pdu.Marshal(&f.header)
	var segment []byte
	if len(t.Sense) > 0 {
		segment = make([]byte, 2+len(t.Sense))
		binary.BigEndian.PutUint16(segment, uint16(len(t.Sense)))
		copy(segment[2:], t.Sense)
	}
	b.seal(q, f, segment)
}

// residual compares what the CDB asked for with what the initiator expected
// (RFC 7143 11.4.5). A command that failed has moved only its Data-In; that the
// initiator expected less than the CDB asked for stays true.
func (t *task) residual() (overflow, underflow bool, n uint32) {
	length := t.Length
	if t.Status != scsi.Good && t.Status != scsi.ConditionMet && length <= t.expected {
		length = len(t.dataIn())
	}
	switch {
	case length > t.expected:
		return true, false, uint32(length - t.expected)
	case length < t.expected:
		return false, true, uint32(t.expected - length)
	}
	return false, false, 0
}

// frame takes the memory for the next PDU's header.
func (b *batch) frame() *framing {
	f := &b.framings[b.pdus]
	b.pdus++
	return f
}

// seal completes a PDU whose header stands in f: the length of its data,
// digests and padding. The pieces are queued for writev, nothing is copied.
func (b *batch) seal(q *transmitQueue, f *framing, data []byte) {
	f.header.SetDataSegmentLength(len(data))
	if q.digests.header {
		iscsi.Digest(0).Update(f.header[:]).Put(f.digest[:])
		// header and digest lie side by side in a framing
		b.piece(unsafe.Slice(&f.header[0], len(f.header)+len(f.digest)))
	} else {
		b.piece(f.header[:])
	}
	if len(data) == 0 {
		return
	}
	b.piece(data)
	pad := iscsi.Pad(len(data))
	tail := f.tail[:pad]
	clear(tail)
	if q.digests.data {
		tail = f.tail[:pad+4]
		iscsi.Digest(0).Update(data).UpdatePadding(len(data)).Put(tail[pad:])
	}
	if len(tail) > 0 {
		b.piece(tail)
	}
}

func (b *batch) piece(p []byte) {
	v := &b.vectors[b.pieces]
	v.Base = unsafe.SliceData(p)
	v.SetLen(len(p))
	b.pieces++
}

// send gives the pieces to the socket; done is false when it was full.
func (b *batch) send(c *Connection, mayBlock bool) (done bool, err error) {
	for b.written < b.pieces {
		b.mayBlock, b.errno, b.pending = mayBlock, 0, false
		if err := c.raw.Write(b.try); err != nil {
			return false, err
		}
		if b.errno != 0 {
			return false, b.errno
		}
		if b.pending {
			return false, nil
		}
		c.sent.Add(uint64(b.taken))
	}
	return true, nil
}

// writev is one writev(2) from the poller: false asks it to call again when
// the socket has room.
func (b *batch) writev(fd uintptr) bool {
	for {
		v := b.vectors[b.written:b.pieces]
		n, _, errno := unix.Syscall(unix.SYS_WRITEV, fd, uintptr(unsafe.Pointer(&v[0])), uintptr(len(v)))
		runtime.KeepAlive(b)
		switch errno {
		case 0:
			b.taken = int(n)
			b.advance(b.taken)
			return true
		case unix.EINTR:
		case unix.EAGAIN:
			b.pending = !b.mayBlock
			return b.pending
		default:
			b.errno = errno
			return true
		}
	}
}

// advance drops n bytes from the front of the pieces.
func (b *batch) advance(n int) {
	for n > 0 {
		v := &b.vectors[b.written]
		if n < int(v.Len) {
			v.Base = (*byte)(unsafe.Add(unsafe.Pointer(v.Base), n))
			v.SetLen(int(v.Len) - n)
			return
		}
		n -= int(v.Len)
		*v = unix.Iovec{}
		b.written++
	}
}
