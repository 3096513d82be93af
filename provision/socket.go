package provision

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/configs"
)

// sockets are listening sockets that the process was started with. Whoever made them (systemd, by a socket unit) keeps
// them open: initiators that connect while one process ends and the next begins wait in them, instead of being refused.
// So a portal on such a socket is never bound, and not closed when it ends; it is lent, and comes back.
type sockets struct {
	mu  sync.Mutex
	all []*socket
}

// A socket is one of them.
type socket struct {
	*net.TCPListener
	turn sync.Mutex // held by whoever is in Accept
	now  *lease     // nil: nobody has it; sockets.mu guards it
}

// A lease is a socket in the hands of a portal, or of refuse. It is a net.Listener.
type lease struct {
	*socket
	of      *sockets
	refuses bool
	ended   atomic.Bool
}

func newSockets(listeners []*net.TCPListener) *sockets {
	s := &sockets{}
	for _, l := range listeners {
		s.all = append(s.all, &socket{TCPListener: l})
	}
	return s
}

// take lends the socket that is just what a portal on an address would bind; nil: there is none, or a portal has it.
func (s *sockets) take(address configs.Portal) net.Listener {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.all {
		if (one.now == nil || one.now.refuses) && one.is(address) {
			return s.lend(one, false)
		}
	}
	return nil
}

// lend gives a socket to whom it is lent to from now on. The mutex is held.
func (s *sockets) lend(one *socket, refuses bool) *lease {
	if one.now != nil {
		one.now.end()
	}
	one.SetDeadline(time.Time{})
	one.now = &lease{socket: one, of: s, refuses: refuses}
	return one.now
}

// refuse has nobody wait in vain: connections to sockets that no portal has are closed at once. It returns the addresses
// of those sockets.
func (s *sockets) refuse() (addresses []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.all {
		if one.now == nil {
			l := s.lend(one, true)
			go func() {
				for {
					conn, err := l.Accept()
					switch {
					case err == nil:
						conn.Close()
					case errors.Is(err, net.ErrClosed):
						return
					default: // a passing want of file descriptors
						time.Sleep(50 * time.Millisecond)
					}
				}
			}()
		}
		if one.now.refuses {
			addresses = append(addresses, one.Addr().String())
		}
	}
	return addresses
}

// onPort is the address of the socket with a port; empty: there is none.
func (s *sockets) onPort(port string) string {
	for _, one := range s.all {
		address := one.Addr().String()
		if _, own, _ := net.SplitHostPort(address); own == port {
			return address
		}
	}
	return ""
}

// release ends the refusing: what comes from now on waits for the process after this one.
func (s *sockets) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.all {
		if one.now != nil && one.now.refuses {
			one.now.end()
			one.now = nil
		}
	}
}

// Accept is that of the socket, until Close.
func (l *lease) Accept() (net.Conn, error) {
	l.turn.Lock()
	defer l.turn.Unlock()
	if l.ended.Load() {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: l.Addr(), Err: net.ErrClosed}
	}
	conn, err := l.socket.Accept()
	if err != nil && l.ended.Load() && os.IsTimeout(err) {
		err = &net.OpError{Op: "accept", Net: "tcp", Addr: l.Addr(), Err: net.ErrClosed}
	}
	return conn, err
}

// Close gives the socket back. It stays open.
func (l *lease) Close() error {
	l.of.mu.Lock()
	defer l.of.mu.Unlock()
	l.end()
	if l.now == l {
		l.now = nil
	}
	return nil
}

// end has Accept return, and waits until it has: no connection is accepted from then on. The
// mutex is held.
func (l *lease) end() {
	if !l.ended.Swap(true) {
		l.SetDeadline(time.Unix(1, 0))
		l.turn.Lock()
		defer l.turn.Unlock()
	}
}

// is tells whether the socket is just what a portal on an address would bind.
func (s *socket) is(address configs.Portal) bool {
	own, err := netip.ParseAddrPort(s.Addr().String())
	if err != nil {
		return false
	}
	network, host := family(address)
	if host == "" { // IPv4 and IPv6 at once
		host = "::"
	}
	_, port, _ := net.SplitHostPort(string(address))
	want, err := netip.ParseAddrPort(net.JoinHostPort(host, port))
	if err != nil || want != own {
		return false
	}
	return !own.Addr().IsUnspecified() || own.Addr().Is4() || s.onlyIPv6() == (network == "tcp6")
}

// onlyIPv6 tells whether a socket on [::] leaves IPv4 to others.
func (s *socket) onlyIPv6() bool {
	only := 0
	raw, err := s.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { only, _ = unix.GetsockoptInt(int(fd), syscall.IPPROTO_IPV6, unix.IPV6_V6ONLY) })
	}
	return err == nil && only != 0
}
