package descriptor

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// spareDescriptions bounds how many are kept open between writes.
const spareDescriptions = 8

// descriptions are further open file descriptions of a file, each lent to one
// write at a time.
//
// The system keeps, with each description, whether a failure to write back has
// been told to it. Of two writes that ask for durability on one description the
// first to be answered is told of the failure, also when it was the other's
// bytes that were lost, and the other is told of success. On a description of
// its own each write hears of it.
type descriptions struct {
	fd    int // of the first one
	flags int
	spare chan int
}

func newDescriptions(fd int, directly bool) *descriptions {
	flags := unix.O_RDWR | unix.O_CLOEXEC
	if directly {
		flags |= unix.O_DIRECT
	}
	return &descriptions{fd: fd, flags: flags, spare: make(chan int, spareDescriptions)}
}

// borrow returns a description that nobody else has, or -1 if there can be none:
// no /proc, no more descriptors, no right to open the file again.
func (s *descriptions) borrow() int {
	select {
	case fd := <-s.spare:
		return fd
	default:
	}
	path := fmt.Sprintf("/proc/self/fd/%d", s.fd)
	for {
		fd, err := unix.Open(path, s.flags, 0)
		switch err {
		case nil:
			return fd
		case unix.EINTR:
		default:
			return -1
		}
	}
}

func (s *descriptions) giveBack(fd int) {
	select {
	case s.spare <- fd:
	default:
		_ = unix.Close(fd)
	}
}

// close closes the spare ones; nobody has one.
func (s *descriptions) close() {
	for {
		select {
		case fd := <-s.spare:
			_ = unix.Close(fd)
		default:
			return
		}
	}
}
