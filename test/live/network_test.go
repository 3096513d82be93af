package live

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/isantarget/isantarget/admin"
	"github.com/isantarget/isantarget/guess"
	"github.com/isantarget/isantarget/iscsi"
	"github.com/isantarget/isantarget/provision"
	"github.com/isantarget/isantarget/test/daemon"
)

const (
	readToken  = "read-0123456789abcdef"
	writeToken = "write-0123456789abcdef"
)

// A gate is the admin plane of a daemon, over the network.
type gate struct {
	*rig
	address string
}

// open has a daemon listen over the network, without TLS, with a token of each scope.
func open(t *testing.T) *gate {
	t.Helper()
	g := &gate{rig: start(t, rule{alice, []string{"a"}})}
	g.address = fmt.Sprintf("127.0.0.1:%d", daemon.FreePort(t))
	g.secret("read", readToken)
	g.secret("write", writeToken)
	g.listen("")
	return g
}

func (g *gate) secret(name, secret string) {
	g.t.Helper()
	if err := os.WriteFile(filepath.Join(g.dir, name+".token"), []byte(secret+"\n"), 0o600); err != nil {
		g.t.Fatal(err)
	}
}

// table is the part of the configuration that is about the admin plane; more is in it.
func (g *gate) table(more string) string {
	text := fmt.Sprintf("[admin]\nlisten = %q\n%s", g.address, more)
	for _, scope := range []string{"read", "write"} {
		text += fmt.Sprintf("[[admin.token]]\nname = %q\nscope = %q\nfile = \"%s.token\"\n", "the-"+scope, scope, scope)
	}
	return text
}

func (g *gate) listen(more string) admin.Changed {
	g.t.Helper()
	g.more = g.table(more)
	return g.apply(rule{alice, []string{"a"}})
}

// An ask is a request over the network.
type ask struct {
	method, path, token, body string
	header                    map[string]string
	from                      string // address; empty: 127.0.0.1
}

// ask sends a request, and gives the status, the error in the answer if there is one, and
// its header.
func (g *gate) ask(a ask) (int, string, http.Header) {
	g.t.Helper()
	r, err := http.NewRequestWithContext(g.t.Context(), a.method, "http://"+g.address+a.path, strings.NewReader(a.body))
	if err != nil {
		g.t.Fatal(err)
	}
	if a.token != "" {
		r.Header.Set("Authorization", "Bearer "+a.token)
	}
	for key, value := range a.header {
		if r.Header.Set(key, value); key == "Host" {
			r.Host = value
		}
	}
	d := net.Dialer{Timeout: time.Minute}
	if a.from != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(a.from)}
	}
	c := http.Client{Transport: &http.Transport{DialContext: d.DialContext, DisableKeepAlives: true}, Timeout: 3 * time.Minute}
	response, err := c.Do(r)
	if err != nil {
		g.t.Fatal(err)
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(response.Body)
	var said struct{ Error string }
	json.Unmarshal(text, &said)
	return response.StatusCode, said.Error, response.Header
}

// want asks, and wants a status and what stands in the error.
func (g *gate) want(a ask, status int, word string) {
	g.t.Helper()
	got, said, _ := g.ask(a)
	if got != status || !strings.Contains(said, word) {
		g.t.Errorf("%s %s %v: %d %q, want %d %q", a.method, a.path, a.header, got, said, status, word)
	}
}

// document is the part of the OpenAPI document that says who may do what.
func (g *gate) document() map[string]map[string]struct{ Security []map[string][]string } {
	g.t.Helper()
	r, _ := http.NewRequest("GET", "http://"+g.address+"/openapi.json", nil)
	r.Header.Set("Authorization", "Bearer "+readToken)
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		g.t.Fatal(err)
	}
	defer response.Body.Close()
	var doc struct {
		Paths map[string]map[string]struct{ Security []map[string][]string }
	}
	if err := json.NewDecoder(response.Body).Decode(&doc); err != nil {
		g.t.Fatal(err)
	}
	return doc.Paths
}

// TestScopes asks for everything that the document names, without a token, with one to
// read and with one to write: who may do what is as the document says, and a token to read
// changes nothing.
func TestScopes(t *testing.T) {
	t.Parallel()
	g := open(t)
	before, err := g.Export(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	reads, writes := 0, 0
	for path, item := range g.document() {
		at := strings.NewReplacer("{tsih}", "1", "{group}", "1", "{lun}", "a", "{job}", "1", "{snapshot}", "s", "{name}", "a").Replace(path)
		for method, o := range item {
			method = strings.ToUpper(method)
			if len(o.Security) == 0 {
				if path != "/login" && path != "/logout" {
					t.Errorf("%s %s needs no token", method, path)
				}
				continue
			}
			_, toRead := o.Security[0]["read"]
			if toRead != (method == "GET") {
				t.Errorf("%s %s is to read: %v", method, path, toRead)
			}
			g.want(ask{method: method, path: at}, 401, "a token is wanted")
			if !toRead {
				writes++
				g.want(ask{method: method, path: at, token: readToken}, 403, "token the-read is only to read")
				continue
			}
			if reads++; path == "/events" {
				continue // does not end
			}
			if status, said, _ := g.ask(ask{method: method, path: at, token: readToken}); status == 401 || status == 403 || status >= 500 {
				t.Errorf("%s %s with a token to read: %d %s", method, path, status, said)
			}
		}
	}
	if reads < 15 || writes < 25 {
		t.Errorf("%d routes to read and %d to write are too few", reads, writes)
	}
	if after, err := g.Export(t.Context()); err != nil || after != before {
		t.Errorf("something has changed: %v\n%s", err, after)
	}
	g.want(ask{method: "GET", path: "/nothing/here"}, 401, "a token is wanted")
	g.want(ask{method: "GET", path: "/nothing/here", token: readToken}, 404, "there is nothing")
	g.want(ask{method: "POST", path: "/reload", token: writeToken}, 200, "")
	g.want(ask{method: "GET", path: "/status", header: map[string]string{"Authorization": "Basic eDp5"}}, 401, "only bearer tokens")
}

// TestWrongTokensAreSlowed, for who shows them and nobody else; a program that goes on with
// an old token locks nobody out.
func TestWrongTokensAreSlowed(t *testing.T) {
	t.Parallel()
	g := open(t)
	for range 3 * guess.Free {
		g.want(ask{method: "GET", path: "/status", token: "an-old-one-that-was-good"}, 401, "this token is not, or no more, good")
	}
	g.want(ask{method: "GET", path: "/status", token: readToken}, 200, "")
	for i := range guess.Free {
		body := fmt.Sprintf(`{"token": "guess-0123456789-%d"}`, i)
		g.want(ask{method: "POST", path: "/login", body: body, header: map[string]string{"Content-Type": "application/json"}}, 401, "this token is not")
	}
	more := 0
	eventually(t, "a guess too many", func() bool { // each that comes when the pause is over doubles it
		more++
		status, said, header := g.ask(ask{method: "GET", path: "/status", token: fmt.Sprintf("another-guess-0123456789-%d", more)})
		if status == 401 {
			return false
		}
		if status != 429 || header.Get("Retry-After") == "" || !strings.Contains(said, "too many wrong tokens came from 127.0.0.1") {
			t.Errorf("one guess more: %d %s, Retry-After %q", status, said, header.Get("Retry-After"))
		}
		return true
	})
	g.want(ask{method: "GET", path: "/status", token: readToken, from: "127.0.0.2"}, 200, "")
	eventually(t, "the right token after the pause", func() bool {
		status, _, _ := g.ask(ask{method: "GET", path: "/status", token: readToken})
		return status == 200
	})
	if n := strings.Count(g.Log(), "a wrong token was shown to the admin plane"); n < guess.Free || n > guess.Free+more+5 {
		t.Errorf("the log tells %d times of a wrong token", n)
	}
}

// TestCookie: a browser logs in by a token, and no page but our own can use that.
func TestCookie(t *testing.T) {
	t.Parallel()
	g := open(t)
	jsonBody := map[string]string{"Content-Type": "application/json"}
	g.want(ask{method: "POST", path: "/login", body: `{"token": "` + writeToken + `"}`}, 415, "application/json")
	g.want(ask{method: "POST", path: "/login", body: `{"token": "` + writeToken + `"}`,
		header: map[string]string{"Content-Type": "application/json", "Origin": "http://evil.example"}}, 403, "another site")
	status, said, header := g.ask(ask{method: "POST", path: "/login", body: `{"token": "` + writeToken + `"}`, header: jsonBody})
	cookie, attributes, _ := strings.Cut(header.Get("Set-Cookie"), ";")
	if status != 200 || !strings.Contains(attributes, "HttpOnly") || !strings.Contains(attributes, "SameSite=Strict") || strings.Contains(cookie, writeToken) || len(cookie) < 64 {
		t.Fatalf("login: %d %s, cookie %s", status, said, header.Get("Set-Cookie"))
	}
	with := func(more map[string]string) map[string]string {
		h := map[string]string{"Cookie": cookie}
		for key, value := range more {
			h[key] = value
		}
		return h
	}
	own := "http://" + g.address
	g.want(ask{method: "GET", path: "/login", header: with(nil)}, 200, "")
	g.want(ask{method: "POST", path: "/reload", header: with(nil)}, 403, "comes from our own page")
	g.want(ask{method: "POST", path: "/reload", header: with(map[string]string{"Sec-Fetch-Site": "none"})}, 403, "comes from our own page")
	for _, site := range []map[string]string{
		{"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site", "Origin": "http://127.0.0.1:1"},
	} {
		g.want(ask{method: "POST", path: "/reload", header: with(site)}, 403, "another site")
		g.want(ask{method: "DELETE", path: "/config/lun/x", header: with(site)}, 403, "another site")
	}
	g.want(ask{method: "POST", path: "/reload", header: with(map[string]string{"Origin": own})}, 200, "")
	g.want(ask{method: "POST", path: "/reload", header: with(map[string]string{"Sec-Fetch-Site": "same-origin"})}, 200, "")
	lun := `{"name": "x", "kind": "null", "size": "1MiB"}`
	g.want(ask{method: "POST", path: "/config/lun", body: lun, header: with(map[string]string{"Origin": own, "Content-Type": "text/plain"})}, 415, "application/json")
	g.want(ask{method: "POST", path: "/config/lun", body: lun, header: with(map[string]string{"Origin": own, "Content-Type": "application/json; charset=utf-8"})}, 200, "")

	g.want(ask{method: "GET", path: "/status", header: with(map[string]string{"Host": "evil.example:3261"})}, 421, `hosts = ["evil.example"]`)
	g.want(ask{method: "GET", path: "/status", header: with(map[string]string{"Host": "localhost"})}, 200, "")
	g.listen("hosts = [\"san.example\"]\n")
	g.want(ask{method: "GET", path: "/status", header: with(map[string]string{"Host": "San.Example"})}, 200, "")
	g.want(ask{method: "GET", path: "/status", header: map[string]string{"Cookie": cookie[:len(cookie)-1] + "x"}}, 401, "a token is wanted")

	_, _, header = g.ask(ask{method: "GET", path: "/status", token: readToken})
	for key, want := range map[string]string{"X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store",
		"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"} {
		if header.Get(key) != want {
			t.Errorf("%s: %q, want %q", key, header.Get(key), want)
		}
	}
	g.want(ask{method: "POST", path: "/logout", header: with(map[string]string{"Origin": own})}, 200, "")
	g.want(ask{method: "GET", path: "/status", header: with(nil)}, 401, "a token is wanted")
}

// events opens a stream of events over the network, and tells when it has ended.
func (g *gate) events(header map[string]string) (ended <-chan struct{}) {
	g.t.Helper()
	r, err := http.NewRequestWithContext(g.t.Context(), "GET", "http://"+g.address+"/events?after=0", nil)
	if err != nil {
		g.t.Fatal(err)
	}
	for key, value := range header {
		r.Header.Set(key, value)
	}
	response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
	if err != nil || response.StatusCode != 200 {
		g.t.Fatalf("events: %+v, %v", response, err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer response.Body.Close()
		io.Copy(io.Discard, response.Body)
	}()
	return done
}

func isOpen(stream <-chan struct{}) bool {
	select {
	case <-stream:
		return false
	default:
		return true
	}
}

func awaitEnd(t *testing.T, what string, stream <-chan struct{}) {
	t.Helper()
	eventually(t, what+" ends", func() bool { return !isOpen(stream) })
}

// TestTokensChange: a change of tokens holds at once, and ends what the old ones have
// opened; what cannot be made ready changes nothing.
func TestTokensChange(t *testing.T) {
	t.Parallel()
	g := open(t)
	login := func() string {
		_, _, header := g.ask(ask{method: "POST", path: "/login", body: `{"token": "` + readToken + `"}`, header: map[string]string{"Content-Type": "application/json"}})
		cookie, _, _ := strings.Cut(header.Get("Set-Cookie"), ";")
		return cookie
	}
	cookie, other := login(), login()
	byRead, byCookie := g.events(map[string]string{"Authorization": "Bearer " + readToken}), g.events(map[string]string{"Cookie": cookie})
	byOther := g.events(map[string]string{"Cookie": other})
	byWrite := g.events(map[string]string{"Authorization": "Bearer " + writeToken})
	g.want(ask{method: "POST", path: "/logout", header: map[string]string{"Cookie": other}}, 200, "")
	awaitEnd(t, "the stream of who has logged out", byOther)

	// An address that another program has, a token that is none: nothing changes.
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	g.secret("read", "another-0123456789abcdef")
	g.write(strings.Replace(g.text(rule{alice, []string{"b"}}), g.address, taken.Addr().String(), 1))
	if _, err := g.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "admin.listen: another program listens on "+taken.Addr().String()) {
		t.Errorf("a taken address: %v", err)
	}
	g.secret("write", "short")
	g.write(g.text(rule{alice, []string{"b"}}))
	if _, err := g.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "admin.token: the token in "+filepath.Join(g.dir, "write.token")+" has 5 bytes") {
		t.Errorf("a short token: %v", err)
	}
	if luns, err := g.LUNs(t.Context()); err != nil || len(luns) != 1 || luns[0].Name != "a" {
		t.Errorf("LUNs %+v, %v", luns, err)
	}
	g.want(ask{method: "GET", path: "/status", token: readToken}, 200, "")
	g.want(ask{method: "GET", path: "/status", header: map[string]string{"Cookie": cookie}}, 200, "")

	g.secret("write", writeToken)
	change := g.listen("")
	if text := strings.Join(change.Changes, "\n"); !strings.Contains(text, "token the-read is good, to read") || !strings.Contains(text, "token the-read as it was is good no more") {
		t.Errorf("changes\n%s", text)
	}
	awaitEnd(t, "the stream of a token that is good no more", byRead)
	awaitEnd(t, "the stream of its cookie", byCookie)
	g.want(ask{method: "GET", path: "/status", token: readToken}, 401, "no more, good")
	g.want(ask{method: "GET", path: "/status", header: map[string]string{"Cookie": cookie}}, 401, "a token is wanted")
	g.want(ask{method: "GET", path: "/status", token: "another-0123456789abcdef"}, 200, "")
	if !isOpen(byWrite) {
		t.Error("the stream of the other token has ended too")
	}

	// Another address: the old one is left, by who has it open too.
	old := g.address
	g.address = fmt.Sprintf("127.0.0.1:%d", daemon.FreePort(t))
	g.listen("")
	awaitEnd(t, "the stream at the old address", byWrite)
	eventually(t, "the old address is left", func() bool {
		c, err := net.Dial("tcp", old)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	g.want(ask{method: "GET", path: "/status", token: writeToken}, 200, "")
	g.more = ""
	if change := g.apply(rule{alice, []string{"a"}}); !strings.Contains(strings.Join(change.Changes, "\n"), "the admin plane listens no more at") {
		t.Errorf("changes %q", change.Changes)
	}
	if c, err := net.Dial("tcp", g.address); err == nil {
		c.Close()
		t.Error("the plane still listens")
	}
}

// TestTokensAreSecret: no token is in the log, the command line, the export, the events or
// the state of objects.
func TestTokensAreSecret(t *testing.T) {
	t.Parallel()
	g := open(t)
	token, found := filepath.Join(g.state(), provision.TokenName), false
	g.more = fmt.Sprintf("[admin]\nlisten = %q\n", g.address)
	g.apply(rule{alice, []string{"a"}})
	made, err := os.ReadFile(token)
	info, _ := os.Stat(token)
	if err != nil || info.Mode().Perm() != 0o600 || len(made) < 64 {
		t.Fatalf("%s: %v, %v", token, info, err)
	}
	own := strings.TrimSpace(string(made))
	g.want(ask{method: "POST", path: "/reload", token: own}, 200, "")
	g.want(ask{method: "GET", path: "/status", token: own + "x"}, 401, "")
	status, printed := daemon.Run(t, "lun", "list", "--socket", "http://"+g.address, "--token-file", token)
	if status != 0 || !strings.Contains(printed, g.image("a")) {
		t.Errorf("lun list: %d %s", status, printed)
	}
	g.listen("")
	g.want(ask{method: "POST", path: "/reload", token: writeToken}, 200, "")
	export, err := g.Export(t.Context())
	if err != nil || !strings.Contains(export, "file = \""+filepath.Join(g.dir, "read.token")) {
		t.Errorf("the export, %v:\n%s", err, export)
	}
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", g.PID()))
	if err != nil {
		t.Error(err)
	}
	var events strings.Builder
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	g.Events(ctx, 0, func(e admin.Event) error {
		fmt.Fprintln(&events, e)
		if strings.Contains(e.Message, "a wrong token") {
			found = true
			cancel()
		}
		return nil
	})
	for what, text := range map[string]string{"log": g.Log(), "export": export, "command line": string(line), "events": events.String()} {
		for _, secret := range []string{own, readToken, writeToken} {
			if strings.Contains(text, secret) {
				t.Errorf("the %s shows a token:\n%s", what, text)
			}
		}
	}
	if !found || !strings.Contains(g.Log(), "token-file="+token) {
		t.Errorf("the log does not say where the token is, or of a wrong one:\n%s", g.Log())
	}
	// It is kept over a restart, and made anew where it was removed.
	g.more = fmt.Sprintf("[admin]\nlisten = %q\n", g.address)
	g.write(g.text(rule{alice, []string{"a"}}))
	g.Stop()
	g.Restart()
	g.want(ask{method: "GET", path: "/status", token: own}, 200, "")
	if err := os.Remove(token); err != nil {
		t.Fatal(err)
	}
	g.Signal(syscall.SIGHUP)
	eventually(t, "the token that was removed is good no more", func() bool {
		status, _, _ := g.ask(ask{method: "GET", path: "/status", token: own})
		return status == 401
	})
}

// pair makes a certificate for 127.0.0.1, and its key.
func pair(t *testing.T, dir string) (certificate []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62))
	template := &x509.Certificate{SerialNumber: serial, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certificate = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for name, text := range map[string][]byte{"cert.pem": certificate, "key.pem": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certificate
}

// TestTLS: a certificate of one's own, replaced while a stream is open; one that is made;
// the commands over the network.
func TestTLS(t *testing.T) {
	t.Parallel()
	g := open(t)
	command := func(ca string, words ...string) (int, string) {
		words = append(words, "--socket", "https://"+g.address, "--token-file", filepath.Join(g.dir, "write.token"))
		if ca != "" {
			words = append(words, "--ca", ca)
		}
		return daemon.Run(t, words...)
	}
	cert := filepath.Join(g.dir, "cert.pem")
	first := pair(t, g.dir)
	if change := g.listen("tls-cert = \"cert.pem\"\ntls-key = \"key.pem\"\n"); !strings.Contains(strings.Join(change.Changes, "\n"), "another certificate") {
		t.Errorf("changes %q", change.Changes)
	}
	if status, printed := command(cert, "lun", "create", "far", "--size", "1MiB", "--set", "kind=memory"); status != 0 || !strings.Contains(printed, "LUN far added") {
		t.Errorf("lun create: %d %s", status, printed)
	}
	if status, printed := command(cert, "plan", g.file()); status != 0 || !strings.Contains(printed, "nothing would change") {
		t.Errorf("plan: %d %s", status, printed)
	}
	if status, printed := command("", "status"); status != 1 || !strings.Contains(printed, "is not to be trusted") || !strings.Contains(printed, "--ca FILE") {
		t.Errorf("without a CA: %d %s", status, printed)
	}
	client, err := admin.NewRemoteClient(admin.Remote{URL: "https://" + g.address, Token: readToken, CA: first})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	g.wantScraped(t, first)
	heard, ended := make(chan struct{}, 1024), make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		ended <- client.Events(ctx, 0, func(admin.Event) error { heard <- struct{}{}; return nil })
	}()
	<-heard
	pair(t, g.dir)
	g.Signal(syscall.SIGHUP)
	eventually(t, "the new certificate is shown", func() bool {
		status, _ := command(cert, "status")
		return status == 0
	})
	for len(heard) > 0 {
		<-heard
	}
	if status, printed := command(cert, "lun", "delete", "far", "--yes"); status != 0 {
		t.Errorf("lun delete: %d %s", status, printed)
	}
	select {
	case <-heard:
	case err := <-ended:
		t.Errorf("a stream has ended when the certificate was replaced: %v", err)
	case <-time.After(2 * time.Minute):
		t.Error("a stream hears nothing since the certificate was replaced")
	}
	os.Chmod(filepath.Join(g.dir, "key.pem"), 0o644)
	if _, err := g.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "everybody may read the key") {
		t.Errorf("a key that everybody may read: %v", err)
	}

	// One that is made, beyond this host; it is the same after a restart.
	g.address = strings.Replace(g.address, "127.0.0.1", "127.0.0.2", 1) // stands for an address of the network
	g.listen("tls = \"self-signed\"\n")
	cert = filepath.Join(g.state(), provision.CertificateName)
	if status, printed := command(cert, "session", "list"); status != 0 {
		t.Errorf("session list: %d %s", status, printed)
	}
	made, _ := os.ReadFile(cert)
	g.Stop()
	g.Restart()
	if status, printed := command(cert, "session", "list"); status != 0 {
		t.Errorf("after a restart: %d %s", status, printed)
	}
	if again, _ := os.ReadFile(cert); len(made) == 0 || !bytes.Equal(made, again) {
		t.Error("the certificate was made again")
	}
	if c, err := tls.Dial("tcp", g.address, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11}); err == nil {
		c.Close()
		t.Error("TLS 1.1 is spoken")
	}
	if status, printed := daemon.Run(t, "status", "--socket", "http://"+g.address); status != 1 || !strings.Contains(printed, "400") {
		t.Errorf("without TLS: %d %s", status, printed)
	}
}

// TestSilentPeersKeepNobodyOut: more connections than there may be, that say nothing or too
// little, and requests are answered all the same.
func TestSilentPeersKeepNobodyOut(t *testing.T) {
	t.Parallel()
	g := open(t)
	const peers = 300
	for i := range peers {
		c, err := net.Dial("tcp", g.address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if i%2 == 0 {
			io.WriteString(c, "GET /status HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
		}
	}
	g.want(ask{method: "GET", path: "/status", token: readToken}, 200, "")
	c := g.login(alice, iscsi.ISID{0x80, 1})
	attentions(t, c, 1)
	if fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", g.PID())); err != nil || len(fds) > 290 {
		t.Errorf("the daemon has %d files open, %v", len(fds), err)
	}
}
