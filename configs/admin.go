package configs

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// AdminPort is where the admin plane listens if an address names no port.
const AdminPort = 3261

// An Admin says who may look at a running daemon and change it over the network, and how.
// The zero Admin listens nowhere; the socket in the state directory is there in any case.
type Admin struct {
	Listen  Address      `toml:"listen"`
	TLS     AdminTLS     `toml:"tls"`
	TLSCert string       `toml:"tls-cert"` // file: the certificate, and behind it those up to its authority (PEM)
	TLSKey  string       `toml:"tls-key"`  // file: its key (PEM), not for everybody to read
	Hosts   []string     `toml:"hosts"`    // names by which a listener without TLS is asked for, beside its addresses
	Tokens  []AdminToken `toml:"token"`    // none: one is made and kept in the state directory
}

// Secure tells whether what goes over the network is encrypted.
func (a Admin) Secure() bool { return a.TLS == SelfSigned || a.TLSCert != "" }

// An AdminTLS says where a certificate comes from that is not named.
type AdminTLS string

// SelfSigned is a certificate that is made once and kept in the state directory.
const SelfSigned AdminTLS = "self-signed"

// UnmarshalText reads one of the words.
func (t *AdminTLS) UnmarshalText(text []byte) error {
	return choose((*string)(t), text, []string{string(SelfSigned)})
}

// An AdminToken is a secret (RFC 6750) that lets its bearer ask over the network.
type AdminToken struct {
	Name  string `toml:"name"` // for the log
	Scope Scope  `toml:"scope"`
	File  string `toml:"file"` // readable by its owner alone; a newline at its end does not count
	Env   string `toml:"env"`  // name of an environment variable
}

// A Scope is what the bearer of a token may do.
type Scope string

// The scopes: to look, or to change things too.
const (
	ReadScope  Scope = "read"
	WriteScope Scope = "write"
)

// UnmarshalText reads one of the scopes.
func (s *Scope) UnmarshalText(text []byte) error {
	return choose((*string)(s), text, []string{string(ReadScope), string(WriteScope)})
}

// An Address is an IP address and a TCP port to listen on: "127.0.0.1:3261".
type Address string

// UnmarshalText reads an address; without a port it is [AdminPort].
func (a *Address) UnmarshalText(text []byte) error {
	word, err := parseAddress(string(text), AdminPort)
	*a = Address(word)
	return err
}

// Local tells whether only this host can reach the address.
func (a Address) Local() bool { return isLoopback(string(a)) }

func isLoopback(address string) bool {
	host, _, _ := net.SplitHostPort(address)
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

func (k checker) admin() {
	a := &k.config.Admin
	at := "admin"
	if a.TLS != "" {
		at = "admin.tls"
	}
	a.TLSCert, a.TLSKey = k.absolute("admin.tls-cert", a.TLSCert), k.absolute("admin.tls-key", a.TLSKey)
	switch {
	case (a.TLSCert == "") != (a.TLSKey == ""):
		k.fail("admin", "tls-cert and tls-key go together; write both, or leave both out")
	case a.TLS == SelfSigned && a.TLSCert != "":
		k.fail("admin.tls", "a certificate is named too, by tls-cert; keep one of the two")
	case a.Listen != "" && !a.Listen.Local() && !a.Secure():
		k.fail("admin.listen", "%s is open to the network, where tokens could be read on their way; add %s, or listen on 127.0.0.1", a.Listen,
			k.remedy(`tls-cert and tls-key, or tls = "self-signed"`, "--admin-tls self-signed"))
	case a.Listen == "" && (a.Secure() || len(a.Hosts) > 0 || len(a.Tokens) > 0):
		k.fail(at, "nothing says where to listen; add %s", k.remedy(fmt.Sprintf(`listen = "127.0.0.1:%d"`, AdminPort), fmt.Sprintf("--admin-listen 127.0.0.1:%d", AdminPort)))
	}
	for i, host := range a.Hosts {
		if host == "" || strings.ContainsAny(host, ":/ ") {
			k.fail(fmt.Sprintf("admin.hosts[%d]", i), `%q is not the name of a host; write it without a port: "san.example.org"`, host)
		}
	}
	names := map[string]string{}
	for i := range a.Tokens {
		k.adminToken(names, &a.Tokens[i], fmt.Sprintf("admin.token[%d]", i))
	}
}

func (k checker) adminToken(names map[string]string, t *AdminToken, at string) {
	k.name(names, t.Name, at, "token")
	if t.Scope == "" {
		k.fail(at, `token %q has no scope; add scope = "read" or "write"`, t.Name)
	}
	switch {
	case t.File == "" && t.Env == "":
		k.fail(at, `token %q has no secret; add file = "/etc/isantarget/%s.token" (openssl rand -hex 32 makes one), or env`, t.Name, t.Name)
	case t.File != "" && t.Env != "":
		k.fail(at, "token %q has a file and an env; keep one", t.Name)
	}
	t.File = k.absolute(at+".file", t.File)
}
