package image

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// Isolated calls f on a thread that has a network of its own, with nothing but the loopback interface. The processes that
// f starts and the sockets that it opens are in it, so a fixed port is always free.
func Isolated(f func()) error {
	result := make(chan error)
	go func() {
		defer close(result)
		// Never unlocked: the thread ends with the goroutine, and the network with it.
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			result <- fmt.Errorf("unshare: %w", err)
			return
		}
		if err := raiseLoopback(); err != nil {
			result <- err
			return
		}
		f()
	}()
	return <-result
}

func raiseLoopback() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	r, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, r); err != nil {
		return fmt.Errorf("raising lo: %w", err)
	}
	return nil
}
