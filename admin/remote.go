package admin

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"
)

// A Remote is how a daemon is asked over the network.
type Remote struct {
	URL   string // "https://san.example.org:3261"
	Token string
	CA    []byte // certificates that vouch for the daemon (PEM); nil: those of this host
}

// IsURL tells whether a word names a daemon by a URL and not by its socket.
func IsURL(word string) bool {
	return strings.HasPrefix(word, "https://") || strings.HasPrefix(word, "http://")
}

// NewRemoteClient makes a client for a daemon over the network. It does not connect yet. A
// token is not sent in the clear to another host.
func NewRemoteClient(r Remote) (*Client, error) {
	u, err := url.Parse(r.URL)
	if err != nil || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil {
		return nil, fmt.Errorf("%q does not name a daemon; write https://HOST:PORT", r.URL)
	}
	if ip := net.ParseIP(u.Hostname()); u.Scheme != "https" && u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("%s would send the token over the network for everybody to read; write https://%s", r.URL, u.Host)
	}
	t := &http.Transport{
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSHandshakeTimeout: 10 * time.Second, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
	}
	if r.CA != nil {
		t.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(r.CA) {
			return nil, errors.New("there is no certificate (PEM) in what is to vouch for the daemon")
		}
	}
	c := &Client{socket: r.URL, base: u.Scheme + "://" + u.Host, token: r.Token}
	c.http.Transport = t
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return c, nil
}

// explainRemote says why there is no answer over the network.
func (c *Client) explainRemote(err error) error {
	var (
		unknown *tls.CertificateVerificationError
		plain   tls.RecordHeaderError
	)
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("gave up waiting for the daemon at %s", c.socket)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("no daemon answers at %s: the configuration of one has to say listen in [admin]", c.socket)
	case errors.As(err, &unknown):
		return fmt.Errorf("the certificate of %s is not to be trusted: %w; if it is self-signed, say --ca FILE with a copy of admin-cert.pem from the state directory of the daemon", c.socket, unknown.Err)
	case errors.As(err, &plain), strings.Contains(err.Error(), "HTTP response to HTTPS client"):
		return fmt.Errorf("%s does not speak TLS; if that is on this host, write http://", c.socket)
	}
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	return fmt.Errorf("the daemon at %s does not answer: %w", c.socket, err)
}
