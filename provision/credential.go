package provision

import (
	"bytes"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/dns"
	"github.com/isantarget/isantarget/target"
)

// The bounds of a CHAP secret, in bytes: RFC 7143 9.2.1 wants 96 bits of
// randomness, and nobody wants more than the identifiers of CHAP can carry.
const (
	minSecret = 12
	maxSecret = 255
)

// credential reads the secret of c; nil of nil. Its errors never show what was read.
func credential(c *configs.Credential) (*target.Credential, error) {
	if c == nil {
		return nil, nil
	}
	secret, from, err := readSecret(c.SecretFile, c.SecretEnv)
	if err != nil {
		return nil, err
	}
	if n := len(secret); n < minSecret {
		return nil, fmt.Errorf("the secret in %s has %d bytes; it needs %d or more (RFC 7143 9.2.1; Windows takes 12 to 16)", from, n, minSecret)
	} else if n > maxSecret {
		return nil, fmt.Errorf("the secret in %s has more than %d bytes", from, maxSecret)
	}
	return &target.Credential{User: c.User, Secret: secret}, nil
}

// readSecret is the secret in a file or, if one is named, an environment variable, without
// a newline at its end, and where it stands.
func readSecret(file, env string) (secret []byte, from string, err error) {
	if env != "" {
		value, ok := os.LookupEnv(env)
		if !ok {
			return nil, "", fmt.Errorf("the environment has no variable %s for the secret", env)
		}
		return trimNewline([]byte(value)), "the variable " + env, nil
	}
	f, info, err := openFile(file)
	if errors.Is(err, errNoFile) {
		return nil, "", fmt.Errorf("%s is not a file with a secret", file)
	}
	if err != nil {
		return nil, "", fmt.Errorf("cannot read the secret: %w", err)
	}
	defer f.Close()
	if others := info.Mode().Perm() & 0o077; others != 0 {
		return nil, "", fmt.Errorf("others may read the secret in %s (mode %04o); run: chmod 600 %s", file, info.Mode().Perm(), file)
	}
	secret, err = io.ReadAll(io.LimitReader(f, maxSecret+3)) // room for a newline, and to see that it is too long
	if err != nil {
		return nil, "", fmt.Errorf("cannot read the secret: %w", err)
	}
	return trimNewline(secret), file, nil
}

// errNoFile: what has the name is a pipe, a device or a directory.
var errNoFile = errors.New("it is not a regular file")

// openFile opens a regular file that a configuration names, to read it. Anything else is
// left alone: a pipe may keep who opens it waiting for ever, a device has no end, and what
// its opening does is not known.
func openFile(name string) (*os.File, os.FileInfo, error) {
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
		return nil, nil, errNoFile
	}
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0) // it may be another one by now
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errNoFile
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, info, nil
}

// trimNewline takes away the one newline that editors put at the end.
func trimNewline(secret []byte) []byte {
	return bytes.TrimSuffix(bytes.TrimSuffix(secret, []byte("\n")), []byte("\r"))
}

// proofs are the credentials of one rule, or of discovery.
type proofs struct{ chap, mutual *target.Credential }

// secrets reads credentials and remembers them by their place in the
// configuration, to find the same secret in both directions.
type secrets struct {
	config  configs.Config
	errors  *configs.Errors
	missing *[]string // complaints about files that are not on this host; nil: they are errors

	chap, mutual map[string][]byte

	known *dns.Cache
	hosts map[configs.Host]*dns.Host // that were met
}

// read is the credential at path; nil when there is none or it is wrong.
func (s *secrets) read(c *configs.Credential, path string, seen map[string][]byte) *target.Credential {
	made, err := credential(c)
	if err != nil {
		s.complain(path, err)
		return nil
	}
	if made != nil {
		seen[path] = made.Secret
	}
	return made
}

func (s *secrets) pair(path string, chap, mutual *configs.Credential) proofs {
	if path != "" {
		path += "."
	}
	return proofs{s.read(chap, path+"chap", s.chap), s.read(mutual, path+"mutual-chap", s.mutual)}
}

// reflected finds a secret that serves both directions: who asks us to prove
// ourselves could send our own answer back (RFC 7143 9.2.1).
func (s *secrets) reflected() {
	for ours, a := range s.mutual {
		for theirs, b := range s.chap {
			if subtle.ConstantTimeCompare(a, b) == 1 {
				*s.errors = append(*s.errors, s.config.Errorf(ours, "the secret is that of an initiator too (%s); give each direction its own (RFC 7143 9.2.1)",
					s.config.Where(theirs)))
			}
		}
	}
}
