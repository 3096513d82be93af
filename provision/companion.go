package provision

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/state"
)

// A Companion changes together with what is served, by the same configuration: the admin
// plane. While it is prepared nobody may see anything of it.
type Companion interface {
	// Prepare makes ready what p wants, or says why it cannot be. Then one of the methods
	// of the step is called, once.
	Prepare(ctx context.Context, p Plane) (Step, error)
}

// A Step is a change that a companion is ready for.
type Step interface {
	Commit() (changes []string) // it cannot fail any more; the changes are told in words
	Discard()
}

// Accompany has c take part in every Apply from now on. It is called before the first.
func (p *Provisioner) Accompany(c Companion) { p.companion = c }

// A Plane is what a configuration says of the admin plane, its secrets read.
type Plane struct {
	configs.Admin
	Tokens      []Token
	Certificate *tls.Certificate // nil: without TLS
	OwnToken    string           // file of the token, if no other is named
}

// A Token lets its bearer ask the admin plane.
type Token struct {
	Name   string
	Scope  configs.Scope
	Secret []byte
}

// TokenName is what the file in the state directory is called that has the token of a
// configuration that names none.
const TokenName = "admin-token"

// The bounds of a token in bytes. A person may choose one, which should not be guessed.
const (
	minToken = 16
	maxToken = 255
)

// tokens are those that the configuration names.
func (s *secrets) tokens() []Token {
	var all []Token
	for i, t := range s.config.Admin.Tokens {
		secret, err := tokenSecret(t)
		for _, other := range all {
			if err == nil && subtle.ConstantTimeCompare(secret, other.Secret) == 1 {
				err = fmt.Errorf("it is the same as %s; give each a secret of its own", other.Name)
			}
		}
		if err != nil {
			s.complain(fmt.Sprintf("admin.token[%d]", i), err)
			continue
		}
		all = append(all, Token{t.Name, t.Scope, secret})
	}
	return all
}

// tokenSecret reads a token. Its errors never show what was read.
func tokenSecret(t configs.AdminToken) ([]byte, error) {
	secret, from, err := readSecret(t.File, t.Env)
	if err != nil {
		return nil, err
	}
	return secret, checkToken(secret, from)
}

// checkToken tells whether secret goes into a header (RFC 6750 2.1) and is not too short.
func checkToken(secret []byte, from string) error {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~+/="
	switch {
	case len(secret) < minToken || len(secret) > maxToken:
		return fmt.Errorf("the token in %s has %d bytes; it needs %d to %d (openssl rand -hex 32 makes one)", from, len(secret), minToken, maxToken)
	case strings.Trim(string(secret), letters) != "":
		return fmt.Errorf("the token in %s has other characters than letters, digits and -._~+/= (RFC 6750 2.1); openssl rand -hex 32 makes one", from)
	}
	return nil
}

// accompany has the companion prepare.
func (c *change) accompany(ctx context.Context) (err error) {
	if c.companion == nil || c.renewal != nil {
		return nil
	}
	plane := Plane{Admin: c.plan.Admin, Tokens: c.plan.tokens, Certificate: c.plan.cert}
	if plane.Listen != "" && len(plane.Tokens) == 0 {
		own, err := ownToken(c.next.state)
		if err != nil {
			return c.plan.Errorf("admin", "%v", err)
		}
		plane.Tokens, plane.OwnToken = []Token{own}, filepath.Join(c.next.state.Path(), TokenName)
	}
	if plane.TLS == configs.SelfSigned {
		if plane.Certificate, err = ownCertificate(c.next.state, plane.Listen); err != nil {
			return c.plan.Errorf("admin.tls", "%v", err)
		}
	}
	if c.beside, err = c.companion.Prepare(ctx, plane); err != nil {
		return configs.Errors{c.plan.Errorf("admin.listen", "%v", err)}
	}
	return nil
}

// leave discards what the companion has prepared.
func (c *change) leave() {
	if c.beside != nil {
		c.beside.Discard()
		c.beside = nil
	}
}

// ownToken is the token that the state directory keeps; it is made at first.
func ownToken(d *state.Directory) (Token, error) {
	secret, err := d.Kept(TokenName)
	if err != nil {
		return Token{}, err
	}
	if secret == nil {
		random := make([]byte, 32)
		rand.Read(random) // never fails
		secret = []byte(hex.EncodeToString(random) + "\n")
		if err := d.Keep(TokenName, secret); err != nil {
			return Token{}, err
		}
	}
	secret, file := bytes.TrimSpace(secret), filepath.Join(d.Path(), TokenName)
	if err := checkToken(secret, file); err != nil {
		return Token{}, fmt.Errorf("%w; remove the file to have another one made", err)
	}
	return Token{Name: TokenName, Scope: configs.WriteScope, Secret: secret}, nil
}

// Listen binds an address of a configuration. Its error says what to do.
func Listen(ctx context.Context, address string) (net.Listener, error) {
	network, host := family(configs.Portal(address))
	l, err := (&net.ListenConfig{}).Listen(ctx, network, address)
	if err != nil {
		return nil, errors.New(explainBind(err, address, host, nil, newSockets(nil)))
	}
	return l, nil
}

// complain notes what is wrong with a secret at path.
func (s *secrets) complain(path string, err error) {
	complaint := s.config.Errorf(path, "%v", err)
	if s.missing != nil && errors.Is(err, os.ErrNotExist) {
		*s.missing = append(*s.missing, complaint.Error())
		return
	}
	*s.errors = append(*s.errors, complaint)
}
