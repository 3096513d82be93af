package admin

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"math"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/guess"
	"github.com/isantarget/isantarget/provision"
)

const (
	maxLogins  = 256            // browsers that are logged in at once; the one that was idle for longest goes
	loginIdle  = time.Hour      // after which a browser has to log in again
	staleKept  = 64             // wrong tokens that are known again
	maxStreams = 64             // clients of one listener that listen to events at once
	unnamed    = "admin socket" // who may open it may do everything
	bearer     = "Bearer "      // RFC 6750 2.1
	cookieName = "isantarget"   // behind it the port: cookies do not keep ports apart
	hostPrefix = "__Host-"      // of a cookie that TLS protects
	challenge  = `Bearer realm="isantarget"`
)

// A pass is leave to ask: who, for what, and for how long.
type pass struct {
	name  string
	scope configs.Scope
	held  context.Context // ends when the leave does

	streams *atomic.Int32 // of the listener
	touch   func()        // the leave is in use
}

// may tells whether a pass is for a scope.
func (p pass) may(scope configs.Scope) bool {
	return scope == configs.ReadScope || p.scope == configs.WriteScope
}

type passKey struct{}

// passOf is the pass of a request that was let in.
func passOf(r *http.Request) pass { return r.Context().Value(passKey{}).(pass) }

// A grant is a token that is good, until it is revoked. The token itself is forgotten.
type grant struct {
	name   string
	scope  configs.Scope
	hash   [sha256.Size]byte
	held   context.Context
	revoke context.CancelFunc
}

// A login is a browser that has shown a token.
type login struct {
	*grant
	held context.Context
	end  context.CancelFunc
	used time.Time
	idle *time.Timer
}

// An access knows who may ask over the network. Its methods may be called at once from many
// goroutines.
type access struct {
	guesses guess.Guesses

	mu     sync.Mutex
	grants []*grant
	logins map[[sha256.Size]byte]*login // by the hash of their cookie
	stale  [][sha256.Size]byte          // the last wrong tokens
}

// grant makes tokens the ones that are good, and says what that changes. One that is not
// among them ends at once, with what it is used for.
func (a *access) grant(tokens []provision.Token) (changes []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	old := a.grants
	a.grants = nil
	for _, t := range tokens {
		hash := sha256.Sum256(t.Secret)
		kept := false
		for i, g := range old {
			if g != nil && g.name == t.Name && g.scope == t.Scope && g.hash == hash {
				a.grants, old[i], kept = append(a.grants, g), nil, true
			}
		}
		if !kept {
			g := &grant{name: t.Name, scope: t.Scope, hash: hash}
			g.held, g.revoke = context.WithCancel(context.Background())
			a.grants = append(a.grants, g)
			changes = append(changes, fmt.Sprintf("token %s is good, to %s", t.Name, t.Scope))
		}
	}
	for _, g := range old {
		if g != nil {
			g.revoke()
			changes = append(changes, fmt.Sprintf("token %s as it was is good no more", g.name))
		}
	}
	return changes
}

// byToken is the grant of a token that is shown from an address.
func (a *access) byToken(token string, from netip.Addr) (*grant, error) {
	who := guess.Of(from, "")
	if wait := a.guesses.Pause(who); wait > 0 {
		return nil, &accessError{status: http.StatusTooManyRequests, wait: wait,
			what: fmt.Sprintf("too many wrong tokens came from %s; the next one is looked at in %d seconds", from, seconds(wait))}
	}
	hash := sha256.Sum256([]byte(token))
	a.mu.Lock()
	var found *grant
	for _, g := range a.grants {
		if subtle.ConstantTimeCompare(g.hash[:], hash[:]) == 1 {
			found = g
		}
	}
	known := found == nil && a.isStale(hash)
	a.mu.Unlock()
	switch {
	case found != nil:
		a.guesses.Right(who)
		return found, nil
	case !known: // a program that goes on with the same old token guesses nothing
		a.guesses.Wrong(who)
	}
	return nil, &accessError{status: http.StatusUnauthorized, what: "this token is not, or no more, good", wrong: !known}
}

// isStale tells whether a wrong token has come before, and notes it. a.mu is held.
func (a *access) isStale(hash [sha256.Size]byte) bool {
	for _, h := range a.stale {
		if h == hash {
			return true
		}
	}
	if len(a.stale) == staleKept {
		a.stale = a.stale[1:]
	}
	a.stale = append(a.stale, hash)
	return false
}

// enter logs a browser in, and gives it what it shows from now on.
func (a *access) enter(g *grant) (cookie string) {
	secret := make([]byte, 32)
	rand.Read(secret) // never fails
	cookie = hex.EncodeToString(secret)
	hash := sha256.Sum256([]byte(cookie))
	l := &login{grant: g, used: time.Now()}
	l.held, l.end = context.WithCancel(g.held)
	l.idle = time.AfterFunc(loginIdle, func() { a.leave(hash) })
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.logins == nil {
		a.logins = map[[sha256.Size]byte]*login{}
	}
	for len(a.logins) >= maxLogins {
		a.leaveOldest()
	}
	a.logins[hash] = l
	return cookie
}

// leaveOldest ends the login that was idle for longest. a.mu is held.
func (a *access) leaveOldest() {
	var oldest [sha256.Size]byte
	var used time.Time
	for hash, l := range a.logins {
		if used.IsZero() || l.used.Before(used) {
			oldest, used = hash, l.used
		}
	}
	a.drop(oldest)
}

// drop ends a login. a.mu is held.
func (a *access) drop(hash [sha256.Size]byte) {
	if l := a.logins[hash]; l != nil {
		l.idle.Stop()
		l.end()
		delete(a.logins, hash)
	}
}

// leave ends a login.
func (a *access) leave(hash [sha256.Size]byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.drop(hash)
}

// byCookie is the login that a browser shows; nil: there is none.
func (a *access) byCookie(cookie string) *login {
	hash := sha256.Sum256([]byte(cookie))
	a.mu.Lock()
	defer a.mu.Unlock()
	l := a.logins[hash]
	if l == nil {
		return nil
	}
	if l.held.Err() != nil { // its token was revoked
		a.drop(hash)
		return nil
	}
	l.use()
	return l
}

// touch notes that a login is in use.
func (a *access) touch(l *login) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if l.held.Err() == nil {
		l.use()
	}
}

func (l *login) use() {
	l.used = time.Now()
	l.idle.Reset(loginIdle)
}

// end revokes everything.
func (a *access) end() {
	a.grant(nil)
	a.mu.Lock()
	defer a.mu.Unlock()
	for hash := range a.logins {
		a.drop(hash)
	}
}

// admit gives a request that came over the network its pass, or says why it has none.
func (a *access) admit(r *http.Request, d *door) (pass, error) {
	from := fromOf(r)
	if value := r.Header.Get("Authorization"); value != "" {
		if len(value) < len(bearer) || !strings.EqualFold(value[:len(bearer)], bearer) {
			return pass{}, &accessError{status: http.StatusUnauthorized, what: "only bearer tokens are taken: Authorization: Bearer TOKEN"}
		}
		g, err := a.byToken(strings.TrimSpace(value[len(bearer):]), from)
		if err != nil {
			return pass{}, err
		}
		return pass{name: g.name, scope: g.scope, held: g.held, streams: &d.streams, touch: func() {}}, nil
	}
	for _, c := range r.CookiesNamed(d.cookie(r)) {
		if l := a.byCookie(c.Value); l != nil {
			if err := sameOrigin(r); err != nil {
				return pass{}, err
			}
			return pass{name: l.name, scope: l.scope, held: l.held, streams: &d.streams, touch: func() { a.touch(l) }}, nil
		}
	}
	return pass{}, &accessError{status: http.StatusUnauthorized, what: "a token is wanted: Authorization: Bearer TOKEN (of the commands: --token-file FILE, or ISANTARGET_TOKEN); " +
		"if the configuration names none, it is in the file " + provision.TokenName + " of the state directory"}
}

// sameOrigin demands of a request with a cookie that changes something that our own page has
// sent it: a browser says so, and a form of another site cannot send JSON.
func sameOrigin(r *http.Request) error {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return nil
	}
	// That they do not name another origin has been seen to.
	if r.Header.Get("Origin") == "" && r.Header.Get("Sec-Fetch-Site") != "same-origin" {
		return &accessError{status: http.StatusForbidden, what: "with a cookie, a request that changes something has to say that it comes from our own page (Origin); programs show a token instead"}
	}
	if r.ContentLength != 0 && !isJSON(r) {
		return &accessError{status: http.StatusUnsupportedMediaType, what: "the body has to be application/json"}
	}
	return nil
}

// An accessError is why a request was not let in.
type accessError struct {
	what   string
	status int
	wait   time.Duration // after which it may be
	wrong  bool          // it showed a token that nobody knows
}

func (e *accessError) Error() string { return e.what }

// refuse answers a request that was not let in.
func refuse(w http.ResponseWriter, err *accessError) {
	if err.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", challenge)
	}
	if err.wait > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(seconds(err.wait)))
	}
	fail(w, err.status, err)
}

func seconds(d time.Duration) int { return int(math.Ceil(d.Seconds())) }

// fromOf is the address that a request comes from.
func fromOf(r *http.Request) netip.Addr {
	a, _ := netip.ParseAddrPort(r.RemoteAddr)
	return a.Addr().Unmap()
}
