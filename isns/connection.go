package isns

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

// maxUnasked is how many messages that nobody has asked for a server may send over one
// connection in a minute.
const maxUnasked = 240

// A connection is one to the server.
type connection struct {
	client   *Client
	conn     net.Conn
	local    bool // the server is on this host
	stopping context.Context
	bound    time.Duration // until an answer is given up

	incoming chan Message // closed when the connection has ended
	failed   error        // why; to be read when incoming is closed
	reading  sync.WaitGroup
	ended    chan struct{}
	unhook   func() bool // of what ends a write that hangs when stopping ends

	transaction uint16
	minute      time.Time // of the messages that are counted
	count       int
}

// dial connects within connect. When ctx ends it gives up, and so does each exchange, which
// may take as long as bound.
func (c *Client) dial(ctx context.Context, connect, bound time.Duration) (*connection, error) {
	d := net.Dialer{Timeout: connect}
	conn, err := d.DialContext(ctx, "tcp", c.options.Server)
	if err != nil {
		return nil, err
	}
	n := &connection{client: c, conn: conn, stopping: ctx, bound: bound, incoming: make(chan Message), ended: make(chan struct{})}
	if a, err := netip.ParseAddrPort(conn.RemoteAddr().String()); err == nil {
		n.local = a.Addr().Unmap().IsLoopback()
	}
	n.unhook = context.AfterFunc(ctx, func() { conn.Close() })
	n.reading.Go(n.read)
	return n, nil
}

// read passes on what comes in. A message waits here until it is wanted, and so does the
// server then.
func (n *connection) read() {
	defer close(n.incoming)
	for {
		m, err := ReadMessage(n.conn)
		if err != nil {
			n.failed = err
			return
		}
		select {
		case n.incoming <- m:
		case <-n.ended:
			return
		}
	}
}

func (n *connection) close() {
	n.unhook()
	close(n.ended)
	n.conn.Close()
	n.reading.Wait()
}

// failure is why nothing comes in any more.
func (n *connection) failure() error {
	if n.failed == nil || errors.Is(n.failed, io.EOF) {
		return errors.New("it has closed the connection")
	}
	return n.failed
}

// exchange sends a request and waits for its answer. What the server says beside is heard.
func (n *connection) exchange(f Function, flags Flags, payload []byte) (response, error) {
	n.transaction++
	m := Message{Function: f, Flags: flags | FromClient, Transaction: n.transaction, Payload: payload}
	if err := n.write(&m); err != nil {
		return response{}, err
	}
	timer := time.NewTimer(n.bound)
	defer timer.Stop()
	for {
		select {
		case <-n.stopping.Done():
			return response{}, n.stopping.Err()
		case <-timer.C:
			return response{}, fmt.Errorf("no answer to %v within %v", f, n.bound)
		case m, ok := <-n.incoming:
			if !ok || m.Function != f.Response() || m.Transaction != n.transaction {
				if err := n.unasked(m, ok); err != nil {
					return response{}, err
				}
				continue
			}
			var r response
			if err := r.unmarshal(m.Payload); err != nil {
				return response{}, err
			}
			if r.status != Successful {
				return response{}, &RefusalError{f, r.status}
			}
			return r, nil
		}
	}
}

// tryExchange is exchange of what the server may refuse.
func (n *connection) tryExchange(f Function, payload []byte) error {
	_, err := n.exchange(f, 0, payload)
	var refusal *RefusalError
	if errors.As(err, &refusal) {
		return nil
	}
	return err
}

func (n *connection) write(m *Message) error {
	if err := n.conn.SetWriteDeadline(time.Now().Add(n.bound)); err != nil {
		return err
	}
	_, err := n.conn.Write(m.Append(nil))
	return err
}

// unasked takes what comes in without having been asked for; ok is false when nothing comes in
// any more.
func (n *connection) unasked(m Message, ok bool) error {
	if !ok {
		return n.failure()
	}
	if now := time.Now(); now.Sub(n.minute) > time.Minute {
		n.minute, n.count = now, 0
	}
	if n.count++; n.count > maxUnasked {
		return fmt.Errorf("it has sent %d messages in a minute that nobody asked for", maxUnasked)
	}
	if reply := n.client.hear(m); reply != nil {
		return n.write(reply)
	}
	return nil
}
