package protocol_test

import (
	"errors"
	"syscall"
	"testing"

	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/iscsi"
)

// A daemon that is told to stop asks each session to log out, finishes what is under
// way, lets nobody in any more, and ends once they have (11.9.1).
func TestStop_RFC7143_11_9_1(t *testing.T) {
	d := serve(t, "[limits]\ndrain-timeout = \"1m\"\n"+standard)
	p := ready(t, d, offer("MaxConnections=2", "ImmediateData=No"))
	q := ready(t, d, normal(func(l *initiator.Login) { l.InitiatorName = bob }))
	held := p.hold()
	addr := d.Address()
	d.Signal(syscall.SIGTERM)
	for _, p := range []*peer{p, q} {
		for len(p.Async) == 0 {
			if err := p.Pump(); err != nil {
				t.Fatalf("waiting for the request to log out: %v", err)
			}
		}
		if m := p.Async[0]; m.Event != iscsi.AsyncLogoutRequest || m.Parameter3 == 0 {
			t.Errorf("%+v", m)
		}
	}
	if c, err := initiator.Dial(addr, initiator.Options{}); err == nil {
		if err := c.Login(normal(nil)); err == nil {
			t.Error("a login after the daemon was told to stop")
		}
		c.Close()
	}
	if err := held.Answer(held.R2Ts[0]); err != nil { // what is under way is finished
		t.Fatal(err)
	}
	p.wait(held)
	p.wantBlock(0, 'x')
	for _, p := range []*peer{p, q} {
		if r, err := p.Logout(iscsi.CloseSession, 0); err != nil || r.Response != iscsi.LogoutClosed {
			t.Errorf("logout: %v, %v", r, err)
		}
		p.closed()
	}
	if err := d.Wait(); err != nil {
		t.Errorf("exit: %v", err)
	}
}

// Who does not log out is dropped after the drain timeout; the daemon ends well.
func TestStopOfDeafInitiator_RFC7143_11_9_1(t *testing.T) {
	d := serve(t, "[limits]\ndrain-timeout = \"500ms\"\n"+standard)
	p := ready(t, d, normal(nil))
	p.hold()
	silent := dial(t, d)
	d.Signal(syscall.SIGTERM)
	if err := d.Wait(); err != nil {
		t.Errorf("exit: %v", err)
	}
	p.closed()
	silent.closed()
}

// After SIGKILL nothing is left of the sessions; the daemon takes logins again and the
// initiator port finds its disk.
func TestKill_RFC7143_6_3_5(t *testing.T) {
	d := serve(t, standard)
	l := normal(func(l *initiator.Login) { l.ISID = initiator.RandomISID() })
	p := ready(t, d, l)
	d.Kill()
	if err := p.WaitClosed(); err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Fatal(err)
	}
	d.Restart()
	ready(t, d, l).alive()
}
