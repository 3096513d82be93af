package backstore

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// What can be wrong with a store, as far as the answer to the initiator differs.
// Test with errors.Is; an error that is none of these is a failure of the medium
// (MEDIUM ERROR).
var (
	// ErrWouldBlock: the answer is not in memory. TryReadAt and TryWriteAt
	// return this value itself.
	ErrWouldBlock = errors.New("would block")

	// ErrNoSpace: a write needed space that the store below does not have
	// (DATA PROTECT, SPACE ALLOCATION FAILED WRITE PROTECT).
	ErrNoSpace = errors.New("no space left in the store")

	// ErrReadOnly: the store cannot be written (DATA PROTECT, WRITE PROTECTED).
	ErrReadOnly = errors.New("the store is read-only")

	// ErrGone: the store is closed or has disappeared; it may come back when it
	// is opened anew (NOT READY).
	ErrGone = errors.New("the store is gone")

	// ErrCorrupt: the store noticed that what it holds is not what was written.
	ErrCorrupt = errors.New("the store is corrupt")

	// ErrLocked: the store is in use, by another process or by another part of
	// this one.
	ErrLocked = errors.New("the store is in use")

	// ErrLost: a sync has failed, this one or an earlier one, and what was written
	// before it may be lost. No later success could take that back: the medium refuses
	// to sync and to write until its owner says [Medium.Trust]. It stands beside the
	// cause, and is not found by Meaning.
	ErrLost = errors.New("what was written before may be lost")

	// ErrRange: the range lies, in whole or in part, outside the store.
	ErrRange = errors.New("outside the store")
)

// An Error says which operation of a store failed, and where.
//
// Offset is the first byte that was not read, written, unmapped or copied: all
// before it, back to the beginning of the request, was. Length is what was left
// to do from there. An operation without a range (open, sync) has Length 0.
//
// errors.Is finds the sentinels of this package in it, also where Err is but an
// errno of the system that means one of them.
type Error struct {
	Op             string // "read", "write", "sync", ...
	Offset, Length int64  // bytes
	Err            error
}

// Error names the operation, the place, and the cause.
func (e *Error) Error() string {
	if e.Length == 0 {
		return fmt.Sprintf("%s: %v", e.Op, e.Err)
	}
	return fmt.Sprintf("%s at byte %d (%d bytes left): %v", e.Op, e.Offset, e.Length, e.Err)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether the cause of e is an errno that means target.
func (e *Error) Is(target error) bool {
	meaning := Meaning(e.Err)
	return meaning != nil && meaning == target
}

// Meaning returns the sentinel of this package that err is or that its errno
// means, or nil if there is none: the one place where errnos are judged.
func Meaning(err error) error {
	for _, sentinel := range [...]error{ErrWouldBlock, ErrNoSpace, ErrReadOnly, ErrGone, ErrCorrupt, ErrLocked, ErrRange} {
		if is(err, sentinel) {
			return sentinel
		}
	}
	if errors.Is(err, os.ErrClosed) {
		return ErrGone
	}
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return nil
	}
	switch errno {
	case syscall.EAGAIN:
		return ErrWouldBlock
	case syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG:
		return ErrNoSpace
	case syscall.EROFS, syscall.EPERM: // EPERM: a block device that turned read-only, an immutable file
		return ErrReadOnly
	case syscall.ENODEV, syscall.ENXIO, syscall.ESTALE, syscall.EBADF, syscall.ENOMEDIUM,
		syscall.ENOTCONN, syscall.ESHUTDOWN, syscall.EHOSTDOWN, syscall.ENOLINK:
		return ErrGone
	case syscall.EUCLEAN, syscall.EBADMSG, syscall.EILSEQ: // the first two: a checksum of ext4 or XFS; EILSEQ: protection information
		return ErrCorrupt
	case syscall.EBUSY, syscall.ETXTBSY:
		return ErrLocked
	}
	return nil
}

// is is errors.Is along Unwrap() error alone, so that Error.Is, which calls
// Meaning, is not asked again for what it is about to answer.
func is(err, target error) bool {
	for err != nil {
		if err == target {
			return true
		}
		if several, ok := err.(interface{ Unwrap() []error }); ok {
			for _, e := range several.Unwrap() {
				if is(e, target) {
					return true
				}
			}
			return false
		}
		err = errors.Unwrap(err)
	}
	return false
}
