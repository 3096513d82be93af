package admin

import (
	"context"
	"crypto/tls"
	"fmt"
	stdlog "log"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isantarget/isantarget/configs"
)

const (
	maxPeers   = 256             // connections of one listener
	leaveBound = 5 * time.Second // for requests under way when a listener goes
)

// A door is the listener on the network. Its address does not change; its certificate may.
type door struct {
	address  configs.Address
	listener net.Listener
	server   http.Server
	streams  atomic.Int32
	closing  chan struct{} // closed when it goes

	cert  atomic.Pointer[tls.Certificate] // nil: without TLS
	hosts atomic.Pointer[[]string]        // names by which it is asked for

	mu    sync.Mutex
	peers []*peer // from the oldest
}

// A peer is a connection to a door.
type peer struct {
	net.Conn
	door  *door
	known atomic.Bool // it has shown a token
}

type (
	peerKey struct{}
	doorKey struct{}
)

// newDoor makes a door of a listener that is bound. It does not accept yet.
func (s *Server) newDoor(address configs.Address, l net.Listener) *door {
	d := &door{address: address, listener: l, closing: make(chan struct{})}
	only1 := &http.Protocols{}
	only1.SetHTTP1(true)
	d.server = http.Server{
		Handler: s.handler(d), MaxHeaderBytes: maxHeader, ReadHeaderTimeout: headerBound, IdleTimeout: idleBound,
		ErrorLog: stdlog.New(complaints{s.log}, "", 0), Protocols: only1,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			if secure, ok := c.(*tls.Conn); ok {
				c = secure.NetConn()
			}
			return context.WithValue(context.WithValue(ctx, peerKey{}, c.(*peer)), doorKey{}, d)
		},
	}
	return d
}

// doorOf is the door that a request came through; nil: it came by the socket.
func doorOf(r *http.Request) *door {
	d, _ := r.Context().Value(doorKey{}).(*door)
	return d
}

// peerOf is the connection that a request came by, through a door.
func peerOf(r *http.Request) *peer { return r.Context().Value(peerKey{}).(*peer) }

// Accept waits for a connection. There are never more than a bound of them: one that has
// not shown a token yet makes room, the oldest first, so that nobody can keep others out.
func (d *door) Accept() (net.Conn, error) {
	for {
		c, err := d.listener.Accept()
		if err != nil {
			return nil, err
		}
		p := &peer{Conn: c, door: d}
		if !d.enter(p) {
			c.Close()
			continue
		}
		if d.cert.Load() == nil {
			return p, nil
		}
		return tls.Server(p, &tls.Config{
			MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"},
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return d.cert.Load(), nil },
		}), nil
	}
}

func (d *door) enter(p *peer) bool {
	d.mu.Lock()
	var last *peer
	if len(d.peers) >= maxPeers {
		i := slices.IndexFunc(d.peers, func(p *peer) bool { return !p.known.Load() })
		if i < 0 {
			d.mu.Unlock()
			return false
		}
		last = d.peers[i]
		d.peers = slices.Delete(d.peers, i, i+1)
	}
	d.peers = append(d.peers, p)
	d.mu.Unlock()
	if last != nil {
		last.Conn.Close()
	}
	return true
}

// Close ends the connection.
func (p *peer) Close() error {
	p.door.mu.Lock()
	if i := slices.Index(p.door.peers, p); i >= 0 {
		p.door.peers = slices.Delete(p.door.peers, i, i+1)
	}
	p.door.mu.Unlock()
	return p.Conn.Close()
}

// Close ends the listener.
func (d *door) Close() error { return d.listener.Close() }

// Addr is where it listens.
func (d *door) Addr() net.Addr { return d.listener.Addr() }

// URL is where a browser on this host, or another, finds it.
func (d *door) URL() string {
	scheme := "http"
	if d.cert.Load() != nil {
		scheme = "https"
	}
	return scheme + "://" + d.Addr().String()
}

// shut takes no more requests, waits for those under way until ctx ends, and ends the rest.
func (d *door) shut(ctx context.Context) error {
	close(d.closing)
	err := d.server.Shutdown(ctx)
	d.server.Close()
	return err
}

// cookie is what the cookie is called that stands for a login through the door.
func (d *door) cookie(r *http.Request) string {
	_, port, _ := net.SplitHostPort(d.Addr().String())
	name := cookieName + "-" + port
	if r.TLS != nil {
		name = hostPrefix + name
	}
	return name
}

// named tells whether a request without TLS asks for us by a name of ours. Another name,
// one with dots, may be that of a page which has its own name lead to this host, so that
// the browser takes us for a part of it (DNS rebinding).
func named(r *http.Request, d *door) error {
	if r.TLS != nil { // the certificate says it
		return nil
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	if err == nil || !strings.Contains(host, ".") || strings.HasSuffix(host, ".localhost") {
		return nil
	}
	if d == nil {
		return &accessError{status: http.StatusMisdirectedRequest, what: fmt.Sprintf("%q is no name of this daemon; ask for localhost", r.Host)}
	}
	if slices.ContainsFunc(*d.hosts.Load(), func(name string) bool { return strings.EqualFold(name, host) }) {
		return nil
	}
	return &accessError{status: http.StatusMisdirectedRequest,
		what: fmt.Sprintf("%q is no name of this listener; ask for its address or localhost, or write hosts = [%q] into [admin] of the configuration", r.Host, host)}
}
