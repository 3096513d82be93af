package target

import (
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"

	"github.com/isantarget/isantarget/iscsi"
)

var errTargetRemoved = errors.New("the target was removed")

// requestLogout asks the initiator to log out within the given time (RFC 7143
// 11.9, event 1), over one connection of the session, or over the first whose login ends.
func (s *Session) requestLogout(within time.Duration) {
	s.mu.Lock()
	c := s.speaker()
	if c == nil {
		s.owed = within
	}
	s.mu.Unlock()
	if c != nil {
		c.askToLogOut(within)
	}
}

func (c *Connection) askToLogOut(within time.Duration) {
	c.sendAsync(iscsi.AsyncMessage{Event: iscsi.AsyncLogoutRequest, Parameter3: uint16(within / time.Second)}, nil)
}

// speakOver lets the target speak up over c, and says what it could not say before.
func (s *Session) speakOver(c *Connection) {
	s.mu.Lock()
	c.loggedIn = true
	owed := s.owed
	s.owed = 0
	s.mu.Unlock()
	if owed > 0 {
		c.askToLogOut(owed)
	}
}

// spokesman is a connection over which the target may speak up; nil: there is none.
func (s *Session) spokesman() *Connection {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.speaker()
}

// speaker is spokesman while mu is held.
func (s *Session) speaker() *Connection {
	for _, c := range s.connections {
		if c.loggedIn {
			return c
		}
	}
	return nil
}

// sendAsync sends p, with data behind it, with the connection's serial numbers. It
// does not wait for the peer.
func (c *Connection) sendAsync(p iscsi.AsyncMessage, data []byte) {
	c.transmit.add(item{kind: itemMessage, message: &message{
		data: data,
		marshal: func(h *iscsi.BHS, sn serialNumbers) {
			p.StatSN, p.ExpCmdSN, p.MaxCmdSN = sn.stat, sn.exp, sn.max
			p.Marshal(h)
		},
	}})
	c.transmit.flush(false)
}

// describeEnd is the reason for the end of a connection in plain words.
func describeEnd(err error) error {
	switch {
	case errors.Is(err, io.EOF):
		return errors.New("the initiator closed the connection without a logout")
	case errors.Is(err, syscall.ECONNRESET):
		return fmt.Errorf("the initiator reset the connection")
	}
	return err
}
