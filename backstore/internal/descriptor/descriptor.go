package descriptor

import (
	"errors"
	"fmt"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/backstore/internal/gate"
)

// A Descriptor is an open file of the system. All its methods may be called at
// once from many goroutines. Errors of I/O are *backstore.Error.
type Descriptor struct {
	fd     int
	direct *direct // nil: through the page cache

	gate *gate.Gate

	through     *descriptions
	syncs       flights
	syncFailure atomic.Pointer[error] // the first failure of a sync, never taken back

	tryRead, tryWrite attempts
	rings             rings
}

// Direct tells whether the descriptor leaves out the page cache.
func (d *Descriptor) Direct() bool { return d.direct != nil }

// Alignment is what direct I/O needs; zero: there is none.
func (d *Descriptor) Alignment() Alignment {
	if d.direct == nil {
		return Alignment{}
	}
	return d.direct.align
}

// New takes over the open descriptor fd. If align is not zero, fd was opened
// with O_DIRECT and needs that alignment.
func New(fd int, align Alignment) *Descriptor {
	d := &Descriptor{fd: fd, gate: gate.New(), through: newDescriptions(fd, align != Alignment{})}
	if align != (Alignment{}) {
		d.direct = newDirect(align)
		// A direct read always waits for the device, RWF_NOWAIT or not.
		d.tryRead.refused.Store(true)
		d.tryWrite.refused.Store(true)
	}
	return d
}

// Close waits for the calls that are in flight, closes the descriptor, and gives
// back its locks. Every later call fails with backstore.ErrGone.
func (d *Descriptor) Close() error {
	if !d.gate.Close() {
		return &backstore.Error{Op: "close", Err: backstore.ErrGone}
	}
	d.through.close()
	d.rings.close()
	// A child that somebody forks, and that has not come to its exec yet, has the file
	// open too, and would keep the lock with it.
	_ = unix.Flock(d.fd, unix.LOCK_UN)
	if err := unix.Close(d.fd); err != nil {
		return &backstore.Error{Op: "close", Err: err}
	}
	return nil
}

// Control calls f with the descriptor, which stays open until f returns. It is
// for the system calls that the other methods do not make; f does not keep fd.
// The error of f comes back as it is.
func (d *Descriptor) Control(f func(fd int) error) error {
	if !d.gate.Enter() {
		return backstore.ErrGone
	}
	defer d.gate.Leave()
	for {
		if err := f(d.fd); err != unix.EINTR {
			return err
		}
	}
}

// Sync makes durable every write that returned before the call, and what is
// needed to find it again (fdatasync(2)). Once it has failed it fails for ever.
func (d *Descriptor) Sync() error {
	if !d.gate.Enter() {
		return &backstore.Error{Op: "sync", Err: backstore.ErrGone}
	}
	defer d.gate.Leave()
	if err := d.earlierFailure("sync"); err != nil {
		return err
	}
	return d.syncs.join(func() error {
		for {
			err := unix.Fdatasync(d.fd)
			switch {
			case err == unix.EINTR:
			case err != nil:
				return d.rememberFailure("sync", err)
			default:
				return d.earlierFailure("sync")
			}
		}
	})
}

func (d *Descriptor) earlierFailure(op string) error {
	if failure := d.syncFailure.Load(); failure != nil {
		return &backstore.Error{Op: op, Err: fmt.Errorf("an earlier sync failed; %w: %w", backstore.ErrLost, *failure)}
	}
	return nil
}

func (d *Descriptor) rememberFailure(op string, err error) error {
	d.syncFailure.CompareAndSwap(nil, &err)
	return &backstore.Error{Op: op, Err: fmt.Errorf("%w: %w", backstore.ErrLost, err)}
}

// CanTryRead asks the file system whether it can tell which reads would wait.
// The question is a read at the end, which finds nothing and changes nothing: not
// even the page cache.
func (d *Descriptor) CanTryRead(end int64) bool {
	var p [1]byte
	_, _ = d.TryReadAt(p[:], end)
	return !d.tryRead.refused.Load()
}

// CanTryWrite asks the file system whether it can tell which writes would wait.
// The question is a write of one byte from an address that is not ours: a file
// system that knows the flag comes as far as EFAULT (or EAGAIN).
func (d *Descriptor) CanTryWrite() bool {
	if d.tryWrite.refused.Load() || !d.gate.Enter() {
		return false
	}
	defer d.gate.Leave()
	err := writeFromNowhere(d.fd)
	if !errors.Is(err, unix.EFAULT) && !errors.Is(err, unix.EAGAIN) {
		d.tryWrite.refused.Store(true)
	}
	return !d.tryWrite.refused.Load()
}
