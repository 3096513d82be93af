package initiator

import (
	"crypto/md5"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha3"
	"crypto/subtle"
	"fmt"
	"hash"
	"slices"
	"strings"

	"github.com/isantarget/isantarget/iscsi"
)

// CHAP algorithms by their IANA numbers (RFC 7143 12.1.3 and the PPP registry).
const (
	CHAPMD5     = "5"
	CHAPSHA1    = "6"
	CHAPSHA256  = "7"
	CHAPSHA3256 = "8"
)

// CHAP says how an initiator authenticates itself (RFC 7143 12.1.3).
type CHAP struct {
	User, Secret string
	Algorithms   []string // offered, best first; nil: MD5 alone

	// TargetUser and TargetSecret ask the target to authenticate itself too.
	TargetUser, TargetSecret string

	Base64 bool // binary values go out in base64, not in hexadecimal

	// Reflect sends the target's own challenge back to it, and its answer as ours: the
	// reflection attack of RFC 7143 12.1.3. TargetSecret is not needed for it.
	Reflect bool

	// EditKeys changes the keys of a step ("method", "algorithm", "response", "answer")
	// before they leave.
	EditKeys func(step string, pairs []iscsi.KeyValue) []iscsi.KeyValue

	// Chosen is the algorithm that the target picked.
	Chosen string
}

func (ch *CHAP) mutual() bool { return ch.TargetSecret != "" || ch.Reflect }

func (ch *CHAP) edit(step string, pairs ...iscsi.KeyValue) []iscsi.KeyValue {
	if ch.EditKeys != nil {
		return ch.EditKeys(step, pairs)
	}
	return pairs
}

func (ch *CHAP) format(p []byte) string {
	if ch.Base64 {
		return iscsi.FormatBase64(p)
	}
	return iscsi.FormatHex(p)
}

// CHAPResponse returns the hash of identifier, secret and challenge by an algorithm
// of CHAP_A (RFC 1994 4.1).
func CHAPResponse(algorithm string, id byte, secret string, challenge []byte) ([]byte, error) {
	var h hash.Hash
	switch algorithm {
	case CHAPMD5:
		h = md5.New()
	case CHAPSHA1:
		h = sha1.New()
	case CHAPSHA256:
		h = sha256.New()
	case CHAPSHA3256:
		h = sha3.New256()
	default:
		return nil, violation("12.1.3", "CHAP_A=%s was not offered", algorithm)
	}
	h.Write([]byte{id})
	h.Write([]byte(secret))
	h.Write(challenge)
	return h.Sum(nil), nil
}

// chapChallenge reads CHAP_I and CHAP_C.
func chapChallenge(keys map[string]string) (id byte, challenge []byte, err error) {
	n, err := iscsi.ParseNumber(keys["CHAP_I"])
	if err != nil || n > 255 {
		return 0, nil, violation("12.1.3", "CHAP_I=%q", keys["CHAP_I"])
	}
	if challenge, err = iscsi.ParseBinary(keys["CHAP_C"], 1024); err != nil {
		return 0, nil, violation("12.1.3", "CHAP_C=%q", keys["CHAP_C"])
	}
	return byte(n), challenge, nil
}

// authenticate runs CHAP after the target has chosen it. The last request asks for
// the transit to next.
func (ch *CHAP) authenticate(l *exchange, next iscsi.Stage) error {
	algorithms := ch.Algorithms
	if algorithms == nil {
		algorithms = []string{CHAPMD5}
	}
	list := strings.Join(algorithms, ",")
	step, err := l.step(iscsi.SecurityNegotiation, nil, ch.edit("algorithm", iscsi.KeyValue{Key: "CHAP_A", Value: list})...)
	if err != nil {
		return err
	}
	ch.Chosen = step.Keys["CHAP_A"]
	id, challenge, err := chapChallenge(step.Keys)
	if err != nil {
		return err
	}
	if !slices.Contains(algorithms, ch.Chosen) {
		return violation("12.1.3", "CHAP_A=%s, offered was %s", ch.Chosen, list)
	}
	if ch.Reflect {
		return ch.reflect(l, next, id, challenge)
	}
	response, err := CHAPResponse(ch.Chosen, id, ch.Secret, challenge)
	if err != nil {
		return err
	}
	pairs := []iscsi.KeyValue{{Key: "CHAP_N", Value: ch.User}, {Key: "CHAP_R", Value: ch.format(response)}}
	own, ownID := make([]byte, 16), byte(0)
	if ch.mutual() {
		_, _ = rand.Read(own) // never fails
		ownID = ^id
		pairs = append(pairs, iscsi.KeyValue{Key: "CHAP_I", Value: fmt.Sprint(ownID)}, iscsi.KeyValue{Key: "CHAP_C", Value: ch.format(own)})
	}
	step, err = l.step(iscsi.SecurityNegotiation, &next, ch.edit("response", pairs...)...)
	if err != nil || !ch.mutual() {
		return err
	}
	return ch.check(step, ownID, own)
}

// check holds the target's own response against the secret.
func (ch *CHAP) check(step *LoginStep, id byte, challenge []byte) error {
	if ch.TargetUser != "" && step.Keys["CHAP_N"] != ch.TargetUser {
		return fmt.Errorf("the target calls itself %q, want %q", step.Keys["CHAP_N"], ch.TargetUser)
	}
	got, err := iscsi.ParseBinary(step.Keys["CHAP_R"], 1024)
	if err != nil {
		return violation("12.1.3", "mutual CHAP was asked for, CHAP_R=%q", step.Keys["CHAP_R"])
	}
	want, err := CHAPResponse(ch.Chosen, id, ch.TargetSecret, challenge)
	if err != nil {
		return err
	}
	if subtle.ConstantTimeCompare(got, want) != 1 {
		return ErrTargetNotAuthentic
	}
	return nil
}

// reflect challenges the target with the target's own challenge. One that falls for
// it sends the very response that it waits for.
func (ch *CHAP) reflect(l *exchange, next iscsi.Stage, id byte, challenge []byte) error {
	_, err := l.step(iscsi.SecurityNegotiation, &next, ch.edit("response",
		iscsi.KeyValue{Key: "CHAP_N", Value: ch.User}, iscsi.KeyValue{Key: "CHAP_R", Value: ch.format(make([]byte, 16))},
		iscsi.KeyValue{Key: "CHAP_I", Value: fmt.Sprint(id)}, iscsi.KeyValue{Key: "CHAP_C", Value: ch.format(challenge)})...)
	return err
}
