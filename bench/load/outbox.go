package load

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/iscsi"
)

// maxPieces is how many pieces one system call takes (UIO_MAXIOV).
const maxPieces = 1024

// An outbox is what waits to be sent over a connection: pieces of memory that sendmsg(2) gathers. Headers and digests
// lie in a ring; data stays where it is.
type outbox struct {
	ring   []byte
	at     int // in ring
	pieces []unix.Iovec
	sent   int // pieces that are gone
	header unix.Msghdr
}

// newOutbox makes room for so many PDUs at a time.
func newOutbox(pdus int) outbox {
	return outbox{ring: make([]byte, pdus*(iscsi.BHSLength+2*iscsi.DigestLength)), pieces: make([]unix.Iovec, 0, 4*pdus)}
}

// room is memory for a header or a digest.
func (o *outbox) room(n int) []byte {
	if o.at+n > len(o.ring) {
		o.at = 0
	}
	p := o.ring[o.at : o.at+n : o.at+n]
	o.at += n
	return p
}

// put queues p, which must not change before it is sent.
func (o *outbox) put(p []byte) {
	if n := len(o.pieces); n > o.sent {
		last := &o.pieces[n-1]
		if uintptr(unsafe.Pointer(last.Base))+uintptr(last.Len) == uintptr(unsafe.Pointer(unsafe.SliceData(p))) {
			last.Len += uint64(len(p))
			return
		}
	}
	o.pieces = append(o.pieces, unix.Iovec{Base: unsafe.SliceData(p), Len: uint64(len(p))})
}

// pdu queues a PDU, with the digests if the connection has them.
func (o *outbox) pdu(h *iscsi.BHS, data []byte, digests bool) {
	h.SetDataSegmentLength(len(data))
	n := len(h)
	if digests {
		n += iscsi.DigestLength
	}
	p := o.room(n)
	copy(p, h[:])
	if digests {
		iscsi.Digest(0).Update(h[:]).Put(p[len(h):])
	}
	o.put(p)
	if len(data) == 0 {
		return
	}
	o.put(data)
	if digests {
		p := o.room(iscsi.DigestLength)
		iscsi.Digest(0).Update(data).Put(p)
		o.put(p)
	}
}

// flush sends what the socket takes; empty tells whether that was all.
func (o *outbox) flush(fd int) (empty bool, err error) {
	for o.sent < len(o.pieces) {
		o.header.Iov = &o.pieces[o.sent]
		o.header.Iovlen = uint64(min(len(o.pieces)-o.sent, maxPieces))
		n, _, errno := unix.RawSyscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&o.header)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		switch errno {
		case 0:
			o.advance(uint64(n))
		case unix.EAGAIN:
			return false, nil
		case unix.EINTR:
		default:
			return false, fmt.Errorf("send: %w", errno)
		}
	}
	o.pieces, o.sent = o.pieces[:0], 0
	return true, nil
}

func (o *outbox) advance(n uint64) {
	for n > 0 {
		v := &o.pieces[o.sent]
		if n < v.Len {
			v.Base = (*byte)(unsafe.Add(unsafe.Pointer(v.Base), n))
			v.Len -= n
			return
		}
		n -= v.Len
		o.sent++
	}
}
