package target

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	ram "github.com/isantarget/isantarget/backstore/memory"
	"github.com/isantarget/isantarget/iscsi"
)

// A knownHost is a host that everybody is on once it is known.
type knownHost struct {
	known   atomic.Bool
	asked   chan struct{}
	waiting chan struct{} // closed when somebody waits for the first answer
	once    sync.Once
}

func newKnownHost() *knownHost {
	return &knownHost{asked: make(chan struct{}), waiting: make(chan struct{})}
}

func (h *knownHost) Contains(netip.Addr, time.Time) bool { return h.known.Load() }
func (h *knownHost) Asked() <-chan struct{} {
	h.once.Do(func() { close(h.waiting) })
	return h.asked
}
func (h *knownHost) Doubt() string { return "" }

// newRigOfHost makes a rig where only who is on h is let in, but for the session that it has.
func newRigOfHost(t *testing.T, h Host, bound time.Duration) *rig {
	store, err := ram.New(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	r := newRigWith(t, store, Options{Limits: Limits{HostBound: bound, LoginTimeout: time.Hour}})
	units := r.node().shape.Load().rules[0].Units
	r.node().SetRules([]Rule{{Label: "by host", Hosts: []Host{h}, Units: units}})
	return r
}

// TestFirstAnswerIsLate: a login that comes before the first answer waits for it.
func TestFirstAnswerIsLate(t *testing.T) {
	h := newKnownHost()
	r := newRigOfHost(t, h, time.Hour)
	late := r.another(t, func(*iscsi.LoginRequest) {})
	<-h.waiting
	h.known.Store(true)
	close(h.asked)
	if s := late.loginStatus(t); s != iscsi.LoginSuccess {
		t.Fatalf("who came before the answer was answered %v", s)
	}
	late.ping(t)
	h.known.Store(false)
	r.node().Redecide()
	if _, ok := late.tryReceive(); ok {
		t.Error("who is not on the host any more is asked something, want the session ended")
	}
}

// TestFirstAnswerDoesNotCome: who needs it is refused after the bound. A rule before it
// that lets somebody in waits for nothing.
func TestFirstAnswerDoesNotCome(t *testing.T) {
	h := newKnownHost()
	r := newRigOfHost(t, h, time.Millisecond)
	if s := r.another(t, func(*iscsi.LoginRequest) {}).loginStatus(t); s != iscsi.LoginAuthorizationFailure {
		t.Errorf("who is on a host that is not known was answered %v", s)
	}

	h = newKnownHost()
	r = newRigOfHost(t, h, time.Hour)
	byHost := r.node().shape.Load().rules[0]
	open := Rule{Label: "by address", Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Units: byHost.Units}
	r.node().SetRules([]Rule{open, byHost})
	if s := r.another(t, func(*iscsi.LoginRequest) {}).loginStatus(t); s != iscsi.LoginSuccess {
		t.Errorf("whom a rule before lets in was answered %v", s)
	}
	select {
	case <-h.waiting:
		t.Error("the host is waited for, though the rule before it decides")
	default:
	}
}
