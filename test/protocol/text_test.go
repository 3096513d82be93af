package protocol_test

import (
	"strings"
	"testing"

	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/iscsi"
)

// What may be said after the login, in one PDU or in pieces (11.10, 7.2, 13).
func TestText_RFC7143_11_10(t *testing.T) {
	d := serve(t, standard)
	p := ready(t, d, normal(nil))
	for _, split := range []int{0, 1, 5} {
		answer, err := p.Text(split, pairs("X-org.isantarget.test=1", "InitiatorAlias=new", "HeaderDigest=CRC32C", "MaxConnections=4", "RDMAExtensions=Yes")...)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, kv := range answer {
			got[kv.Key] = kv.Value
		}
		for key, want := range map[string]string{"X-org.isantarget.test": iscsi.AnswerNotUnderstood, "RDMAExtensions": iscsi.AnswerNotUnderstood,
			"HeaderDigest": iscsi.AnswerReject, "MaxConnections": iscsi.AnswerReject, "InitiatorAlias": ""} {
			if got[key] != want {
				t.Errorf("pieces of %d: %s=%q, want %q", split, key, got[key], want)
			}
		}
	}
	p.alive()
}

// MaxRecvDataSegmentLength may be declared anew: Data-In keeps to it from then on (13.12).
func TestTextSegmentLength_RFC7143_13_12(t *testing.T) {
	d := serve(t, standard)
	p := ready(t, d, offer("MaxRecvDataSegmentLength=65536"))
	p.good(initiator.Command{CDB: read10(0, 100), Read: 100 * blockSize})
	for _, n := range []int{512, 4096, 100000} {
		if _, err := p.Text(0, iscsi.KeyValue{Key: "MaxRecvDataSegmentLength", Value: iscsi.FormatNumber(uint64(n))}); err != nil {
			t.Fatal(err)
		}
		p.MaxRecv = n
		r := p.good(initiator.Command{CDB: read10(0, 200), Read: 200 * blockSize})
		for i, in := range r.DataIns[:len(r.DataIns)-1] {
			if length := int(r.DataIns[i+1].BufferOffset - in.BufferOffset); length > n {
				t.Errorf("a Data-In of %d bytes, %d were declared", length, n)
			}
		}
	}
	if answer, err := p.Text(0, pairs("MaxRecvDataSegmentLength=5")...); err != nil || len(answer) != 1 || answer[0].Value != iscsi.AnswerReject {
		t.Errorf("a length of 5: %v, %v", answer, err)
	}
	p.alive()
}

// Text that breaks the grammar or has no end is refused; the connection goes on or
// ends, nobody else notices (6.1).
func TestTextForbidden_RFC7143_6_1(t *testing.T) {
	d := serve(t, standard)
	bystander(t, d)
	for name, text := range map[string]string{"no =": "SendTargets\x00", "no key": "=All\x00", "control": "SendTargets=A\nl\x00", "long key": strings.Repeat("K", 70) + "=1\x00"} {
		p := ready(t, d, normal(nil))
		pdu := initiator.PDU{Data: []byte(text)}
		(&iscsi.TextRequest{Final: true, InitiatorTaskTag: p.Session.NextTag(), TargetTransferTag: iscsi.ReservedTag, CmdSN: p.Session.CmdSN}).Marshal(&pdu.BHS)
		p.Session.CmdSN++
		task, err := p.Request(&pdu, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := task.Await(); err == nil {
			t.Errorf("%s: taken", name)
		}
		if len(p.Rejects) == 0 {
			t.Errorf("%s: not rejected", name)
		}
	}
	p := ready(t, d, normal(nil))
	if _, err := p.Text(8000, iscsi.KeyValue{Key: "X-a", Value: strings.Repeat("x", 1<<20)}); err == nil {
		t.Error("1 MiB of text was kept")
	}
}

// A new exchange replaces one that was not ended (11.10.4).
func TestTextAbandoned_RFC7143_11_10_4(t *testing.T) {
	d := serve(t, standard)
	p := ready(t, d, normal(nil))
	for range 100 {
		pdu := initiator.PDU{Data: []byte("SendTar")}
		(&iscsi.TextRequest{Continue: true, InitiatorTaskTag: p.Session.NextTag(), TargetTransferTag: iscsi.ReservedTag, CmdSN: p.Session.CmdSN}).Marshal(&pdu.BHS)
		p.Session.CmdSN++
		task, err := p.Request(&pdu, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := task.Await(); err != nil {
			t.Fatal(err)
		}
	}
	if names := p.sendTargets(""); len(names) != 2 {
		t.Errorf("%q", names)
	}
}
