package doctor

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/iscsi"
)

// bounded runs an examination that must end, whatever the target does.
func bounded(t *testing.T, portal string) (*Report, error) {
	t.Helper()
	type outcome struct {
		r   *Report
		err error
	}
	done := make(chan outcome, 1)
	go func() {
		r, err := Examine(t.Context(), Place{Portal: portal, Target: rigName, LUN: 0}, Options{Destructive: true, Timeout: 200 * time.Millisecond})
		done <- outcome{r, err}
	}()
	select {
	case o := <-done:
		if o.r == nil {
			return nil, o.err
		}
		for _, e := range o.r.Examinations {
			for _, f := range e.Findings {
				if strings.Contains(f.Found, ourDefect) {
					t.Errorf("%s: %s", f.Check, f.Found)
				}
			}
		}
		return o.r, o.err
	case <-time.After(3 * time.Minute):
		t.Fatal("the examination does not end")
		return nil, nil
	}
}

// TestHostile: a target that is silent, that floods, that sends anything, neither hangs nor
// crashes the doctor, and does not pass.
func TestHostile(t *testing.T) {
	for name, raw := range map[string]func(net.Conn){
		"silent": func(c net.Conn) { _, _ = io.Copy(io.Discard, c) },
		"closes": func(c net.Conn) {},
		"noise": func(c net.Conn) {
			source := rand.NewChaCha8([32]byte{1})
			p := make([]byte, 1<<16)
			for {
				_, _ = source.Read(p)
				if _, err := c.Write(p); err != nil {
					return
				}
			}
		},
		"pings": func(c net.Conn) {
			var p initiator.PDU
			(&iscsi.NopIn{InitiatorTaskTag: iscsi.ReservedTag, TargetTransferTag: 1}).Marshal(&p.BHS)
			for wire := p.Encode(initiator.Digests{}, 0); ; {
				if _, err := c.Write(wire); err != nil {
					return
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := &wire{raw: raw}
			if r, err := bounded(t, w.listen(t, "")); err == nil {
				t.Errorf("it was examined: %+v", r)
			}
		})
	}
}

// TestCorrupt: answers that are changed at random, in header or data, are no worse.
func TestCorrupt(t *testing.T) {
	for seed := range uint64(6) {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			random := rand.New(rand.NewPCG(seed, 1))
			w := &wire{edit: func(_ int, toTarget bool, p *initiator.PDU) bool {
				mu.Lock()
				defer mu.Unlock()
				if toTarget || p.BHS.Opcode() == iscsi.OpLoginResponse || random.IntN(4) > 0 {
					return true
				}
				switch n := random.IntN(4); {
				case n == 0:
					at := random.IntN(iscsi.BHSLength)
					if at < 4 || at > 7 { // its length stays that of the data
						p.BHS[at] = byte(random.Uint32())
					}
				case n == 1 && len(p.Data) > 0:
					p.Data = p.Data[:random.IntN(len(p.Data))]
				case len(p.Data) > 0:
					p.Data[random.IntN(len(p.Data))] = byte(random.Uint32())
				}
				return random.IntN(20) > 0
			}}
			_, _ = bounded(t, w.listen(t, serve(t, lie{})))
		})
	}
}

// TestInterrupted: Ctrl-C in the middle of a check leaves nothing behind.
func TestInterrupted(t *testing.T) {
	portal := serve(t, lie{})
	ctx, cancel := context.WithCancel(t.Context())
	o := Options{Destructive: true, Timeout: 5 * time.Second, Progress: func(_, check string) {
		if check == "fence-preempt" {
			time.AfterFunc(2*time.Millisecond, cancel)
		}
	}}
	r, err := Examine(ctx, Place{Portal: portal, Target: rigName, LUN: 0}, o)
	if r == nil || !errors.Is(err, context.Canceled) && err != nil {
		t.Fatalf("%+v, %v", r, err)
	}
	if len(r.Left) > 0 {
		t.Errorf("left: %q", r.Left)
	}
	disk, err := Probe(t.Context(), Place{Portal: portal, Target: rigName, LUN: 0}, Options{})
	if err != nil || disk.Reserved != 0 || disk.Size != 8<<20 || disk.BlockSize != 512 || disk.WriteProtected {
		t.Errorf("%+v, %v", disk, err)
	}
}

// TestOthersReservation: where somebody has registered, nothing is written or reserved.
func TestOthersReservation(t *testing.T) {
	portal := serve(t, lie{})
	owner := newExamination(t.Context(), &Options{Initiator: "iqn.2026-11.test:owner"}, portal, rigName, 0)
	if err := owner.a.persistentOut(registerAndIgnore, 0, 0, 77, false); err != nil {
		t.Fatal(err)
	}
	r, err := Examine(t.Context(), Place{Portal: portal, Target: rigName, LUN: 0}, Options{Destructive: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range r.Examinations {
		for _, f := range e.Findings {
			if f.Verdict == Fail || f.Destructive && f.Verdict == Pass {
				t.Errorf("%s: %s: %s", f.Check, f.Verdict, f.Found)
			}
		}
	}
	if s, err := owner.a.reservations(); err != nil || len(s.keys) != 1 || s.keys[0] != 77 {
		t.Errorf("the owner has %x now, %v", s.keys, err)
	}
}

func TestProbeSaysWhy(t *testing.T) {
	portal := serve(t, lie{notReady: true})
	for place, want := range map[Place]string{
		{Portal: portal, Target: rigName, LUN: 0}:        "LUN 0 is not ready: TEST UNIT READY: NOT READY, LOGICAL UNIT NOT READY, MANUAL INTERVENTION REQUIRED (04/03)",
		{Portal: portal, Target: rigName, LUN: 9}:        "there is no LUN 9",
		{Portal: portal, Target: rigName + "x", LUN: 0}:  "target not found",
		{Portal: portal, Target: rigName, LUN: AnyLUN}:   "has to name one LUN",
		{Portal: "127.0.0.1:1", Target: rigName, LUN: 0}: "cannot connect to 127.0.0.1:1",
	} {
		if _, err := Probe(t.Context(), place, Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", place, err, want)
		}
	}
}

func TestParsePlace(t *testing.T) {
	for text, want := range map[string]Place{
		"iscsi://192.0.2.1/iqn.2026-11.org.example:a/0":         {"192.0.2.1:3260", "iqn.2026-11.org.example:a", 0, ""},
		"iscsi://hans@192.0.2.1:3261/iqn.2026-11.org.example:a": {"192.0.2.1:3261", "iqn.2026-11.org.example:a", AnyLUN, "hans"},
		"iscsi://[2001:db8::1]/":                                {"[2001:db8::1]:3260", "", AnyLUN, ""},
		"2001:db8::1":                                           {"[2001:db8::1]:3260", "", AnyLUN, ""},
		"san.example.org:3262":                                  {"san.example.org:3262", "", AnyLUN, ""},
	} {
		if got, err := ParsePlace(text); err != nil || got != want {
			t.Errorf("%s: %+v, %v, want %+v", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"iscsi://hans%geheim@192.0.2.1/iqn.2026-11.org.example:a/0": "has a password in it",
		"iscsi://hans:geheim@192.0.2.1/iqn.2026-11.org.example:a/0": "has a password in it",
		"http://192.0.2.1":                                  "another scheme",
		"iscsi:///iqn.2026-11.org.example:a/0":              "names no host",
		"iscsi://192.0.2.1/disk/0":                          `begins with none of "iqn."`,
		"iscsi://192.0.2.1/iqn.2026-11.org.example:a/x":     "is not a LUN",
		"iscsi://192.0.2.1/iqn.2026-11.org.example:a/99999": "is not a LUN",
		"192.0.2.1:99999":                                   "is not a host and port",
		"iscsi://192.0.2.1/iqn.2026-11.org.example:a/0?x=1": "behind the ?",
	} {
		if got, err := ParsePlace(text); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "geheim") {
			t.Errorf("%s: %+v, %v, want %q", text, got, err, want)
		}
	}
}
