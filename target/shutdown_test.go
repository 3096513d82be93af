package target

import (
	"context"
	"net"
	"testing"

	"github.com/isantarget/isantarget/iscsi"
)

// A shutdown in the middle of a login does not mix its Async Message into the
// last Login Response, nor count it before.
func TestShutdownDuringLogin(t *testing.T) {
	for range 30 {
		r := newRig(t, 1<<20)
		conn, err := net.Dial("tcp", r.conn.RemoteAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			defer close(done)
			if err := r.entity.Shutdown(ctx); err != nil {
				t.Error(err)
			}
		}()
		late := &rig{entity: r.entity, conn: conn, in: make([]byte, 1<<20)}
		late.raceLogin(t)
		conn.Close()
		r.conn.Close()
		cancel()
		<-done
	}
}

// raceLogin logs in while the target may be stopping: whatever arrives is a
// whole Login Response and then whole PDUs.
func (r *rig) raceLogin(t *testing.T) {
	if _, err := r.conn.Write(r.loginRequest(2)); err != nil {
		return // refused already
	}
	h, ok := r.tryReceive()
	if !ok {
		return
	}
	var answer iscsi.LoginResponse
	if err := answer.Unmarshal(h); err != nil {
		t.Fatalf("the first PDU is no Login Response: %v", err)
	}
	if answer.Status != iscsi.LoginSuccess {
		return
	}
	if h, ok = r.tryReceive(); !ok {
		t.Fatal("the initiator was let in, and not asked to log out")
	}
	var async iscsi.AsyncMessage
	if err := async.Unmarshal(h); err != nil || async.Event != iscsi.AsyncLogoutRequest {
		t.Fatalf("after the login came %v %+v", err, async)
	}
	if async.StatSN != answer.StatSN+1 {
		t.Fatalf("StatSN %d after %d", async.StatSN, answer.StatSN)
	}
}
