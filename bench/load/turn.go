package load

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// refill gives a connection new commands and sends what it has.
func (g *generator) refill(c *connection) error {
	c.pump(g.now())
	empty, err := c.out.flush(c.fd)
	if err != nil || empty == !c.waiting {
		return err
	}
	c.waiting = !empty
	if g.epoll < 0 {
		return nil
	}
	events := uint32(unix.EPOLLIN)
	if c.waiting {
		events |= unix.EPOLLOUT
	}
	return unix.EpollCtl(g.epoll, unix.EPOLL_CTL_MOD, c.fd, &unix.EpollEvent{Events: events, Fd: int32(c.index)})
}

// turn waits for something to happen and deals with it.
func (g *generator) turn() error {
	if g.epoll >= 0 {
		return g.turnMany()
	}
	c, flags := g.connections[0], uintptr(0)
	if c.waiting {
		flags = unix.MSG_DONTWAIT
		fds := []unix.PollFd{{Fd: int32(c.fd), Events: unix.POLLIN | unix.POLLOUT}}
		if n, err := unix.Poll(fds, int(silence.Milliseconds())); err == nil && n == 0 {
			return fmt.Errorf("the target has neither read nor written for %v", silence)
		}
	}
	return g.serve(c, flags)
}

func (g *generator) turnMany() error {
	n, err := unix.EpollWait(g.epoll, g.events[:], int(silence.Milliseconds()))
	switch {
	case err == unix.EINTR:
		return nil
	case err != nil:
		return fmt.Errorf("epoll: %w", err)
	case n == 0:
		return fmt.Errorf("no answer for %v, with %d commands in flight", silence, g.inFlight)
	}
	for _, e := range g.events[:n] {
		if err := g.serve(g.connections[e.Fd], unix.MSG_DONTWAIT); err != nil {
			return err
		}
	}
	return nil
}

// serve takes what has come over a connection, and goes on.
func (g *generator) serve(c *connection, flags uintptr) error {
	n, err := c.recv(flags)
	if err != nil {
		return err
	}
	g.at = g.now()
	if err := c.feed(n); err != nil {
		return err
	}
	return g.refill(c)
}
