package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/sirupsen/logrus/hooks/test"

	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/provision"
)

// openDoor answers for f over the network until the test ends, to tokens "reader" and "writer".
func openDoor(t *testing.T, f *fake, page fstest.MapFS) (s *Server, address string) {
	t.Helper()
	log, _ := test.NewNullLogger()
	f.log = log
	s = NewServer(f, log, page)
	step, err := s.Prepare(t.Context(), provision.Plane{Admin: configs.Admin{Listen: "127.0.0.1:0"}, Tokens: []provision.Token{
		{Name: "r", Scope: configs.ReadScope, Secret: []byte("reader")}, {Name: "w", Scope: configs.WriteScope, Secret: []byte("writer")}}})
	if err != nil {
		t.Fatal(err)
	}
	step.Commit()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	return s, s.door.Addr().String()
}

// get asks for a path, and gives the answer with its body read.
func get(t *testing.T, address, path, token string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+address+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "bearer "+token)
	}
	response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Error(err)
	}
	return response, string(text)
}

// TestPageIsServed to everybody, and nothing else is.
func TestPageIsServed(t *testing.T) {
	t.Parallel()
	_, address := openDoor(t, &fake{sound: true}, fstest.MapFS{
		"index.html": {Data: []byte("<!doctype html>")}, "page/a.js": {Data: []byte("1")}, "page/b.css": {Data: []byte("x{}")}, "status": {Data: []byte("not this")}})
	for path, want := range map[string][2]string{"/": {"text/html; charset=utf-8", "<!doctype html>"}, "/page/a.js": {"text/javascript; charset=utf-8", "1"}, "/page/b.css": {"text/css; charset=utf-8", "x{}"}} {
		r, text := get(t, address, path, "")
		if r.StatusCode != 200 || r.Header.Get("Content-Type") != want[0] || text != want[1] || r.Header.Get("ETag") == "" ||
			!strings.HasPrefix(r.Header.Get("Content-Security-Policy"), "default-src 'none'; script-src 'self'; ") {
			t.Errorf("%s: %d %v %q", path, r.StatusCode, r.Header, text)
		}
	}
	for _, path := range []string{"/index.html", "/page/", "/page", "/page/../page/c.js", "/status", "/luns", "//page/a.js"} {
		if r, text := get(t, address, path, ""); r.StatusCode != 401 {
			t.Errorf("%s without a token: %d %q", path, r.StatusCode, text)
		}
	}
	if r, text := get(t, address, "/status", "reader"); r.StatusCode != 200 || !strings.Contains(text, `"version"`) {
		t.Errorf("the page hides the API: %d %q", r.StatusCode, text)
	}
}

// TestLoginsAreBounded: the one that was idle for longest goes; a revoked token ends all of its own.
func TestLoginsAreBounded(t *testing.T) {
	a := &access{}
	a.grant([]provision.Token{{Name: "w", Scope: configs.WriteScope, Secret: []byte("writer")}})
	defer a.end()
	first := a.enter(a.grants[0])
	second := a.enter(a.grants[0])
	a.byCookie(second).used = time.Now().Add(-time.Hour)
	held := a.byCookie(first).held
	for range maxLogins - 1 {
		a.enter(a.grants[0])
		a.byCookie(first)
	}
	if len(a.logins) != maxLogins || a.byCookie(second) != nil || a.byCookie(first) == nil {
		t.Errorf("%d logins; the oldest is there: %v, one in use: %v", len(a.logins), a.byCookie(second) != nil, a.byCookie(first) != nil)
	}
	a.grant([]provision.Token{{Name: "w", Scope: configs.ReadScope, Secret: []byte("writer")}}) // another scope is another leave
	if a.byCookie(first) != nil || held.Err() == nil {
		t.Error("a login outlives its token")
	}
}

// TestIdleLoginEnds, and what it has opened with it.
func TestIdleLoginEnds(t *testing.T) {
	a := &access{}
	a.grant([]provision.Token{{Name: "w", Scope: configs.WriteScope, Secret: []byte("writer")}})
	defer a.end()
	cookie := a.enter(a.grants[0])
	l := a.byCookie(cookie)
	l.idle.Reset(0) // as if the time were over
	select {
	case <-l.held.Done():
	case <-time.After(20 * time.Second):
		t.Fatal("it goes on")
	}
	a.touch(l) // a stream that has not seen it yet
	if a.byCookie(cookie) != nil {
		t.Error("the cookie is good")
	}
}

// TestDeafStreamIsDropped: a client that takes no events is let go, while others hear them.
func TestDeafStreamIsDropped(t *testing.T) {
	t.Parallel()
	f := &fake{}
	s, address := openDoor(t, f, nil)
	deaf, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()
	deaf.(*net.TCPConn).SetReadBuffer(4 << 10)
	fmt.Fprintf(deaf, "GET /events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer reader\r\n\r\n")
	within := func(what string, done func() bool) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("in vain: %s", what)
			}
		}
	}
	within("it listens", func() bool { return s.door.streams.Load() == 1 })
	c, err := NewRemoteClient(Remote{URL: "http://" + address, Token: "reader"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	heard, ended := make(chan Event, 1), make(chan error, 1)
	enough := errors.New("enough")
	go func() {
		ended <- c.Events(t.Context(), -1, func(e Event) error {
			if e.Message == "the last" {
				return enough
			}
			select {
			case heard <- e:
			default:
			}
			return nil
		})
	}()
	within("the other listens", func() bool { return s.door.streams.Load() == 2 })
	long := strings.Repeat("x", 64<<10)
	within("the deaf one is let go", func() bool {
		logrus.NewEntry(f.log).Info(long)
		time.Sleep(20 * time.Millisecond) // more of them would only take memory
		return s.door.streams.Load() == 1
	})
	<-heard
	f.log.Info("the last")
	if err := <-ended; !errors.Is(err, enough) {
		t.Errorf("the other: %v", err)
	}
}

// TestStreamsAreBounded, those of one listener apart from the other's.
func TestStreamsAreBounded(t *testing.T) {
	t.Parallel()
	f := &fake{}
	s, address := openDoor(t, f, nil)
	for range maxStreams {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprintf(c, "GET /events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer reader\r\n\r\n")
		if line := make([]byte, 15); true {
			if _, err := io.ReadFull(c, line); err != nil || string(line) != "HTTP/1.1 200 OK" {
				t.Fatalf("%q %v", line, err)
			}
		}
	}
	if r, text := get(t, address, "/events", "reader"); r.StatusCode != 503 || !strings.Contains(text, "too many clients") {
		t.Errorf("one more: %d %s", r.StatusCode, text)
	}
	if s.streams.Load() != 0 {
		t.Error("they are taken for streams of the socket")
	}
}

// TestKnownPeersStay: when there are too many connections, those that have shown no token go.
func TestKnownPeersStay(t *testing.T) {
	d := &door{}
	var known []*peer
	for i := range 2 * maxPeers {
		c, other := net.Pipe()
		defer other.Close()
		p := &peer{Conn: c, door: d}
		if !d.enter(p) {
			t.Fatalf("peer %d is refused", i)
		}
		if i%4 == 0 {
			p.known.Store(true)
			known = append(known, p)
		}
	}
	if len(d.peers) != maxPeers {
		t.Errorf("%d peers", len(d.peers))
	}
	for i, p := range known {
		p.SetDeadline(time.Now().Add(-time.Second))
		if _, err := p.Read(make([]byte, 1)); !errors.Is(err, context.DeadlineExceeded) && !strings.Contains(fmt.Sprint(err), "timeout") {
			t.Errorf("known peer %d was let go: %v", i, err)
		}
	}
	for _, p := range d.peers {
		p.known.Store(true)
	}
	c, other := net.Pipe()
	defer other.Close()
	if d.enter(&peer{Conn: c, door: d}) {
		t.Error("where all are known one more is let in")
	}
	for len(d.peers) > 0 {
		d.peers[0].Close()
	}
}
