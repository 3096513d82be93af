package isns

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds on those who connect to where we hear of inquiries and notices: anybody may.
const (
	maxHearings = 16                    // connections at once; the oldest has to go
	maxSilence  = 30 * time.Minute      // between two messages
	hearingRest = 20 * time.Millisecond // after each message
	toldChanges = 8                     // of others, in one minute: the rest is not told
)

// listeners are where the server sends inquiries and notices: one for each address at which
// we have a portal.
type listeners struct {
	client *Client
	serves sync.WaitGroup

	heard    atomic.Uint64 // messages
	inquired atomic.Uint64 // inquiries, since the last registration

	mu       sync.Mutex
	closed   bool
	at       map[netip.Addr]net.Listener
	hearings []net.Conn // from the oldest
	minute   time.Time
	told     int
}

func (l *listeners) open(c *Client) { l.client, l.at = c, map[netip.Addr]net.Listener{} }

// listen listens at the addresses of portals, and no longer at others. Where that is not
// possible, which is the error, no notices are asked for.
func (l *listeners) listen(portals []netip.AddrPort, port uint16) (failed error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for a, one := range l.at {
		if !slices.ContainsFunc(portals, func(p netip.AddrPort) bool { return p.Addr() == a }) {
			one.Close()
			delete(l.at, a)
		}
	}
	for _, p := range portals {
		if l.at[p.Addr()] != nil {
			continue
		}
		one, err := net.Listen("tcp", netip.AddrPortFrom(p.Addr(), port).String())
		if err != nil {
			failed = err
			continue
		}
		l.at[p.Addr()] = one
		l.serves.Go(func() { l.accept(one) })
	}
	return failed
}

// port is where we listen at an address; 0: nowhere.
func (l *listeners) port(a netip.Addr) uint16 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if one := l.at[a]; one != nil {
		return uint16(one.Addr().(*net.TCPAddr).Port)
	}
	return 0
}

func (l *listeners) close() {
	l.mu.Lock()
	l.closed = true
	for _, one := range l.at {
		one.Close()
	}
	for _, c := range l.hearings {
		c.Close()
	}
	l.mu.Unlock()
	l.serves.Wait()
}

func (l *listeners) accept(from net.Listener) {
	for {
		conn, err := from.Accept()
		if err != nil {
			if l.client.stopping.Err() != nil || isClosed(err) {
				return
			}
			select { // a passing want of file descriptors
			case <-l.client.stopping.Done():
				return
			case <-time.After(time.Second):
			}
			continue
		}
		l.mu.Lock()
		if l.closed {
			l.mu.Unlock()
			conn.Close()
			return
		}
		if len(l.hearings) >= maxHearings {
			l.hearings[0].Close()
			l.hearings = slices.Delete(l.hearings, 0, 1)
		}
		l.hearings = append(l.hearings, conn)
		l.serves.Go(func() { l.serve(conn) })
		l.mu.Unlock()
	}
}

// serve answers messages until the peer is silent, wrong, or gone.
func (l *listeners) serve(conn net.Conn) {
	defer func() {
		conn.Close()
		l.mu.Lock()
		defer l.mu.Unlock()
		l.hearings = slices.DeleteFunc(l.hearings, func(c net.Conn) bool { return c == conn })
	}()
	for {
		conn.SetDeadline(time.Now().Add(maxSilence))
		m, err := ReadMessage(conn)
		if err != nil {
			return
		}
		reply := l.client.hear(m)
		if reply == nil {
			return
		}
		conn.SetDeadline(time.Now().Add(l.client.pace.exchange))
		if _, err := conn.Write(reply.Append(nil)); err != nil {
			return
		}
		select {
		case <-l.client.stopping.Done():
			return
		case <-time.After(hearingRest):
		}
	}
}

// mayTell counts changes of others that are told, and bounds them.
func (l *listeners) mayTell() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); now.Sub(l.minute) > time.Minute {
		l.minute, l.told = now, 0
	}
	l.told++
	return l.told <= toldChanges
}
