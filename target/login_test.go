package target

import (
	"net"
	"testing"
	"time"

	ram "github.com/isantarget/isantarget/backstore/memory"
	"github.com/isantarget/isantarget/iscsi"
)

// another is a connection to the entity of r that has sent its login request.
func (r *rig) another(t *testing.T, edit func(*iscsi.LoginRequest)) *rig {
	t.Helper()
	conn, err := net.Dial("tcp", r.conn.RemoteAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	wire := r.loginRequest(1)
	var p iscsi.LoginRequest
	h := (*iscsi.BHS)(wire)
	if err := p.Unmarshal(h); err != nil {
		t.Fatal(err)
	}
	n := h.DataSegmentLength()
	edit(&p)
	p.Marshal(h)
	h.SetDataSegmentLength(n)
	if _, err := conn.Write(wire); err != nil {
		t.Fatal(err)
	}
	return &rig{entity: r.entity, conn: conn, cmdSN: 1, in: make([]byte, 1<<20)}
}

// loginStatus is how the login of r ended.
func (r *rig) loginStatus(t *testing.T) iscsi.LoginStatus {
	t.Helper()
	var answer iscsi.LoginResponse
	if err := answer.Unmarshal(r.receive(t)); err != nil {
		t.Fatal(err)
	}
	return answer.Status
}

// A session that is not yet its node's, for the one before it has still to end, cannot
// be joined: it has no nexus and no logical units.
func TestJoinBeforeBegin_RFC7143_6_3_5(t *testing.T) {
	store, err := ram.New(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	hang := &hangingStore{store, make(chan struct{}, 100), make(chan struct{})}
	r := newRigOn(t, hang)
	var h iscsi.BHS
	r.command(t, &h, 0x2a, 0, 8, make([]byte, 4096))
	<-hang.hanging // the session of r cannot end

	next := r.another(t, func(*iscsi.LoginRequest) {})
	for r.entity.session(2) == nil {
		time.Sleep(time.Millisecond)
	}
	// CID 0 is that of the leading connection, which it would replace.
	early := r.another(t, func(p *iscsi.LoginRequest) { p.TSIH = 2 })
	if s := early.loginStatus(t); s != iscsi.LoginSessionDoesNotExist {
		t.Errorf("who joined a session that had not begun was answered %v", s)
	}
	close(hang.release)
	if s := next.loginStatus(t); s != iscsi.LoginSuccess {
		t.Fatalf("the login that took the place of a session was answered %v", s)
	}
	next.ping(t)
}

// A host that has as many sessions as it may have, and whose connection broke, comes
// back at once: the login ends a session, so it makes none more.
func TestReinstatementAtTheLimit_RFC7143_6_3_5(t *testing.T) {
	store, err := ram.New(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	r := newRigWith(t, store, Options{Limits: Limits{SessionsPerInitiator: 1}})
	more := r.another(t, func(p *iscsi.LoginRequest) { p.ISID[1]++ })
	if s := more.loginStatus(t); s != iscsi.LoginOutOfResources {
		t.Errorf("a second session of an initiator that may have one was answered %v", s)
	}
	next := r.another(t, func(*iscsi.LoginRequest) {})
	if s := next.loginStatus(t); s != iscsi.LoginSuccess {
		t.Fatalf("the login that takes the place of a session was answered %v", s)
	}
	next.ping(t)
}
