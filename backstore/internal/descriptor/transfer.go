package descriptor

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/backstore"
)

// errTruncated: the caller asked within the size the file had when it was
// opened, and the file has become shorter.
var errTruncated = fmt.Errorf("%w: it is shorter than when it was opened", backstore.ErrCorrupt)

// ReadAt fills all of p from off.
func (d *Descriptor) ReadAt(p []byte, off int64) (int, error) {
	if !d.gate.Enter() {
		return 0, failed("read", off, len(p), 0, backstore.ErrGone)
	}
	var n int
	var err error
	if d.direct != nil {
		n, err = d.direct.read(d.fd, p, off)
	} else {
		n, err = readFull(d.fd, p, off)
	}
	d.gate.Leave()
	if err != nil {
		return n, failed("read", off, len(p), n, err)
	}
	return n, nil
}

// TryReadAt is ReadAt if all is in the page cache, else backstore.ErrWouldBlock.
// (The attempt may have started to read ahead.)
func (d *Descriptor) TryReadAt(p []byte, off int64) (int, error) {
	if d.tryRead.refused.Load() {
		return 0, backstore.ErrWouldBlock
	}
	if !d.gate.Enter() {
		return 0, failed("read", off, len(p), 0, backstore.ErrGone)
	}
	n, err := preadNoWait(d.fd, p, off)
	d.gate.Leave()
	return d.tryRead.judge(n, len(p), err)
}

// WriteAt writes all of p at off.
func (d *Descriptor) WriteAt(p []byte, off int64) (int, error) {
	if !d.gate.Enter() {
		return 0, failed("write", off, len(p), 0, backstore.ErrGone)
	}
	n, err := d.writeOn(d.fd, p, off, 0)
	d.gate.Leave()
	if err != nil {
		return n, failed("write", off, len(p), n, err)
	}
	return n, nil
}

// TryWriteAt is WriteAt if that needs no waiting; else backstore.ErrWouldBlock,
// and any part of p may have been written.
func (d *Descriptor) TryWriteAt(p []byte, off int64) (int, error) {
	if d.tryWrite.pointless() {
		return 0, backstore.ErrWouldBlock
	}
	if !d.gate.Enter() {
		return 0, failed("write", off, len(p), 0, backstore.ErrGone)
	}
	n, err := unix.Pwritev2(d.fd, [][]byte{p}, off, unix.RWF_NOWAIT)
	d.gate.Leave()
	return d.tryWrite.judge(n, len(p), err)
}

// WriteThroughAt is WriteAt, and returns when p is durable. It fails as Sync
// does once a sync has failed.
func (d *Descriptor) WriteThroughAt(p []byte, off int64) (int, error) {
	if !d.gate.Enter() {
		return 0, failed("write", off, len(p), 0, backstore.ErrGone)
	}
	defer d.gate.Leave()
	if err := d.earlierFailure("write through"); err != nil {
		return 0, err
	}
	fd := d.through.borrow()
	if fd < 0 {
		return d.writeThenSync(p, off)
	}
	n, err := d.writeOn(fd, p, off, unix.RWF_DSYNC)
	d.through.giveBack(fd)
	switch err {
	case nil:
		return n, nil
	case unix.EOPNOTSUPP, unix.ENOSYS:
		return d.writeThenSync(p, off)
	}
	// Was it the write that failed, which is this caller's affair alone, or the
	// sync after it, which may have told of the loss of other writes?
	if d.lostBy(p, off, err) {
		_ = d.rememberFailure("write through", err)
		n, err = 0, fmt.Errorf("%w: %w", backstore.ErrLost, err)
	}
	return n, failed("write through", off, len(p), n, err)
}

// lostBy tells whether it was the sync of a write with RWF_DSYNC that failed with err.
func (d *Descriptor) lostBy(p []byte, off int64, err error) bool {
	if backstore.Meaning(err) == backstore.ErrNoSpace {
		// Space comes and goes, and a lack of it at the sync is one that was met when
		// something was written back: every description hears of that.
		return errors.Is(d.Sync(), backstore.ErrLost)
	}
	// If the bytes can be written without a sync, it was the sync.
	_, err = d.writeOn(d.fd, p, off, 0)
	return err == nil
}

// writeThenSync is WriteThroughAt by other means.
func (d *Descriptor) writeThenSync(p []byte, off int64) (int, error) {
	n, err := d.writeOn(d.fd, p, off, 0)
	if err != nil {
		return n, failed("write through", off, len(p), n, err)
	}
	if err := d.Sync(); err != nil {
		return 0, err
	}
	return n, nil
}

func (d *Descriptor) writeOn(fd int, p []byte, off int64, flags int) (int, error) {
	if d.direct != nil {
		return d.direct.write(fd, p, off, flags)
	}
	return writeFull(fd, p, off, flags)
}

// readFull repeats pread(2) until p is full.
func readFull(fd int, p []byte, off int64) (int, error) {
	for n := 0; n < len(p); {
		m, err := unix.Pread(fd, p[n:], off+int64(n))
		switch {
		case err == unix.EINTR:
		case err != nil:
			return n, err
		case m == 0:
			return n, errTruncated
		default:
			n += m
		}
	}
	return len(p), nil
}

// writeFull repeats pwrite(2) until all of p is written.
func writeFull(fd int, p []byte, off int64, flags int) (int, error) {
	for n := 0; n < len(p); {
		var m int
		var err error
		if flags == 0 {
			m, err = unix.Pwrite(fd, p[n:], off+int64(n))
		} else {
			m, err = unix.Pwritev2(fd, [][]byte{p[n:]}, off+int64(n), flags)
		}
		switch {
		case err == unix.EINTR:
		case err != nil:
			return n, err
		case m == 0:
			return n, unix.EIO // a write of nothing, without a reason
		default:
			n += m
		}
	}
	return len(p), nil
}

// preadNoWait is preadv2(2) with RWF_NOWAIT. A call that never waits need not tell
// Go's scheduler that it may, which would cost about as much as a small copy.
func preadNoWait(fd int, p []byte, off int64) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	v := unix.Iovec{Base: unsafe.SliceData(p)}
	v.SetLen(len(p))
	n, _, errno := unix.RawSyscall6(unix.SYS_PREADV2, uintptr(fd), uintptr(unsafe.Pointer(&v)), 1, uintptr(off), uintptr(uint64(off)>>32), unix.RWF_NOWAIT)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// writeFromNowhere asks for a write of one byte at offset 0 from address 0.
func writeFromNowhere(fd int) error {
	nowhere := unix.Iovec{Len: 1}
	_, _, errno := unix.Syscall6(unix.SYS_PWRITEV2, uintptr(fd), uintptr(unsafe.Pointer(&nowhere)), 1, 0, 0, unix.RWF_NOWAIT)
	if errno != 0 {
		return errno
	}
	return nil
}

// failed names the first byte of a request that failed after n bytes.
func failed(op string, off int64, length, n int, err error) error {
	n = max(n, 0)
	return &backstore.Error{Op: op, Offset: off + int64(n), Length: int64(length - n), Err: err}
}
