package target

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/isantarget/isantarget/iscsi"
	"github.com/isantarget/isantarget/meter"
	"github.com/isantarget/isantarget/scsi"
)

// receiveBuffer is what one read(2) may bring: many commands at depth. Larger
// data segments are read straight into their place.
const receiveBuffer = 64 << 10

// A Connection is one TCP connection of a session. One goroutine reads it;
// whoever ends a command writes it (see transmitQueue). It alone counts StatSN.
type Connection struct {
	entity  *Entity
	group   *PortalGroup
	session *Session // nil until the login ends
	conn    net.Conn
	raw     syscall.RawConn
	local   netip.AddrPort
	remote  netip.AddrPort
	log     *logrus.Entry
	cid     uint16
	serial  uint64 // order of arrival, for the log and Sessions

	inSession bool // it will not make room for others; the entity's lock guards it

	maxSend  atomic.Int32 // the initiator's MaxRecvDataSegmentLength in bytes
	digests  digests
	reader   *bufio.Reader
	header   iscsi.BHS
	ahs      [iscsi.MaxAHSLength]byte
	tail     [3 + iscsi.DigestLength]byte
	pdu      pdus
	post     post
	reads    scsi.Gathering // commands that wait to be read together; the reader's own
	transmit transmitQueue
	texting  sync.Mutex // before transmit.mu
	text     textExchange
	loggedIn bool          // the target may speak up over it, once its last Login Response is out; session.mu guards it
	transfer atomic.Uint32 // last Target Transfer Tag given out

	clock    atomic.Int64  // meter.Moment: when the reader had read last, or ended a command; what it does next begins then
	busy     atomic.Bool   // the reader is at work and will flush before it waits
	received atomic.Uint64 // PDUs; tells the keep-alive that the peer lives
	arrived  atomic.Uint64 // bytes of Data-Out PDUs; tells that the peer answers R2Ts
	sent     atomic.Uint64 // bytes that the socket took
	alive    keepAlive

	closeOnce sync.Once
	cause     atomic.Pointer[error] // why the connection ends, the first reason
	clean     atomic.Bool           // it ends by logout or reinstatement
	gone      chan struct{}         // closed when it is torn down
}

// pdus is memory for the PDU being parsed, so that parsing allocates nothing.
type pdus struct {
	command iscsi.SCSICommand
	dataOut iscsi.DataOut
}

func newConnection(g *PortalGroup, conn net.Conn, serial uint64) (*Connection, error) {
	c := &Connection{
		entity: g.entity, group: g, conn: conn, serial: serial,
		reader: bufio.NewReaderSize(conn, receiveBuffer),
		gone:   make(chan struct{}),
	}
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return nil, fmt.Errorf("target: connection of type %T has no file descriptor", conn)
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil, err
	}
	c.raw = raw
	c.local, c.remote = addrPort(conn.LocalAddr()), addrPort(conn.RemoteAddr())
	c.log = g.entity.log.WithFields(logrus.Fields{"from": c.remote.String(), "portal": c.local.String()})
	c.maxSend.Store(defaultMaxRecvDataSegmentLength)
	c.transmit.init(c)
	return c, nil
}

// addrPort is a in the form that access rules compare: IPv4 unmapped, without zone.
func addrPort(a net.Addr) netip.AddrPort {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := t.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
}

// serve runs the connection from its first PDU on.
func (c *Connection) serve() {
	if err := c.login(); err != nil {
		c.log.WithError(err).Debug("login ended")
		c.conn.Close()
		c.leave()
		return
	}
	c.alive.start(c)
	c.run()
}

// run is the reader. When the connection ends it tears it down; when another
// reader has taken its place it just ends.
func (c *Connection) run() {
	err := c.receive()
	if err == errRelieved {
		return
	}
	c.reads.End()
	c.fail(err)
	c.alive.stop()
	c.transmit.close()
	c.session.connectionLost(c)
	c.leave()
}

// leave is the end of the connection.
func (c *Connection) leave() {
	c.entity.remove(c)
	close(c.gone)
}

// fail ends the connection for err; only the first reason counts.
func (c *Connection) fail(err error) {
	c.closeOnce.Do(func() {
		c.cause.Store(&err)
		c.conn.Close()
	})
}

// finish ends the connection after an orderly logout or reinstatement.
func (c *Connection) finish(err error) {
	c.clean.Store(true)
	c.fail(err)
}

// now is the moment at which what the reader does began: it costs no look at a clock.
func (c *Connection) now() meter.Moment { return meter.Moment(c.clock.Load()) }

// tick notes the moment from which on the reader does something else.
func (c *Connection) tick(at meter.Moment) {
	if c.now() != at { // commands that were gathered end at one moment
		c.clock.Store(int64(at))
	}
}

// nextTransferTag is a Target Transfer Tag that no open R2T of the connection has.
func (c *Connection) nextTransferTag() uint32 {
	for {
		if tag := c.transfer.Add(1); tag != iscsi.ReservedTag {
			return tag
		}
	}
}

// A keepAlive finds dead peers: after a silence it sends a NOP-In that asks for
// an answer, and ends the connection when none comes (RFC 7143 11.19). The same
// timer finds peers that take no data, or do not send what an R2T asked for.
type keepAlive struct {
	mu      sync.Mutex
	timer   *time.Timer
	asked   bool
	stopped bool
	last    struct{ received, sent, arrived, emptied uint64 }
	period  time.Duration // from the last look to this one
	starved time.Duration // how long the R2Ts have not been answered
	stuck   int           // looks since the socket has taken enough of what waits for it
}

// minProgress is how many bytes a second a peer has to take, or send, while memory is
// kept for it. A byte now and then is no progress: it would keep its memory for ever.
const minProgress = 4 << 10

// dataOutTimeout is how long an initiator may leave R2Ts unanswered.
const dataOutTimeout = 60 * time.Second

// stuckLooks is how many looks in a row may find that the peer has taken nothing.
const stuckLooks = 3

var (
	errDeadPeer    = fmt.Errorf("the peer does not answer NOP-In")
	errStalledPeer = fmt.Errorf("the peer does not take what is sent to it, or too slowly")
	errNoDataOut   = fmt.Errorf("the peer does not answer R2T, or too slowly")
)

func (k *keepAlive) start(c *Connection) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.period = c.entity.limits.NopInterval
	k.timer = time.AfterFunc(k.period, func() { k.tick(c) })
}

func (k *keepAlive) stop() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.stopped = true
	if k.timer != nil {
		k.timer.Stop()
	}
}

func (k *keepAlive) tick(c *Connection) {
	next, ping, err := k.look(c)
	if err != nil {
		c.fail(err)
		return
	}
	if ping {
		c.sendPing()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.stopped {
		k.timer.Reset(next)
	}
}

// look compares the counters with those of the last look: what is to be done,
// and when to look again.
func (k *keepAlive) look(c *Connection) (next time.Duration, ping bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	l := c.entity.limits
	next = l.NopInterval
	received, sent, arrived := c.received.Load(), c.sent.Load(), c.arrived.Load()
	stalled, emptied := c.transmit.stalled()
	enough := uint64(k.period.Seconds() * minProgress)
	defer func() { k.period = next }()
	if k.asked {
		next = l.NopTimeout
	}
	// Who takes nothing keeps the memory of what waits for him, however much he says.
	if k.stuck++; !stalled || emptied != k.last.emptied || sent-k.last.sent >= enough {
		k.stuck = 0
	}
	switch {
	case k.stuck >= stuckLooks, k.stuck > 0 && k.asked && received == k.last.received:
		return 0, false, errStalledPeer
	case received != k.last.received:
		k.asked = false
		next = l.NopInterval
	case k.asked:
		return 0, false, errDeadPeer
	default:
		k.asked, ping = true, true
		next = l.NopTimeout
	}
	if c.session.stillWaitsForData(c) && arrived-k.last.arrived < enough {
		if k.starved += k.period; k.starved >= dataOutTimeout {
			return 0, false, errNoDataOut
		}
	} else {
		k.starved = 0
	}
	k.last.received, k.last.sent, k.last.arrived, k.last.emptied = received, sent, arrived, emptied
	return next, ping, nil
}
