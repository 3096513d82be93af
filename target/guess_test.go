package target

import (
	"crypto/md5"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/isantarget/isantarget/guess"
	"github.com/isantarget/isantarget/iscsi"
)

// answer lets an initiator at from answer a challenge with secret.
func answer(g *guess.Guesses, from, user, secret string) error {
	a := chap{
		step: chapAnswer, hash: md5.New(), id: 1, challenge: []byte("0123456789abcdef"), guesses: g, from: netip.MustParseAddr(from),
		candidates: []Rule{{Label: "hosts", CHAP: &Credential{User: "host", Secret: []byte("correct secret")}}},
	}
	response := chapResponse(md5.New(), 1, []byte(secret), a.challenge)
	_, err := a.verify(map[string]string{"CHAP_N": user, "CHAP_R": iscsi.FormatHex(response)})
	return err
}

func statusOf(t *testing.T, err error) iscsi.LoginStatus {
	t.Helper()
	var r *refusal
	switch {
	case err == nil:
		return iscsi.LoginSuccess
	case !errors.As(err, &r):
		t.Fatal(err)
	}
	return r.status
}

// Guessing gets slower with each wrong answer from one place, down to one in thirty
// seconds; it slows no other place, and a right answer ends it.
func TestGuessingIsSlowed_RFC7143_9_2_1(t *testing.T) {
	now := time.Now()
	g := &guess.Guesses{Now: func() time.Time { return now }}
	const here, there = "192.0.2.1", "192.0.2.2"
	want := func(what string, err error, status iscsi.LoginStatus) {
		t.Helper()
		if got := statusOf(t, err); got != status {
			t.Fatalf("%s: %v, want %v", what, got, status)
		}
	}
	for i := range guess.Free {
		want(fmt.Sprintf("wrong answer %d", i), answer(g, here, "host", fmt.Sprint("guess ", i)), iscsi.LoginAuthenticationFailure)
	}
	tried := 0
	for end := now.Add(time.Hour); now.Before(end); now = now.Add(time.Second / 4) {
		if statusOf(t, answer(g, here, "host", "guess")) == iscsi.LoginAuthenticationFailure {
			tried++
		}
	}
	if most := int(time.Hour/guess.LongestPause) + 10; tried > most {
		t.Errorf("%d guesses in an hour were looked at, want %d at most", tried, most)
	}
	want("the right answer from the place that guesses", answer(g, here, "host", "correct secret"), iscsi.LoginServiceUnavailable)
	want("the right answer from elsewhere", answer(g, there, "host", "correct secret"), iscsi.LoginSuccess)
	want("the wrong answer of another user from there", answer(g, here, "another", "guess"), iscsi.LoginAuthenticationFailure)
	now = now.Add(guess.LongestPause)
	want("the right answer after the pause", answer(g, here, "host", "correct secret"), iscsi.LoginSuccess)
	want("a wrong answer after a right one", answer(g, here, "host", "guess"), iscsi.LoginAuthenticationFailure)
}

// A host with a whole IPv6 network is one place.
func TestGuessingFromANetwork(t *testing.T) {
	now := time.Now()
	g := &guess.Guesses{Now: func() time.Time { return now }}
	for i := range guess.Free {
		_ = answer(g, fmt.Sprintf("2001:db8::%x", i+1), "host", "guess")
	}
	if s := statusOf(t, answer(g, "2001:db8::ffff", "host", "guess")); s != iscsi.LoginServiceUnavailable {
		t.Errorf("another address of the same network: %v", s)
	}
	if s := statusOf(t, answer(g, "2001:db8:0:1::1", "host", "guess")); s != iscsi.LoginAuthenticationFailure {
		t.Errorf("another network: %v", s)
	}
}
