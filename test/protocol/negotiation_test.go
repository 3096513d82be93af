package protocol_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/iscsi"
)

// Every key that is negotiated, with offers inside, at the edge of and outside its
// range, and what the target answers (6.2, 13).
func TestNegotiation_RFC7143_13(t *testing.T) {
	d := serve(t, standard)
	for clause, rows := range map[string][]string{ // offer -> answer
		"13.1": {
			"HeaderDigest=None -> None", "HeaderDigest=CRC32C -> CRC32C", "HeaderDigest=CRC32C,None -> CRC32C", "HeaderDigest=None,CRC32C -> None",
			"HeaderDigest=MD5,CRC32C -> CRC32C", "HeaderDigest=MD5 -> Reject", "HeaderDigest= -> Reject", "HeaderDigest=CRC32C, -> Reject",
			"HeaderDigest=crc32c -> Reject",
			"DataDigest=None -> None", "DataDigest=CRC32C -> CRC32C", "DataDigest=CRC32C,None -> CRC32C", "DataDigest=None,CRC32C -> None", "DataDigest=MD5 -> Reject",
		},
		"13.2": {"MaxConnections=1 -> 1", "MaxConnections=4 -> 4", "MaxConnections=5 -> 4", "MaxConnections=65535 -> 4", "MaxConnections=0x2 -> 2",
			"MaxConnections=0 -> Reject", "MaxConnections=65536 -> Reject", "MaxConnections=many -> Reject", "MaxConnections=-1 -> Reject", "MaxConnections= -> Reject"},
		"13.10": {"InitialR2T=Yes -> Yes", "InitialR2T=No -> No", "InitialR2T=yes -> Reject", "InitialR2T=1 -> Reject"},
		"13.11": {"ImmediateData=Yes -> Yes", "ImmediateData=No -> No", "ImmediateData=NO -> Reject"},
		"13.13": {"MaxBurstLength=512 -> 512", "MaxBurstLength=65536 -> 65536", "MaxBurstLength=511 -> Reject", "MaxBurstLength=16777216 -> Reject"},
		"13.14": {"FirstBurstLength=512 -> 512", "FirstBurstLength=65536 -> 65536", "FirstBurstLength=511 -> Reject", "FirstBurstLength=16777216 -> Reject"},
		"13.15": {"DefaultTime2Wait=0 -> 0", "DefaultTime2Wait=2 -> 2", "DefaultTime2Wait=3600 -> 3600", "DefaultTime2Wait=3601 -> Reject"},
		"13.16": {"DefaultTime2Retain=0 -> 0", "DefaultTime2Retain=3601 -> Reject"},
		"13.17": {"MaxOutstandingR2T=1 -> 1", "MaxOutstandingR2T=0 -> Reject", "MaxOutstandingR2T=65536 -> Reject"},
		"13.18": {"DataPDUInOrder=Yes -> Yes", "DataPDUInOrder=No -> Yes"},
		"13.19": {"DataSequenceInOrder=Yes -> Yes", "DataSequenceInOrder=No -> Yes"},
		"13.20": {"ErrorRecoveryLevel=0 -> 0", "ErrorRecoveryLevel=1 -> 0", "ErrorRecoveryLevel=2 -> 0", "ErrorRecoveryLevel=3 -> Reject"},
		"13.22": {"X-org.isantarget.test=1 -> NotUnderstood", "RDMAExtensions=Yes -> NotUnderstood", "initialr2t=Yes -> NotUnderstood"},
		"13.23": {"TaskReporting=RFC3720 -> RFC3720", "TaskReporting=X-unknown,RFC3720 -> RFC3720", "TaskReporting=X-unknown -> Reject"},
		"13.24": {"iSCSIProtocolLevel=1 -> 1", "iSCSIProtocolLevel=0 -> 0", "iSCSIProtocolLevel=32 -> Reject"},
		"13.25": {"OFMarker=Yes -> No", "IFMarker=No -> No", "OFMarkInt=2048~8192 -> Reject", "IFMarkInt=1 -> Reject"},
	} {
		for _, row := range rows {
			t.Run(clause+" "+row, func(t *testing.T) {
				key, want, _ := strings.Cut(row, " -> ")
				p := login(t, d, offer(key))
				name, _, _ := strings.Cut(key, "=")
				if got := p.Answers[name]; got != want {
					t.Errorf("%s is answered with %q, want %q", key, got, want)
				}
				p.alive()
			})
		}
	}
}

// Offers whose answer is the target's choice, within the rule of the key.
func TestNegotiationMinimum_RFC7143_6_2_2(t *testing.T) {
	d := serve(t, standard)
	for _, c := range []struct {
		key   string
		offer uint64
	}{
		{"MaxBurstLength", 16777215}, {"FirstBurstLength", 16777215}, {"MaxOutstandingR2T", 65535}, {"MaxOutstandingR2T", 3},
		{"DefaultTime2Retain", 3600}, {"iSCSIProtocolLevel", 31}, {"iSCSIProtocolLevel", 2},
	} {
		p := login(t, d, offer(c.key+"="+iscsi.FormatNumber(c.offer)))
		got, err := iscsi.ParseNumber(p.Answers[c.key])
		if rule, _ := iscsi.LookupKey(c.key); err != nil || got > c.offer || !rule.InRange(got) {
			t.Errorf("%s=%d is answered with %q", c.key, c.offer, p.Answers[c.key])
		}
	}
}

// FirstBurstLength never ends above MaxBurstLength, in whatever order they come (13.14).
func TestNegotiationBursts_RFC7143_13_14(t *testing.T) {
	d := serve(t, standard)
	for _, keys := range [][]string{
		{"MaxBurstLength=4096", "FirstBurstLength=65536", "InitialR2T=No"},
		{"FirstBurstLength=65536", "InitialR2T=No", "MaxBurstLength=4096"},
	} {
		p := ready(t, d, offer(keys...))
		if first, burst := p.Session.Parameters.FirstBurstLength, p.Session.Parameters.MaxBurstLength; first > burst || burst != 4096 {
			t.Errorf("%q: FirstBurstLength %d, MaxBurstLength %d", keys, first, burst)
		}
		data := noise(1, 64)
		p.good(write(0, data))
		if got := p.good(initiator.Command{CDB: read10(0, 64), Read: len(data)}); string(got.Data) != string(data) {
			t.Errorf("%q: other data comes back", keys)
		}
	}
}

// FirstBurstLength has no meaning where nothing goes unasked; in a discovery session
// nothing of a disk has (13).
func TestNegotiationIrrelevant_RFC7143_6_2(t *testing.T) {
	d := serve(t, standard)
	for _, keys := range [][]string{
		{"InitialR2T=Yes", "ImmediateData=No", "FirstBurstLength=4096"},
		{"FirstBurstLength=4096", "ImmediateData=No", "InitialR2T=Yes"},
	} {
		p := login(t, d, offer(keys...))
		if got := p.Answers["FirstBurstLength"]; got != iscsi.AnswerIrrelevant {
			t.Errorf("%q: FirstBurstLength=%s", keys, got)
		}
		p.alive()
	}
	p := login(t, d, offer("InitialR2T=No", "ImmediateData=No", "FirstBurstLength=4096"))
	if got := p.Answers["FirstBurstLength"]; got != "4096" {
		t.Errorf("with InitialR2T=No: FirstBurstLength=%s", got)
	}
	l := initiator.Login{InitiatorName: alice, SessionType: "Discovery"}
	for _, rule := range iscsi.KeyRules() {
		if rule.Irrelevant != iscsi.AlwaysRelevant {
			l.Keys = append(l.Keys, iscsi.KeyValue{Key: rule.Name, Value: rule.Default})
		}
	}
	p = login(t, d, l)
	for _, kv := range l.Keys {
		if got := p.Answers[kv.Key]; got != iscsi.AnswerIrrelevant {
			t.Errorf("discovery: %s=%s", kv.Key, got)
		}
	}
}

// A declaration has no answer (6.2); the target makes its own, within the rule.
func TestNegotiationDeclared_RFC7143_13_12(t *testing.T) {
	d := serve(t, standard)
	for _, n := range []string{"512", "513", "1023", "4095", "0x10000", "16777215"} {
		p := ready(t, d, offer("MaxRecvDataSegmentLength="+n, "InitiatorAlias=a test", "DataDigest=CRC32C", "MaxBurstLength=65536"))
		if got := p.Answers["InitiatorAlias"]; got != "" {
			t.Errorf("InitiatorAlias is answered with %q", got)
		}
		if p.MaxSend < 512 {
			t.Errorf("the target takes segments of %d bytes", p.MaxSend)
		}
		// Each Data-In keeps to it: the initiator fails on a longer one.
		p.good(initiator.Command{CDB: read10(0, 2048), Read: 2048 * blockSize})
	}
}

// Keys that settle the session are for its leading connection (13, "LO").
func TestNegotiationLeadingOnly_RFC7143_13(t *testing.T) {
	d := serve(t, standard)
	p := ready(t, d, offer("MaxConnections=4", "InitialR2T=Yes", "MaxBurstLength=8192"))
	c := dial(t, d)
	err := c.JoinSession(p.Connection, 1, initiator.Login{Keys: pairs("InitialR2T=No", "MaxBurstLength=65536", "MaxConnections=1")})
	var refusal *initiator.Refusal
	if errors.As(err, &refusal) {
		return // one way to say no
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"InitialR2T", "MaxBurstLength", "MaxConnections"} {
		if got := c.Answers[key]; got != iscsi.AnswerReject && got != iscsi.AnswerIrrelevant {
			t.Errorf("%s on the second connection is answered with %q", key, got)
		}
	}
	// What was agreed still holds: an R2T of more than 8192 bytes fails the initiator.
	data := noise(2, 128)
	c.good(write(0, data))
	p.good(initiator.Command{CDB: read10(0, 128), Read: len(data)})
}
