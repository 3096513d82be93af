package target

import (
	"crypto/md5"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/isantarget/isantarget/iscsi"
)

// answer lets an initiator at from answer a challenge with secret.
func (g *guesses) answer(from, user, secret string) error {
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
	g := &guesses{now: func() time.Time { return now }}
	const here, there = "192.0.2.1", "192.0.2.2"
	want := func(what string, err error, status iscsi.LoginStatus) {
		t.Helper()
		if got := statusOf(t, err); got != status {
			t.Fatalf("%s: %v, want %v", what, got, status)
		}
	}
	for i := range freeGuesses {
		want(fmt.Sprintf("wrong answer %d", i), g.answer(here, "host", fmt.Sprint("guess ", i)), iscsi.LoginAuthenticationFailure)
	}
	tried := 0
	for end := now.Add(time.Hour); now.Before(end); now = now.Add(time.Second / 4) {
		if statusOf(t, g.answer(here, "host", "guess")) == iscsi.LoginAuthenticationFailure {
			tried++
		}
	}
	if most := int(time.Hour/longestPause) + 10; tried > most {
		t.Errorf("%d guesses in an hour were looked at, want %d at most", tried, most)
	}
	want("the right answer from the place that guesses", g.answer(here, "host", "correct secret"), iscsi.LoginServiceUnavailable)
	want("the right answer from elsewhere", g.answer(there, "host", "correct secret"), iscsi.LoginSuccess)
	want("the wrong answer of another user from there", g.answer(here, "another", "guess"), iscsi.LoginAuthenticationFailure)
	now = now.Add(longestPause)
	want("the right answer after the pause", g.answer(here, "host", "correct secret"), iscsi.LoginSuccess)
	want("a wrong answer after a right one", g.answer(here, "host", "guess"), iscsi.LoginAuthenticationFailure)
}

// A host with a whole IPv6 network is one place.
func TestGuessingFromANetwork(t *testing.T) {
	now := time.Now()
	g := &guesses{now: func() time.Time { return now }}
	for i := range freeGuesses {
		_ = g.answer(fmt.Sprintf("2001:db8::%x", i+1), "host", "guess")
	}
	if s := statusOf(t, g.answer("2001:db8::ffff", "host", "guess")); s != iscsi.LoginServiceUnavailable {
		t.Errorf("another address of the same network: %v", s)
	}
	if s := statusOf(t, g.answer("2001:db8:0:1::1", "host", "guess")); s != iscsi.LoginAuthenticationFailure {
		t.Errorf("another network: %v", s)
	}
}

// The memory of guesses is bounded, and loses the oldest first.
func TestGuessesAreBounded(t *testing.T) {
	now := time.Now()
	g := &guesses{now: func() time.Time { return now }}
	for range freeGuesses {
		_ = g.answer("192.0.2.1", "host", "guess")
	}
	for i := range 4 * maxGuessers {
		now = now.Add(time.Millisecond)
		_ = g.answer("192.0.2.1", fmt.Sprint("user", i), "guess")
		if i == maxGuessers/2 && statusOf(t, g.answer("192.0.2.1", "host", "correct secret")) != iscsi.LoginServiceUnavailable {
			t.Error("a guesser is forgotten though there is room")
		}
	}
	if len(g.of) > maxGuessers {
		t.Errorf("%d guessers are remembered, at most %d should be", len(g.of), maxGuessers)
	}
	now = now.Add(guessMemory + time.Second)
	_ = g.answer("192.0.2.9", "host", "guess")
	if len(g.of) != 1 {
		t.Errorf("%d guessers are remembered long after", len(g.of))
	}
}
