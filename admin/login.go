package admin

import (
	"crypto/sha256"
	"mime"
	"net/http"

	"github.com/sirupsen/logrus"

	"github.com/isantarget/isantarget/configs"
)

// A loginRequest is the body of a request to log in.
type loginRequest struct {
	Token string `json:"token"`
}

// A Caller is who asks, and what it may do.
type Caller struct {
	Name  string        `json:"name"` // of the token
	Scope configs.Scope `json:"scope"`
}

// caller answers with who asks.
func (s *Server) caller(r *http.Request) (any, error) {
	p := passOf(r)
	return Caller{p.name, p.scope}, nil
}

// login has a browser show a token once, and gives it a cookie that stands for it: no
// script can read that, and no other site can have it sent.
func (s *Server) login(w http.ResponseWriter, r *http.Request) {
	d := doorOf(r)
	if d == nil {
		answer(w, http.StatusOK, Caller{unnamed, configs.WriteScope})
		return
	}
	var want loginRequest
	if err := decode(r, &want); err != nil {
		fail(w, statusOf(err), err)
		return
	}
	g, err := s.access.byToken(want.Token, fromOf(r))
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	peerOf(r).known.Store(true)
	s.log.WithFields(logrus.Fields{"event": "admin-login", "token": g.name, "from": fromOf(r).String()}).Info("logged in to the web page")
	http.SetCookie(w, d.newCookie(r, s.access.enter(g), 0))
	answer(w, http.StatusOK, Caller{g.name, g.scope})
}

// logout ends the login of a browser.
func (s *Server) logout(w http.ResponseWriter, r *http.Request) {
	if d := doorOf(r); d != nil {
		for _, c := range r.CookiesNamed(d.cookie(r)) {
			s.access.leave(sha256.Sum256([]byte(c.Value)))
		}
		http.SetCookie(w, d.newCookie(r, "", -1))
	}
	answer(w, http.StatusOK, done{})
}

// newCookie is a cookie for the browser that sent r; a negative age takes it away.
func (d *door) newCookie(r *http.Request, value string, age int) *http.Cookie {
	return &http.Cookie{Name: d.cookie(r), Value: value, Path: "/", MaxAge: age, HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteStrictMode}
}

// isJSON tells whether the body of a request says that it is JSON.
func isJSON(r *http.Request) bool {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && kind == "application/json"
}
