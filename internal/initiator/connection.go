package initiator

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/isantarget/isantarget/iscsi"
)

// DefaultTimeout bounds every wait of a Connection that says nothing else.
const DefaultTimeout = time.Minute

// Options says how a Connection is made.
type Options struct {
	Timeout    time.Duration // of each wait; 0: DefaultTimeout
	ReadBuffer int           // bytes of the socket's receive buffer; 0: the system's choice
	Local      net.Addr      // where it comes from; nil: the system's choice

	// Forgive notes a violation in Connection.Violations and goes on, where the account
	// of the connection stays whole, and bounds what an evil target may make this side
	// remember: for whoever examines a target that nobody knows.
	Forgive bool
	// Until is when every wait ends, whatever is being waited for; zero: never.
	Until time.Time
}

// A Connection is one iSCSI connection, seen from the initiator. It is used by one
// goroutine at a time. Its exported fields may be changed between two calls: that
// is one way to be wrong.
type Connection struct {
	Session   *Session
	CID       uint16
	ExpStatSN uint32 // what the target's next status must bear
	Digests   Digests
	Timeout   time.Duration

	// MaxRecv is the MaxRecvDataSegmentLength that this side declared, MaxSend the target's.
	MaxRecv, MaxSend int

	Until   time.Time // as Options have it
	Forgive bool      // as Options have it

	// Violations are those that were forgiven.
	Violations []*Violation

	// IgnorePings leaves the target's NOP-Ins without an answer.
	IgnorePings bool

	// Steps are the target's answers in the login so far, and Answers all their keys
	// once it has succeeded.
	Steps   []LoginStep
	Answers map[string]string

	// What came without being asked for.
	Async   []iscsi.AsyncMessage
	Sense   [][]byte // the data of each of Async
	Rejects []Rejection
	Pings   []iscsi.NopIn

	net    net.Conn
	reader *bufio.Reader
	tasks  map[uint32]*Task
}

// A Rejection is a Reject with the header it speaks of.
type Rejection struct {
	iscsi.Reject
	Header iscsi.BHS
}

// Dial opens a connection to a portal. Login, or the exchanges it is made of, comes next.
func Dial(addr string, o Options) (*Connection, error) {
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	d := net.Dialer{Timeout: o.Timeout, Deadline: o.Until, LocalAddr: o.Local}
	if o.ReadBuffer > 0 {
		d.Control = func(_, _ string, raw syscall.RawConn) error {
			var err error
			if e := raw.Control(func(fd uintptr) {
				err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, o.ReadBuffer)
			}); e != nil {
				return e
			}
			return err
		}
	}
	nc, err := d.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return newConnection(nc, o), nil
}

func newConnection(nc net.Conn, o Options) *Connection {
	return &Connection{
		Session: &Session{Parameters: DefaultParameters()}, Timeout: o.Timeout, net: nc, reader: bufio.NewReader(nc),
		MaxRecv: 8192, MaxSend: 8192, tasks: map[uint32]*Task{}, Forgive: o.Forgive, Until: o.Until,
	}
}

// deadline is when a wait that begins now ends.
func (c *Connection) deadline() time.Time {
	end := time.Now().Add(c.Timeout)
	if !c.Until.IsZero() && c.Until.Before(end) {
		return c.Until
	}
	return end
}

// Close closes the connection without a word, as a cut cable or a killed host does
// once its kernel speaks up.
func (c *Connection) Close() error { return c.net.Close() }

// Reset closes the connection so that the target sees a TCP reset.
func (c *Connection) Reset() error {
	if tcp, ok := c.net.(*net.TCPConn); ok {
		if err := tcp.SetLinger(0); err != nil {
			return err
		}
	}
	return c.net.Close()
}

// CloseWrite ends the sending direction and leaves the other open.
func (c *Connection) CloseWrite() error { return c.net.(*net.TCPConn).CloseWrite() }

// LocalAddr returns this side's address.
func (c *Connection) LocalAddr() net.Addr { return c.net.LocalAddr() }

// Send sends p with faults. It keeps no account: numbers and tags are the caller's.
func (c *Connection) Send(p *PDU, faults Faults) error {
	return c.SendBytes(p.Encode(c.Digests, faults))
}

// SendBytes sends bytes as they are.
func (c *Connection) SendBytes(wire []byte) error {
	if err := c.net.SetWriteDeadline(c.deadline()); err != nil {
		return err
	}
	_, err := c.net.Write(wire)
	return err
}

// Receive reads the next PDU, checks its form and digests, and does nothing else.
// io.EOF says that the target closed the connection between two PDUs.
func (c *Connection) Receive() (*PDU, error) {
	if err := c.net.SetReadDeadline(c.deadline()); err != nil {
		return nil, err
	}
	p, err := readPDU(c.reader, c.Digests, max(c.MaxRecv, 8192))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, fmt.Errorf("nothing came for %v: %w", c.Timeout, err)
	}
	return p, err
}

// WaitClosed reads and drops what comes until the target closes the connection. It
// fails when that does not happen within the time that every wait has.
func (c *Connection) WaitClosed() error {
	if err := c.net.SetReadDeadline(c.deadline()); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, c.reader)
	if IsClosed(err) || err == nil {
		return nil
	}
	return fmt.Errorf("the target keeps the connection open: %w", err)
}

// IsClosed reports whether err says that the peer closed or reset the connection.
func IsClosed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
