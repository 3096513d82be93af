package target

import (
	"crypto/md5"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha3"
	"crypto/subtle"
	"hash"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/isantarget/isantarget/guess"
	"github.com/isantarget/isantarget/iscsi"
)

// A Credential is a CHAP name and secret. It never shows its secret.
type Credential struct {
	User   string
	Secret []byte
}

// String is the user name; the secret stays hidden.
func (c Credential) String() string { return c.User }

// GoString is String, so that %#v hides the secret too.
func (c Credential) GoString() string { return "Credential{" + c.User + "}" }

// MarshalJSON hides the secret.
func (c Credential) MarshalJSON() ([]byte, error) { return []byte(strconv.Quote(c.User)), nil }

// maxChallenge is the most bytes of a CHAP challenge that we answer (RFC 7143 12.1.3).
const maxChallenge = 1024

// chapHash is the hash of a CHAP_A number (IANA PPP Authentication Algorithms);
// nil: not one of ours.
func chapHash(algorithm uint64) hash.Hash {
	switch algorithm {
	case 5:
		return md5.New()
	case 6:
		return sha1.New()
	case 7:
		return sha256.New()
	case 8:
		return sha3.New256()
	}
	return nil
}

// chapResponse is RFC 1994 4.1: the hash of identifier, secret and challenge.
func chapResponse(h hash.Hash, id byte, secret, challenge []byte) []byte {
	h.Reset()
	h.Write([]byte{id})
	h.Write(secret)
	h.Write(challenge)
	return h.Sum(nil)
}

// chapStep is where the exchange stands.
type chapStep uint8

const (
	chapMethod    chapStep = iota // AuthMethod has not been chosen
	chapAlgorithm                 // CHAP_A is due
	chapAnswer                    // CHAP_N and CHAP_R are due
	authenticated                 // done
)

// A chap is the target's side of RFC 7143 12.1.3.
type chap struct {
	step       chapStep
	candidates []Rule // whose credentials may be proven, in their order
	proven     *Rule
	hash       hash.Hash
	id         byte
	challenge  []byte
	guesses    *guess.Guesses
	from       netip.Addr // where the initiator is
}

// due are the keys that a step allows; none may come early or again.
func (s chapStep) due() []string {
	switch s {
	case chapMethod:
		return []string{"AuthMethod"}
	case chapAlgorithm:
		return []string{"CHAP_A"}
	case chapAnswer:
		return []string{"CHAP_N", "CHAP_R", "CHAP_I", "CHAP_C"}
	}
	return nil
}

// handle takes the security keys of one request and answers them.
func (a *chap) handle(keys map[string]string) ([]iscsi.KeyValue, error) {
	due := a.step.due()
	for key := range keys {
		if !slices.Contains(due, key) {
			return nil, refuse(iscsi.LoginInitiatorError, "key %s where none or another is due (RFC 7143 12.1.3)", key)
		}
	}
	switch a.step {
	case chapMethod:
		return a.chooseMethod(keys)
	case chapAlgorithm:
		return a.sendChallenge(keys)
	case chapAnswer:
		return a.verify(keys)
	}
	return nil, nil
}

// required tells whether the initiator must prove itself.
func (a *chap) required() bool { return a.candidates[0].CHAP != nil }

func (a *chap) chooseMethod(keys map[string]string) ([]iscsi.KeyValue, error) {
	value, ok := keys["AuthMethod"]
	if !ok {
		return nil, nil
	}
	offered, err := iscsi.ParseList(value, 64)
	if err != nil {
		return nil, refuse(iscsi.LoginInitiatorError, "AuthMethod: %v", err)
	}
	want := "None"
	if a.required() {
		want = "CHAP"
	}
	for _, m := range offered {
		if m != want {
			continue
		}
		if want == "None" {
			a.step = authenticated
			a.proven = &a.candidates[0]
		} else {
			a.step = chapAlgorithm
		}
		return []iscsi.KeyValue{{Key: "AuthMethod", Value: want}}, nil
	}
	if a.required() {
		return nil, refuse(iscsi.LoginAuthenticationFailure, "the access rule %q demands CHAP and the initiator offers only %s: set its CHAP user and secret", a.candidates[0].Label, value)
	}
	return nil, refuse(iscsi.LoginAuthenticationFailure, "the initiator insists on %s and the access rule %q has no CHAP secret: give the rule one, or let the initiator offer None", value, a.candidates[0].Label)
}

func (a *chap) sendChallenge(keys map[string]string) ([]iscsi.KeyValue, error) {
	value, ok := keys["CHAP_A"]
	if !ok {
		return nil, refuse(iscsi.LoginMissingParameter, "CHAP_A is missing (RFC 7143 12.1.3)")
	}
	offered, err := iscsi.ParseList(value, 64)
	if err != nil {
		return nil, refuse(iscsi.LoginInitiatorError, "CHAP_A: %v", err)
	}
	for _, s := range offered {
		number, err := iscsi.ParseNumber(s)
		if err != nil {
			return nil, refuse(iscsi.LoginInitiatorError, "CHAP_A: %v", err)
		}
		if a.hash = chapHash(number); a.hash == nil {
			continue
		}
		var random [1 + sha256.Size]byte
		rand.Read(random[:]) // never fails
		a.id = random[0]
		a.challenge = random[1 : 1+a.hash.Size()]
		a.step = chapAnswer
		return []iscsi.KeyValue{
			{Key: "CHAP_A", Value: s},
			{Key: "CHAP_I", Value: strconv.Itoa(int(a.id))},
			{Key: "CHAP_C", Value: iscsi.FormatHex(a.challenge)},
		}, nil
	}
	return nil, refuse(iscsi.LoginAuthenticationFailure, "the initiator offers the CHAP algorithms %s; 5 (MD5), 6 (SHA1), 7 (SHA-256) and 8 (SHA3-256) are known", value)
}

func (a *chap) verify(keys map[string]string) ([]iscsi.KeyValue, error) {
	user, ok := keys["CHAP_N"]
	response, ok2 := keys["CHAP_R"]
	if !ok || !ok2 {
		return nil, refuse(iscsi.LoginMissingParameter, "CHAP_N or CHAP_R is missing (RFC 7143 12.1.3)")
	}
	given, err := iscsi.ParseBinary(response, maxChallenge)
	if err != nil {
		return nil, refuse(iscsi.LoginInitiatorError, "CHAP_R: %v", err)
	}
	who := guess.Of(a.from, user)
	if pause := a.guesses.Pause(who); pause > 0 {
		return nil, refuse(iscsi.LoginServiceUnavailable, "CHAP user %q has answered wrongly too often from %v: its next answer is looked at in %v", user, a.from, pause.Round(time.Second/10))
	}
	rule := a.match(user, given)
	if rule == nil {
		a.guesses.Wrong(who)
		return nil, refuse(iscsi.LoginAuthenticationFailure, "CHAP user %q: unknown, or its secret differs from the one in the secret file", user)
	}
	a.guesses.Right(who)
	a.proven = rule
	a.step = authenticated
	return a.prove(keys)
}

// match finds the rule whose credential the response proves. The time it takes
// does not tell whether the user exists.
func (a *chap) match(user string, response []byte) *Rule {
	var proven *Rule
	for i := range a.candidates {
		r := &a.candidates[i]
		if r.CHAP == nil {
			continue
		}
		want := chapResponse(a.hash, a.id, r.CHAP.Secret, a.challenge)
		same := subtle.ConstantTimeCompare([]byte(user), []byte(r.CHAP.User)) &
			subtle.ConstantTimeCompare(response, want)
		if same == 1 && proven == nil {
			proven = r
		}
	}
	return proven
}

// prove answers the initiator's own challenge, if it has sent one.
func (a *chap) prove(keys map[string]string) ([]iscsi.KeyValue, error) {
	idValue, ok := keys["CHAP_I"]
	challengeValue, ok2 := keys["CHAP_C"]
	switch {
	case !ok && !ok2:
		return nil, nil
	case !ok || !ok2:
		return nil, refuse(iscsi.LoginMissingParameter, "mutual CHAP wants both CHAP_I and CHAP_C (RFC 7143 12.1.3)")
	}
	id, err := iscsi.ParseNumber(idValue)
	if err != nil || id > 255 {
		return nil, refuse(iscsi.LoginInitiatorError, "CHAP_I=%q: want a number from 0 to 255", idValue)
	}
	challenge, err := iscsi.ParseBinary(challengeValue, maxChallenge)
	if err != nil || len(challenge) == 0 {
		return nil, refuse(iscsi.LoginInitiatorError, "CHAP_C of the initiator is not 1 to %d bytes", maxChallenge)
	}
	if subtle.ConstantTimeCompare(challenge, a.challenge) == 1 {
		// RFC 7143 9.2.1: somebody wants our own challenge answered for him.
		return nil, refuse(iscsi.LoginAuthenticationFailure, "the initiator sent our own CHAP challenge back (reflection attack)")
	}
	m := a.proven.Mutual
	if m == nil {
		return nil, refuse(iscsi.LoginAuthenticationFailure, "the initiator demands mutual CHAP and the access rule %q has no mutual secret: give it one, or switch mutual CHAP off at the initiator", a.proven.Label)
	}
	return []iscsi.KeyValue{
		{Key: "CHAP_N", Value: m.User},
		{Key: "CHAP_R", Value: iscsi.FormatHex(chapResponse(a.hash, byte(id), m.Secret, challenge))},
	}, nil
}
