package dns

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

func addresses(list ...string) (all []netip.Addr) {
	for _, a := range list {
		all = append(all, netip.MustParseAddr(a))
	}
	return all
}

// TestTrustEnds: an hour of failures shuts newcomers out, and nobody else.
func TestTrustEnds(t *testing.T) {
	h, start := newHost("a.test"), time.Now()
	a := netip.MustParseAddr("192.0.2.1")
	if h.Contains(a, start) || h.Doubt() == "" {
		t.Error("something is known before the first answer")
	}
	h.learn(answer{addresses: addresses("192.0.2.1")}, start)
	broken := answer{err: errors.New("broken")}
	var told []string
	for minute := time.Duration(1); minute <= 120; minute++ {
		changed, events := h.learn(broken, start.Add(minute*time.Minute))
		if changed {
			t.Errorf("minute %d changes something", minute)
		}
		for _, e := range events {
			told = append(told, e.Text)
		}
	}
	if len(told) != 2 || !strings.Contains(told[0], "is good until") || !strings.Contains(told[1], "nobody new is let in") {
		t.Errorf("it told %q", told)
	}
	for since, want := range map[time.Duration]bool{0: true, 59 * time.Minute: true, time.Hour: false, 2 * time.Hour: false} {
		if got := h.Contains(a, start.Add(since)); got != want {
			t.Errorf("who came after %v: %v, want %v", since, got, want)
		}
	}
	if changed, events := h.learn(answer{addresses: addresses("192.0.2.1")}, start.Add(3*time.Hour)); !changed || len(events) != 1 || events[0].Urgent {
		t.Errorf("it is back: %v, %+v", changed, events)
	}
	if !h.Contains(a, start.Add(3*time.Hour)) || h.Doubt() != "" {
		t.Error("it is back, and lets nobody in")
	}
}

// TestFamilyThatFails: its addresses are not taken for gone; those of the other one are.
func TestFamilyThatFails(t *testing.T) {
	h, now := newHost("a.test"), time.Now()
	h.learn(answer{addresses: addresses("192.0.2.1", "192.0.2.2", "2001:db8::1")}, now)
	for range 3 {
		h.learn(answer{addresses: addresses("192.0.2.2"), noSix: true}, now)
	}
	if got, want := h.seen.Load().addresses, addresses("192.0.2.2", "2001:db8::1"); !slices.Equal(got, want) {
		t.Errorf("known: %v, want %v", got, want)
	}
	// One that is there every second time stays.
	for range 4 {
		h.learn(answer{addresses: addresses("192.0.2.3")}, now)
		h.learn(answer{addresses: addresses("192.0.2.2", "2001:db8::1")}, now)
	}
	if got, want := h.seen.Load().addresses, addresses("192.0.2.2", "192.0.2.3", "2001:db8::1"); !slices.Equal(got, want) {
		t.Errorf("known: %v, want %v", got, want)
	}
}

// TestMemoryIsBounded: a name that has others at each lookup is not remembered without end.
func TestMemoryIsBounded(t *testing.T) {
	h, a := newHost("a.test"), netip.MustParseAddr("10.0.0.0")
	for range 50 {
		var found []netip.Addr
		for range maxAddresses {
			a = a.Next()
			found = append(found, a)
		}
		h.learn(answer{addresses: found}, time.Now())
		if n := len(h.seen.Load().addresses); n > misses*maxAddresses {
			t.Fatalf("%d addresses are known", n)
		}
	}
}

// TestAskLeavesTheWatchedAlone: a server that only Ask is told of says nothing of a host that
// is watched, also where that one is not known yet.
func TestAskLeavesTheWatchedAlone(t *testing.T) {
	silent, stranger := listen(t), listen(t)
	c := New(Options{Tell: func(Event) {}, Changed: func() {}})
	h := c.Host("a.test")
	c.Watch(silent.LocalAddr().String(), []*Host{h})
	defer c.Close()
	message := make([]byte, 1500)
	if _, _, err := silent.ReadFrom(message); err != nil { // it is being looked up
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		c.Ask(ctx, stranger.LocalAddr().String(), []*Host{c.Host("a.test"), c.Host("b.test")})
		close(done)
	}()
	n, _, err := stranger.ReadFrom(message)
	if err != nil || !strings.Contains(string(message[:n]), "\x01b\x04test") {
		t.Fatalf("the other server was asked %q, %v; want the name that nobody watches", message[:n], err)
	}
	cancel()
	<-done
	for {
		stranger.SetReadDeadline(time.Now())
		n, _, err := stranger.ReadFrom(message)
		if err != nil {
			return
		}
		if strings.Contains(string(message[:n]), "\x01a\x04test") {
			t.Fatal("a server that is not configured was asked for a host that is watched")
		}
	}
}

func listen(t *testing.T) net.PacketConn {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// TestHostsFile: that it has no address of a family is an answer, as it is where DNS says so;
// else one that was there before would stay for ever.
func TestHostsFile(t *testing.T) {
	a := ask(t.Context(), listen(t).LocalAddr().String(), "localhost")
	if len(a.addresses) == 0 {
		t.Skip("the hosts file of this machine has no localhost")
	}
	if !slices.Contains(a.addresses, netip.MustParseAddr("127.0.0.1")) || a.noFour || a.noSix {
		t.Errorf("localhost is %+v", a)
	}
}
