package target

import (
	"net"
	"sync"
	"testing"
	"time"

	ram "github.com/isantarget/isantarget/backstore/memory"
	"github.com/isantarget/isantarget/iscsi"
	"github.com/isantarget/isantarget/scsi"
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
	hang := newHangingStore(store)
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

// In a session of two connections a command may wait for its turn while its Data-Out
// comes, and the reader of the other connection executes it in the middle of that.
func TestDataOutOfAnEarlyCommand_RFC7143_4_2_2_1(t *testing.T) {
	store, err := ram.New(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	r := newRigOn(t, store)
	keys := []iscsi.KeyValue{{Key: "InitiatorName", Value: "iqn.2026-11.test:initiator"}, {Key: "TargetName", Value: rigName}}
	a, tsih := r.join(t, 0, 0, append(keys, iscsi.KeyValue{Key: "MaxConnections", Value: "2"}, iscsi.KeyValue{Key: "InitialR2T", Value: "No"}))
	b, _ := r.join(t, tsih, 1, keys)
	for range 100 {
		write := iscsi.SCSICommand{Write: true, Attribute: iscsi.AttributeSimple, InitiatorTaskTag: 2, Length: 8192, CmdSN: a.cmdSN + 1, CDB: [16]byte{0x2a, 8: 16}}
		a.send(t, &write, 0)
		data := iscsi.DataOut{Final: true, InitiatorTaskTag: 2, TargetTransferTag: iscsi.ReservedTag}
		ready := iscsi.SCSICommand{Final: true, Attribute: iscsi.AttributeSimple, InitiatorTaskTag: 1, CmdSN: a.cmdSN}
		var sent sync.WaitGroup
		sent.Go(func() { b.send(t, &ready, 0) })
		a.send(t, &data, 512) // less than the FirstBurstLength
		sent.Wait()
		b.answer(t)
		if status := a.answer(t); status != byte(scsi.CheckCondition) {
			t.Fatalf("a WRITE whose unsolicited data are incomplete ended with status %02Xh", status)
		}
		a.cmdSN += 2
	}
}

// join is a connection to the entity of r that has logged in to the session tsih, or to
// a new one if that is 0.
func (r *rig) join(t *testing.T, tsih, cid uint16, keys []iscsi.KeyValue) (*rig, uint16) {
	t.Helper()
	conn, err := net.Dial("tcp", r.conn.RemoteAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	c := &rig{entity: r.entity, conn: conn, cmdSN: 1, in: make([]byte, 1<<20)}
	p := iscsi.LoginRequest{Transit: true, CSG: iscsi.LoginOperationalNegotiation, NSG: iscsi.FullFeaturePhase, ISID: iscsi.ISID{0x80, 9}, TSIH: tsih, CID: cid, InitiatorTaskTag: 1, CmdSN: 1}
	var h iscsi.BHS
	p.Marshal(&h)
	text := iscsi.AppendText(nil, keys...)
	h.SetDataSegmentLength(len(text))
	if _, err := conn.Write(append(append(h[:], text...), make([]byte, iscsi.Pad(len(text)))...)); err != nil {
		t.Fatal(err)
	}
	var answer iscsi.LoginResponse
	if err := answer.Unmarshal(c.receive(t)); err != nil || answer.Status != iscsi.LoginSuccess {
		t.Fatalf("login: %v, %+v", err, answer)
	}
	return c, answer.TSIH
}

// send sends a PDU with n bytes of data, all zero.
func (r *rig) send(t *testing.T, p interface{ Marshal(*iscsi.BHS) }, n int) {
	if err := r.trySend(p, n); err != nil {
		t.Error(err)
	}
}

// trySend is send to a target that may have closed the connection.
func (r *rig) trySend(p interface{ Marshal(*iscsi.BHS) }, n int) error {
	var h iscsi.BHS
	p.Marshal(&h)
	h.SetDataSegmentLength(n)
	_, err := r.conn.Write(append(h[:], make([]byte, n)...))
	return err
}
