package protocol_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/iscsi"
)

// A ping brings its data back, as much of it as the initiator takes (11.18, 11.19).
func TestPing_RFC7143_11_18(t *testing.T) {
	d := serve(t, standard)
	p := ready(t, d, offer("MaxRecvDataSegmentLength=4096"))
	for _, n := range []int{0, 1, 3, 4, 100, 4096, 8192} {
		for _, immediate := range []bool{true, false} {
			data := bytes.Repeat([]byte{byte(n)}, n)
			got, err := p.Ping(data, immediate)
			if err != nil || !bytes.Equal(got, data[:min(n, 4096)]) {
				t.Errorf("%d bytes, immediate %v: %d bytes, %v", n, immediate, len(got), err)
			}
		}
	}
}

// A NOP-Out that wants no answer gets none (11.18.1).
func TestPingWithoutAnswer_RFC7143_11_18_1(t *testing.T) {
	d := serve(t, standard)
	p := ready(t, d, normal(nil))
	var pdu initiator.PDU
	(&iscsi.NopOut{Immediate: true, InitiatorTaskTag: iscsi.ReservedTag, TargetTransferTag: iscsi.ReservedTag, CmdSN: p.Session.CmdSN}).Marshal(&pdu.BHS)
	if err := p.Send(&pdu, 0); err != nil {
		t.Fatal(err)
	}
	p.alive() // any other answer fails the initiator
}

// The target asks a silent peer for a sign of life. Who answers stays; who does not is
// dropped, and only he (11.19).
func TestKeepAlive_RFC7143_11_19(t *testing.T) {
	t.Parallel() // it waits
	d := serve(t, "[limits]\nnop-interval = \"1s\"\nnop-timeout = \"8s\"\n"+standard)
	p := ready(t, d, normal(nil))
	for len(p.Pings) < 2 {
		if err := p.Pump(); err != nil {
			t.Fatalf("after %d pings: %v", len(p.Pings), err)
		}
	}
	for _, ping := range p.Pings {
		if ping.TargetTransferTag == iscsi.ReservedTag {
			t.Error("a ping that wants no answer proves no life")
		}
	}
	dead := ready(t, d, normal(func(l *initiator.Login) { l.InitiatorName = bob }))
	dead.IgnorePings = true
	gone, living := make(chan struct{}), make(chan error, 1)
	go func() { // the living one is asked, answers, and does not notice
		for {
			select {
			case <-gone:
				living <- nil
				return
			default:
			}
			if err := p.Pump(); err != nil {
				living <- err
				return
			}
		}
	}()
	for len(dead.Pings) < 4 {
		err := dead.Pump()
		if initiator.IsClosed(err) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	close(gone)
	if err := <-living; err != nil {
		t.Fatalf("the peer that answers: %v", err)
	}
	if len(dead.Pings) > 3 {
		t.Error("the target goes on asking a peer that does not answer")
	}
	if len(dead.Pings) == 0 {
		t.Error("dropped without being asked")
	}
	p.alive()
}

// A peer in the middle of its own requests lives, even if it answers no ping (11.19).
func TestKeepAliveOfBusyPeer_RFC7143_11_19(t *testing.T) {
	t.Parallel() // it waits
	d := serve(t, "[limits]\nnop-interval = \"1s\"\nnop-timeout = \"5s\"\n"+standard)
	p := ready(t, d, normal(nil))
	p.IgnorePings = true
	for end := time.Now().Add(7 * time.Second); time.Now().Before(end); {
		p.good(initiator.Command{CDB: testUnitReady()})
		time.Sleep(10 * time.Millisecond)
	}
	p.alive()
}
