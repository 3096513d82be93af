package doctor

import (
	"errors"
	"fmt"

	"github.com/isantarget/isantarget/internal/initiator"
)

// What the initiator of Windows takes for a CHAP secret, in bytes.
const (
	leastSecret = 12
	mostSecret  = 16
)

func chapChecks() []Check {
	return []Check{
		{
			ID: "chap-enforced", For: []Consumer{Everybody}, scope: ofTarget, run: checkCHAPEnforced,
			Title:  "who does not know the CHAP secret is refused",
			Breaks: "anybody who reaches the port reads and writes the disks, whatever the secret",
			Remedy: "have the target demand CHAP in every rule that admits this initiator",
		}, {
			ID: "chap-md5", For: []Consumer{OpenISCSI, WindowsCluster}, scope: ofTarget, run: checkCHAPMD5,
			Title:  "CHAP with MD5 alone succeeds",
			Breaks: "open-iscsi's default, and Windows, offer MD5 and nothing else: they cannot log in",
			Remedy: "let the target take MD5, or set node.session.auth.chap_algs on every host",
		}, {
			ID: "chap-algorithms", For: []Consumer{OpenISCSI}, scope: ofTarget, run: checkCHAPAlgorithms,
			Title:  "CHAP succeeds when SHA3-256, SHA-256, SHA-1 and MD5 are offered in this order",
			Breaks: "hosts with `chap_algs = SHA3-256,SHA256,SHA1,MD5` cannot log in: the target picks an algorithm, and computes another",
			Remedy: "offer only MD5 to this target (node.session.auth.chap_algs = MD5)",
		}, {
			ID: "chap-secret", For: []Consumer{WindowsCluster}, scope: ofTarget, run: checkCHAPSecret,
			Title:  "the CHAP secret has 12 to 16 bytes",
			Breaks: "the initiator of Windows refuses shorter and longer secrets",
			Remedy: "choose a secret of 12 to 16 characters",
		},
	}
}

func (x *examination) withCHAP() error {
	if x.o.Secret == "" {
		return notChecked("no CHAP secret was given")
	}
	return nil
}

func checkCHAPEnforced(x *examination) (string, error) {
	if err := x.withCHAP(); err != nil {
		return "", err
	}
	for _, try := range []struct {
		what string
		chap *initiator.CHAP
	}{
		{"without CHAP", nil},
		{"with a wrong secret", &initiator.CHAP{User: x.o.User, Secret: "not-" + x.o.Secret}},
	} {
		c, err := x.login(x.portal, initiator.RandomISID(), func(l *initiator.Login) { l.CHAP = try.chap })
		if err == nil {
			leave(c)
			return "", fmt.Errorf("a login %s succeeds", try.what)
		}
		var refusal *initiator.Refusal
		if !errors.As(err, &refusal) && !initiator.IsClosed(err) {
			return "", fmt.Errorf("a login %s: %w", try.what, err)
		}
	}
	return "refused without CHAP, and with a wrong secret", nil
}

func (x *examination) chapLogin(algorithms ...string) (string, error) {
	if err := x.withCHAP(); err != nil {
		return "", err
	}
	chap := &initiator.CHAP{User: x.o.User, Secret: x.o.Secret, Algorithms: algorithms}
	c, err := x.login(x.portal, initiator.RandomISID(), func(l *initiator.Login) { l.CHAP = chap })
	if err != nil {
		if chap.Chosen != "" {
			err = fmt.Errorf("the target picks algorithm %s, and then: %w", chap.Chosen, err)
		}
		return "", err
	}
	leave(c)
	return "algorithm " + chap.Chosen, nil
}

func checkCHAPMD5(x *examination) (string, error) { return x.chapLogin(initiator.CHAPMD5) }

func checkCHAPAlgorithms(x *examination) (string, error) {
	return x.chapLogin(initiator.CHAPSHA3256, initiator.CHAPSHA256, initiator.CHAPSHA1, initiator.CHAPMD5)
}

func checkCHAPSecret(x *examination) (string, error) {
	if err := x.withCHAP(); err != nil {
		return "", err
	}
	if n := len(x.o.Secret); n < leastSecret || n > mostSecret {
		return "", fmt.Errorf("it has %d bytes", n)
	}
	return "", nil
}
