package target

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/isantarget/isantarget/guess"
	"github.com/isantarget/isantarget/iscsi"
	"github.com/isantarget/isantarget/meter"
)

// Limits bound what peers can make the entity do. A zero field takes the value
// of DefaultLimits.
type Limits struct {
	Connections           int           // of all peers
	SessionsPerInitiator  int           // by initiator name, over all nodes
	ConnectionsPerSession int           // the MaxConnections we offer, 1 to 4
	CommandWindow         int           // commands a session may have open
	Memory                int64         // bytes for data of all sessions
	LoginTimeout          time.Duration // from the connection to the full feature phase
	NopInterval           time.Duration // silence before a NOP-In asks the peer
	NopTimeout            time.Duration // what the peer has to answer it
	HangBound             time.Duration // how long a store may hold up task management
	DrainTimeout          time.Duration // what initiators have to log out at shutdown
	HostBound             time.Duration // how long a login waits for hosts that were never looked up yet
}

// DefaultLimits suit a small SAN.
func DefaultLimits() Limits {
	return Limits{
		Connections: 512, SessionsPerInitiator: 32, ConnectionsPerSession: 4, CommandWindow: 128,
		Memory: 512 << 20, LoginTimeout: 15 * time.Second, NopInterval: 15 * time.Second,
		NopTimeout: 15 * time.Second, HangBound: 10 * time.Second, DrainTimeout: 10 * time.Second,
		HostBound: 2 * time.Second, // who comes with the daemon should not have to come twice
	}
}

func (l Limits) withDefaults() Limits {
	d := DefaultLimits()
	if l.Connections <= 0 {
		l.Connections = d.Connections
	}
	if l.SessionsPerInitiator <= 0 {
		l.SessionsPerInitiator = d.SessionsPerInitiator
	}
	if l.ConnectionsPerSession <= 0 || l.ConnectionsPerSession > 4 {
		l.ConnectionsPerSession = d.ConnectionsPerSession
	}
	if l.CommandWindow <= 0 {
		l.CommandWindow = d.CommandWindow
	}
	if l.Memory <= 0 {
		l.Memory = d.Memory
	}
	l.Memory = max(l.Memory, 4*MaxTransfer)
	for _, t := range []struct{ have, other *time.Duration }{
		{&l.LoginTimeout, &d.LoginTimeout}, {&l.NopInterval, &d.NopInterval}, {&l.NopTimeout, &d.NopTimeout},
		{&l.HangBound, &d.HangBound}, {&l.DrainTimeout, &d.DrainTimeout}, {&l.HostBound, &d.HostBound},
	} {
		if *t.have <= 0 {
			*t.have = *t.other
		}
	}
	return l
}

// Options are what NewEntity needs.
type Options struct {
	Limits Limits
	Log    *logrus.Logger // nil: nothing is logged
}

// DiscoveryAuth is what a discovery session has to prove; the zero value: nothing.
type DiscoveryAuth struct {
	CHAP, Mutual *Credential
}

// An Entity is an iSCSI network entity (RFC 7143 4.1): portals, and the nodes
// behind them.
type Entity struct {
	limits      Limits
	log         *logrus.Entry
	buffers     bufferPool
	batches     sync.Pool
	memory      memory // for data that we ask for or send, see divide
	burstMemory memory // for data that initiators send unasked
	nodes       atomic.Pointer[map[iscsi.Name]*Node]
	discovery   atomic.Pointer[DiscoveryAuth]
	serial      atomic.Uint64
	watch       watch
	guesses     guess.Guesses
	logins      logins
	flow        meter.Flow // of all nodes, those that are gone too

	mu          sync.Mutex
	groups      []*PortalGroup
	connections map[*Connection]struct{}
	sessions    map[uint16]*Session
	lastTSIH    uint16
	draining    bool
	running     sync.WaitGroup // accepting and serving goroutines
}

// NewEntity makes an entity without portals and nodes.
func NewEntity(o Options) *Entity {
	if o.Log == nil {
		o.Log = logrus.New()
		o.Log.SetOutput(io.Discard)
	}
	e := &Entity{
		limits: o.Limits.withDefaults(), log: logrus.NewEntry(o.Log),
		connections: map[*Connection]struct{}{}, sessions: map[uint16]*Session{},
	}
	e.divide()
	e.SetNodes(nil)
	e.SetDiscovery(DiscoveryAuth{})
	return e
}

// SetNodes replaces the nodes that initiators find. Sessions of nodes that are
// no longer among them end.
func (e *Entity) SetNodes(nodes []*Node) {
	m := make(map[iscsi.Name]*Node, len(nodes))
	for _, n := range nodes {
		m[n.name] = n
	}
	old := e.nodes.Swap(&m)
	if old == nil {
		return
	}
	for name, n := range *old {
		if m[name] == n {
			continue
		}
		n.close()
	}
}

// SetDiscovery sets what discovery sessions have to prove from now on.
func (e *Entity) SetDiscovery(a DiscoveryAuth) { e.discovery.Store(&a) }

// node finds a node by its name.
func (e *Entity) node(name iscsi.Name) *Node { return (*e.nodes.Load())[name] }

// accepted starts to serve a connection, or closes it when there are too many.
func (e *Entity) accepted(g *PortalGroup, conn net.Conn) {
	c, err := newConnection(g, conn, e.serial.Add(1))
	if err != nil {
		e.log.WithError(err).Error("connection refused")
		conn.Close()
		return
	}
	e.mu.Lock()
	full := len(e.connections) >= e.limits.Connections
	var stranger *Connection
	if full && !e.draining {
		stranger = e.oldestStranger()
		delete(e.connections, stranger)
		full = stranger == nil
	}
	if !full && !e.draining {
		e.connections[c] = struct{}{}
		e.running.Go(c.serve)
		e.mu.Unlock()
		if stranger != nil {
			e.log.WithField("from", stranger.remote.String()).Warnf("connection closed before its login was complete: %d are open, which is the limit, and another came", e.limits.Connections)
			stranger.fail(errPushedOut)
		}
		return
	}
	e.mu.Unlock()
	if full {
		c.log.Warnf("connection refused: %d are open, which is the limit; raise limits.connections if that is right", e.limits.Connections)
	}
	conn.Close()
}

var errPushedOut = errors.New("the connection had to make room for another before its login was complete")

// oldestStranger is the connection that has been there longest without a login:
// who opens connections and says nothing is not to keep out who has something to
// say. nil: all have logged in. e.mu is held.
func (e *Entity) oldestStranger() *Connection {
	var oldest *Connection
	for c := range e.connections {
		if !c.inSession && (oldest == nil || c.serial < oldest.serial) {
			oldest = c
		}
	}
	return oldest
}

// belongs says that c has become a connection of a session.
func (e *Entity) belongs(c *Connection) {
	e.mu.Lock()
	c.inSession = true
	e.mu.Unlock()
}

// remove forgets a connection that has ended.
func (e *Entity) remove(c *Connection) {
	e.mu.Lock()
	delete(e.connections, c)
	e.mu.Unlock()
}

// addSession gives s a TSIH; false: there are too many sessions of its initiator.
func (e *Entity) addSession(s *Session) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.draining {
		return refuse(iscsi.LoginServiceUnavailable, "the target is shutting down")
	}
	count := 0
	for _, o := range e.sessions {
		if o.initiator == s.initiator && !s.replaces(o) {
			count++
		}
	}
	if count >= e.limits.SessionsPerInitiator {
		return refuse(iscsi.LoginOutOfResources, "the initiator has %d sessions, which is the limit; raise limits.sessions-per-initiator if that is right", count)
	}
	for {
		e.lastTSIH++
		if e.lastTSIH != 0 && e.sessions[e.lastTSIH] == nil {
			break
		}
	}
	s.tsih = e.lastTSIH
	e.sessions[s.tsih] = s
	return nil
}

// session finds the session of a TSIH.
func (e *Entity) session(tsih uint16) *Session {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.sessions[tsih]
}

// removeSession forgets an ended session.
func (e *Entity) removeSession(s *Session) {
	if s.node != nil {
		s.node.leave(s)
	}
	e.mu.Lock()
	delete(e.sessions, s.tsih)
	e.mu.Unlock()
}

// allSessions lists the sessions by TSIH.
func (e *Entity) allSessions() []*Session {
	e.mu.Lock()
	defer e.mu.Unlock()
	var all []*Session
	for _, s := range e.sessions {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b *Session) int { return int(a.tsih) - int(b.tsih) })
	return all
}

// Shutdown refuses new connections and logins, asks the initiators to log out
// (Async Message, RFC 7143 11.9), waits until they have, or until ctx ends or
// DrainTimeout is over, closes what is left, and returns when no command of any
// session can act any more.
func (e *Entity) Shutdown(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, e.limits.DrainTimeout)
	defer cancel()
	e.mu.Lock()
	e.draining = true
	groups := slices.Clone(e.groups)
	e.mu.Unlock()
	for _, g := range groups {
		g.close()
	}
	sessions := e.allSessions()
	for _, s := range sessions {
		s.requestLogout(e.limits.DrainTimeout)
	}
	for _, s := range sessions {
		select {
		case <-s.done:
		case <-ctx.Done():
			s.terminate(errDraining)
		}
	}
	e.mu.Lock()
	for c := range e.connections {
		c.finish(errDraining)
	}
	e.mu.Unlock()
	e.running.Wait()
	return nil
}

// ErrNoSession: there is no session with that TSIH.
var ErrNoSession = errors.New("target: no such session")

var errOperator = errors.New("logged out by the operator")

// Logout asks the initiator of a session to log out (Async Message, RFC 7143
// 11.9.1, event 1), waits until it has, or until ctx ends or DrainTimeout is over,
// and closes what is left. When it returns nil the session has ended, and no command
// of it can act any more.
func (e *Entity) Logout(ctx context.Context, tsih uint16) error {
	s := e.session(tsih)
	if s == nil {
		return ErrNoSession
	}
	ctx, cancel := context.WithTimeout(ctx, e.limits.DrainTimeout)
	defer cancel()
	e.log.WithFields(logrus.Fields{"initiator": s.initiator, "tsih": tsih}).Info("the operator ends the session")
	s.requestLogout(e.limits.DrainTimeout)
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
	}
	s.terminate(errOperator)
	if !s.await(e.limits.HangBound) {
		return fmt.Errorf("target: the connections of session %d are closed, but its commands hang in a store", tsih)
	}
	return nil
}

// SessionInfo is what Sessions tells of a session.
type SessionInfo struct {
	TSIH        uint16
	Target      iscsi.Name // empty: a discovery session
	Initiator   iscsi.Name
	Alias       string
	ISID        iscsi.ISID
	Group       uint16 // target portal group tag
	Rule        string
	Since       time.Time
	Connections []ConnectionInfo
	Commands    int // open now
	// Known says that the rule which admits it has a say in who it is: it names initiators or
	// addresses, or the session has proven to be a CHAP user. Else anybody may call himself so.
	Known bool
	Load  meter.FlowCount
}

// ConnectionInfo is what Sessions tells of a connection.
type ConnectionInfo struct {
	CID                      uint16
	From, Portal             string
	HeaderDigest, DataDigest bool
}

// Sessions lists the sessions as they are now.
func (e *Entity) Sessions() []SessionInfo {
	var infos []SessionInfo
	for _, s := range e.allSessions() {
		infos = append(infos, s.info())
	}
	return infos
}

// Load is what all nodes have done, those that are gone too.
func (e *Entity) Load() meter.FlowCount { return e.flow.Count() }

func (s *Session) info() SessionInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := SessionInfo{
		TSIH: s.tsih, Initiator: s.initiator, Alias: s.alias, ISID: s.isid, Group: s.group.tag,
		Rule: s.rule, Known: s.known, Since: s.since, Commands: s.tasks.count, Load: s.flow.Count(),
	}
	if s.node != nil {
		i.Target = s.node.name
	}
	for _, c := range s.connections {
		digests := c.transmit.agreed()
		i.Connections = append(i.Connections, ConnectionInfo{
			CID: c.cid, From: c.remote.String(), Portal: c.local.String(),
			HeaderDigest: digests.header, DataDigest: digests.data,
		})
	}
	return i
}
