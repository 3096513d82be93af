package initiator

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/isantarget/isantarget/iscsi"
)

// converse runs script as the target's side of a connection and returns the
// initiator's. Sending and receiving are the same on both sides.
func converse(t *testing.T, script func(target *Connection) error) *Connection {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		nc, err := listener.Accept()
		if err != nil {
			done <- err
			return
		}
		target := newConnection(nc, Options{Timeout: 10 * time.Second})
		target.MaxRecv = 1 << 20
		done <- script(target)
		nc.Close()
	}()
	c, err := Dial(listener.Addr().String(), Options{Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		err := <-done // the connection may not have been accepted before
		listener.Close()
		if err != nil {
			t.Errorf("the target's side: %v", err)
		}
	})
	return c
}

// reply sends a PDU made of a header and data.
func reply(c *Connection, m interface{ Marshal(*iscsi.BHS) }, data []byte) error {
	p := PDU{Data: data}
	m.Marshal(&p.BHS)
	return c.Send(&p, 0)
}

func wantViolation(t *testing.T, err error, clause, what string) {
	t.Helper()
	var v *Violation
	if !errors.As(err, &v) || v.Clause != "RFC 7143 "+clause || !strings.Contains(v.What, what) {
		t.Errorf("got %v, want a violation of %s with %q", err, clause, what)
	}
}

// inFullFeature sets a connection up as a login would have.
func inFullFeature(c *Connection, p Parameters) {
	c.Session.Parameters = p
	c.Session.CmdSN, c.Session.ExpCmdSN, c.Session.MaxCmdSN = 1, 1, 32
	c.ExpStatSN = 100
}
