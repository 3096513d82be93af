package uring

import (
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/backstore"
)

// Entries is how many reads one call takes.
const Entries = 64

// The interface of the kernel (linux/io_uring.h).
const (
	opRead         = 22
	enterGetEvents = 1 << 0

	featSingleMap = 1 << 0
	featNoDrop    = 1 << 1

	offsetRings   = 0
	offsetEntries = 0x10000000
)

// setup is struct io_uring_params.
type setup struct {
	sqEntries, cqEntries, flags, cpu, idle, features, workers uint32
	reserved                                                  [3]uint32
	sq                                                        struct {
		head, tail, mask, entries, flags, dropped, array, reserved uint32
		address                                                    uint64
	}
	cq struct {
		head, tail, mask, entries, overflow, events, flags, reserved uint32
		address                                                      uint64
	}
}

// submission is struct io_uring_sqe, as a read uses it.
type submission struct {
	op, flags uint8
	priority  uint16
	fd        int32
	offset    uint64
	address   uint64
	length    uint32
	rwFlags   uint32
	user      uint64
	_         [3]uint64
}

// completion is struct io_uring_cqe.
type completion struct {
	user   uint64
	result int32
	flags  uint32
}

// A Ring is a submission queue and a completion queue, shared with the kernel. One
// goroutine at a time may use it.
type Ring struct {
	fd             int
	rings, entries []byte // mapped

	sqHead, sqTail, cqHead, cqTail *uint32
	sqMask, cqMask                 uint32
	queue                          []submission
	events                         []completion

	results [Entries]int32
}

// New makes a ring. The error says why the system has none for us.
func New() (*Ring, error) {
	var p setup
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, Entries, uintptr(unsafe.Pointer(&p)), 0)
	if errno != 0 {
		return nil, fmt.Errorf("io_uring_setup: %w", errno)
	}
	r := &Ring{fd: int(fd)}
	if err := r.share(&p); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// share maps the queues.
func (r *Ring) share(p *setup) (err error) {
	if p.features&(featSingleMap|featNoDrop) != featSingleMap|featNoDrop || p.sqEntries < Entries {
		return fmt.Errorf("io_uring: the kernel's is too old: %w", errors.ErrUnsupported)
	}
	size := max(int(p.sq.array)+int(p.sqEntries)*4, int(p.cq.events)+int(p.cqEntries)*int(unsafe.Sizeof(completion{})))
	if r.rings, err = unix.Mmap(r.fd, offsetRings, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE); err != nil {
		return fmt.Errorf("io_uring: mmap: %w", err)
	}
	if r.entries, err = unix.Mmap(r.fd, offsetEntries, int(p.sqEntries)*int(unsafe.Sizeof(submission{})), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE); err != nil {
		return fmt.Errorf("io_uring: mmap: %w", err)
	}
	at := func(off uint32) *uint32 { return (*uint32)(unsafe.Pointer(&r.rings[off])) }
	r.sqHead, r.sqTail, r.sqMask = at(p.sq.head), at(p.sq.tail), *at(p.sq.mask)
	r.cqHead, r.cqTail, r.cqMask = at(p.cq.head), at(p.cq.tail), *at(p.cq.mask)
	r.queue = unsafe.Slice((*submission)(unsafe.Pointer(&r.entries[0])), p.sqEntries)
	r.events = unsafe.Slice((*completion)(unsafe.Pointer(&r.rings[p.cq.events])), p.cqEntries)
	for i := range p.sqEntries {
		*at(p.sq.array + i*4) = i // the entry of a place in the queue is the one of that number
	}
	return nil
}

// Close gives the ring back.
func (r *Ring) Close() error {
	var errs []error
	for _, m := range [][]byte{r.rings, r.entries} {
		if m != nil {
			errs = append(errs, unix.Munmap(m))
		}
	}
	return errors.Join(append(errs, unix.Close(r.fd))...)
}

// TryRead tries all of reads, at most Entries, on fd, and gives for each how many bytes
// were in memory, or a negative errno: -EAGAIN where it would have to wait. The slice is the ring's
// own, until the next call. An error says that the ring is of no use any more; no
// buffer is the kernel's then either.
func (r *Ring) TryRead(fd int, reads []backstore.Read) ([]int32, error) {
	tail := *r.sqTail // nobody else writes it
	for i := range reads {
		r.results[i] = -int32(unix.EAGAIN)
		r.queue[(tail+uint32(i))&r.sqMask] = submission{
			op: opRead, fd: int32(fd), offset: uint64(reads[i].Offset),
			address: uint64(uintptr(unsafe.Pointer(unsafe.SliceData(reads[i].Data)))), length: uint32(len(reads[i].Data)),
			rwFlags: unix.RWF_NOWAIT, user: uint64(i),
		}
	}
	atomic.StoreUint32(r.sqTail, tail+uint32(len(reads)))
	err := r.run(len(reads))
	runtime.KeepAlive(reads)
	return r.results[:len(reads)], err
}

// run submits n reads and takes in their results. A call that waits for nothing need
// not tell Go's scheduler that it may.
func (r *Ring) run(n int) error {
	submitted, ended := 0, 0
	var failure error
	for ended < submitted || submitted < n && failure == nil {
		submit := n - submitted
		if failure != nil {
			submit = 0
		}
		// It waits for completions only when it has submitted everything.
		took, _, errno := unix.RawSyscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), uintptr(submit), uintptr(submitted+submit-ended), enterGetEvents, 0, 0)
		switch {
		case errno == 0:
			submitted += int(took)
			if took == 0 && submit > 0 {
				failure = errors.New("io_uring_enter took nothing")
			}
		case errno != unix.EINTR:
			if failure != nil { // while we wait for what the kernel has: it must not be left alone with our memory
				runtime.Gosched()
			}
			failure = fmt.Errorf("io_uring_enter: %w", errno)
		}
		ended += r.take()
	}
	if failure != nil {
		atomic.StoreUint32(r.sqTail, atomic.LoadUint32(r.sqHead)) // what the kernel has not taken it shall not take
	}
	return failure
}

// take takes in what has ended, and tells how many did.
func (r *Ring) take() (n int) {
	head, tail := *r.cqHead, atomic.LoadUint32(r.cqTail)
	for ; head != tail; head++ {
		e := &r.events[head&r.cqMask]
		if e.user < Entries {
			r.results[e.user] = e.result
		}
		n++
	}
	atomic.StoreUint32(r.cqHead, head)
	return n
}
