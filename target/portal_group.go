package target

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// A PortalGroup is the portals that one session may span (RFC 7143 4.2.8), and
// a SCSI target port of every node that uses it.
type PortalGroup struct {
	entity *Entity
	tag    uint16

	mu      sync.Mutex
	portals []net.Listener
	closed  bool
}

// NewPortalGroup makes a portal group without portals.
func (e *Entity) NewPortalGroup(tag uint16) *PortalGroup {
	g := &PortalGroup{entity: e, tag: tag}
	e.mu.Lock()
	e.groups = append(e.groups, g)
	e.mu.Unlock()
	return g
}

// Serve makes l a portal of the group, accepts connections on it in the
// background, and closes it at shutdown.
func (g *PortalGroup) Serve(l net.Listener) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		l.Close()
		return
	}
	g.portals = append(g.portals, l)
	g.entity.running.Go(func() { g.accept(l) })
}

// Withdraw ends the portal l of the group: nobody is accepted on it any more.
// Connections that came over it go on.
func (g *PortalGroup) Withdraw(l net.Listener) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if i := slices.Index(g.portals, l); i >= 0 {
		g.portals = slices.Delete(g.portals, i, i+1)
		l.Close()
	}
}

// RemovePortalGroup ends g and its portals. No node may lead to it any more.
func (e *Entity) RemovePortalGroup(g *PortalGroup) {
	e.mu.Lock()
	e.groups = slices.DeleteFunc(e.groups, func(o *PortalGroup) bool { return o == g })
	e.mu.Unlock()
	g.close()
}

// accept runs until l is closed. A passing want of file descriptors does not
// end it.
func (g *PortalGroup) accept(l net.Listener) {
	const pause = 50 * time.Millisecond
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			g.entity.log.WithError(err).WithField("portal", l.Addr().String()).Error("accept failed")
			time.Sleep(pause)
			continue
		}
		g.entity.accepted(g, conn)
	}
}

func (g *PortalGroup) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	for _, l := range g.portals {
		l.Close()
	}
}

// reachable lists the addresses of the group that the peer of a connection
// from remote to local can use: portals on loopback only from loopback, the
// same IP version only, and for a portal on every address the one that the
// peer has used.
func (g *PortalGroup) reachable(local, remote netip.AddrPort) []netip.AddrPort {
	g.mu.Lock()
	defer g.mu.Unlock()
	var addresses []netip.AddrPort
	for _, l := range g.portals {
		a := addrPort(l.Addr())
		switch {
		case a.Addr().IsUnspecified():
			// [::] takes IPv4 as well
			if a.Addr().Is4() && !local.Addr().Is4() {
				continue
			}
			a = netip.AddrPortFrom(local.Addr(), a.Port())
		case a.Addr().Is4() != local.Addr().Is4():
			continue
		case a.Addr().IsLoopback() && !remote.Addr().IsLoopback():
			continue
		}
		if !slices.Contains(addresses, a) { // 0.0.0.0 and [::] side by side
			addresses = append(addresses, a)
		}
	}
	return addresses
}
