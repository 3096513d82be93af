package admin

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"

	"github.com/sirupsen/logrus"

	"github.com/isantarget/isantarget/provision"
)

var _ provision.Companion = (*Server)(nil)

// A networkStep is a change of what is heard over the network that can be made.
type networkStep struct {
	server *Server
	plane  provision.Plane
	door   *door // that is wanted; nil: none
	bound  bool  // it is new
}

// Prepare binds what is new of a plane, and lets nobody in yet.
func (s *Server) Prepare(ctx context.Context, p provision.Plane) (provision.Step, error) {
	step := &networkStep{server: s, plane: p}
	if p.Listen == "" {
		return step, nil
	}
	s.mu.Lock()
	now := s.door
	s.mu.Unlock()
	if now != nil && now.address == p.Listen {
		step.door = now
		return step, nil
	}
	l, err := provision.Listen(ctx, string(p.Listen))
	if err != nil {
		if now != nil && portOf(string(now.address)) == portOf(string(p.Listen)) {
			err = fmt.Errorf("%w; the admin plane has this port itself, at %s: take listen out and apply, then write %s", err, now.address, p.Listen)
		}
		return nil, err
	}
	step.door, step.bound = s.newDoor(p.Listen, l), true
	return step, nil
}

func portOf(address string) string {
	_, port, _ := net.SplitHostPort(address)
	return port
}

// Discard gives back what was bound.
func (n *networkStep) Discard() {
	if n.bound {
		n.door.Close()
	}
}

// Commit lets in whom the plane names, and nobody else.
func (n *networkStep) Commit() (changes []string) {
	s, d := n.server, n.door
	changes = s.access.grant(n.plane.Tokens)
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.door
	s.door = d
	if d != nil {
		hosts := n.plane.Hosts
		d.hosts.Store(&hosts)
		replaced := d.secure(n.plane.Certificate)
		if replaced && !n.bound {
			changes = append(changes, "the admin plane has another certificate")
		}
		if replaced || n.bound || len(changes) > 0 && n.plane.OwnToken != "" {
			s.tellOf(d, n.plane.OwnToken)
		}
	}
	if old != nil && old != d {
		changes = append(changes, "the admin plane listens no more at "+old.URL())
		s.doors.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), leaveBound)
			defer cancel()
			old.shut(ctx)
		})
	}
	if n.bound {
		changes = append(changes, "the admin plane listens at "+d.URL())
		s.doors.Go(func() {
			if err := d.server.Serve(d); !errors.Is(err, http.ErrServerClosed) {
				s.log.WithError(err).Errorf("the admin plane has failed at %s", d.URL())
			}
		})
	}
	return changes
}

// secure gives a door its certificate, and tells whether it is another one.
func (d *door) secure(cert *tls.Certificate) bool {
	before := d.cert.Swap(cert)
	if before == nil || cert == nil {
		return before != cert
	}
	return before.Leaf == nil || cert.Leaf == nil || !before.Leaf.Equal(cert.Leaf)
}

// tellOf logs where the door is, and how it can be known.
func (s *Server) tellOf(d *door, token string) {
	log := s.log
	if cert := d.cert.Load(); cert != nil {
		log = log.WithField("sha256", fmt.Sprintf("%x", sha256.Sum256(cert.Certificate[0])))
	}
	if token != "" {
		log = log.WithField("token-file", token)
	}
	log.Info("the admin plane and the web page are at " + d.URL())
}

// shutDoor ends what is heard over the network.
func (s *Server) shutDoor(ctx context.Context) (err error) {
	s.mu.Lock()
	d := s.door
	s.door = nil
	s.mu.Unlock()
	if d != nil {
		err = d.shut(ctx)
	}
	s.doors.Wait()
	s.access.end()
	return err
}

// refuse answers a request that was not let in, and logs a token that nobody knows.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	var refused *accessError
	if !errors.As(err, &refused) {
		fail(w, statusOf(err), err)
		return
	}
	if refused.wrong {
		s.log.WithFields(logrus.Fields{"event": "admin-refused", "from": fromOf(r).String()}).Warn("a wrong token was shown to the admin plane")
	}
	refuse(w, refused)
}
