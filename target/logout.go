package target

import (
	"github.com/isantarget/isantarget/iscsi"
)

// onLogout is RFC 7143 11.14.
func (c *Connection) onLogout() error {
	var p iscsi.LogoutRequest
	if err := p.Unmarshal(&c.header); err != nil {
		return c.rejectFatal(iscsi.RejectInvalidPDUField, err)
	}
	if err := c.discardData(c.header.DataSegmentLength()); err != nil {
		return err
	}
	s := c.session
	if p.Immediate && !s.beginImmediate() {
		c.reject(iscsi.RejectTooManyImmediate)
		return nil
	}
	// Commands of the session may have to be aborted first, which can take as
	// long as a store hangs: the reader must not wait for that.
	c.sequencedLong(p.Immediate, p.CmdSN, func() {
		go func() {
			if p.Immediate {
				defer s.endImmediate()
			}
			s.logout(c, p)
		}()
	})
	return nil
}

// logout does what p asks, answers over c, and closes what is to be closed.
func (s *Session) logout(c *Connection, p iscsi.LogoutRequest) {
	switch p.Reason {
	case iscsi.CloseSession:
		s.leave(c, p)
	case iscsi.CloseConnection:
		closing, last := s.connection(p.CID)
		switch {
		case closing == nil:
			s.answerLogout(c, p, iscsi.LogoutCIDNotFound, nil)
			return
		case last:
			s.leave(c, p)
			return
		}
		s.abort(func(t *task) bool { return t.connection == closing })
		s.answerLogout(c, p, iscsi.LogoutClosed, func() { closing.finish(errLoggedOut) })
	default:
		// Connection recovery needs ErrorRecoveryLevel 2.
		s.answerLogout(c, p, iscsi.LogoutRecoveryNotSupported, nil)
	}
}

// leave ends the session. When the response leaves, the I_T nexus is lost and
// what it held is free: another initiator may count on it at once.
func (s *Session) leave(c *Connection, p iscsi.LogoutRequest) {
	s.mu.Lock()
	s.leaving = true
	s.mu.Unlock()
	s.recall(func(*task) bool { return true })
	s.losing.Do(s.loseNexus)
	s.answerLogout(c, p, iscsi.LogoutClosed, func() { s.terminate(errLoggedOut) })
}

// connection finds the connection of a CID; last tells that there is no other.
func (s *Session) connection(cid uint16) (c *Connection, last bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.connections {
		if c.cid == cid {
			return c, len(s.connections) == 1
		}
	}
	return nil, false
}

// answerLogout sends the response and then calls sent.
func (s *Session) answerLogout(c *Connection, p iscsi.LogoutRequest, status iscsi.LogoutStatus, sent func()) {
	if !p.Immediate {
		s.window.open()
	}
	c.transmit.send(&message{
		sent: sent,
		marshal: func(h *iscsi.BHS, sn serialNumbers) {
			r := iscsi.LogoutResponse{
				Response: status, InitiatorTaskTag: p.InitiatorTaskTag,
				StatSN: sn.stat, ExpCmdSN: sn.exp, MaxCmdSN: sn.max,
				Time2Wait: uint16(s.parameters.time2Wait), Time2Retain: uint16(s.parameters.time2Retain),
			}
			r.Marshal(h)
		},
	})
}
