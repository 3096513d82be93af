package protocol_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/iscsi"
)

// digestOffers are the four agreements there can be.
var digestOffers = map[string][]string{
	"none":   {"HeaderDigest=None", "DataDigest=None"},
	"header": {"HeaderDigest=CRC32C", "DataDigest=None"},
	"data":   {"HeaderDigest=None", "DataDigest=CRC32C"},
	"both":   {"HeaderDigest=CRC32C", "DataDigest=CRC32C"},
}

// Data of every length of padding goes both ways under every agreement; the initiator
// checks each digest of the target (11.2.3, 13.1).
func TestDigests_RFC7143_13_1(t *testing.T) {
	d := serve(t, standard)
	for name, keys := range digestOffers {
		t.Run(name, func(t *testing.T) {
			p := ready(t, d, offer(append(keys, "InitialR2T=No", "MaxBurstLength=16384", "FirstBurstLength=8192")...))
			data := noise(3, 100)
			p.good(write(7, data))
			if got := p.good(initiator.Command{CDB: read10(7, 100), Read: len(data)}); !bytes.Equal(got.Data, data) {
				t.Error("other data comes back")
			}
			for n := range 9 {
				ping := bytes.Repeat([]byte{'p'}, n)
				if got, err := p.Ping(ping, n%2 == 0); err != nil || !bytes.Equal(got, ping) {
					t.Errorf("a ping of %d bytes: %q, %v", n, got, err)
				}
			}
			// Segments of lengths that are no multiple of four.
			odd := write(7, data)
			odd.SegmentLength = 1021
			odd.ImmediateData = new(333)
			p.good(odd)
			if got := p.good(initiator.Command{CDB: []byte{0x12, 0, 0, 0, 37, 0}, Read: 37}); len(got.Data) < 36 {
				t.Errorf("INQUIRY gave %d bytes", len(got.Data))
			}
			p.good(initiator.Command{CDB: read10(7, 100), Read: len(data)})
		})
	}
}

// Without its header digest a PDU is not to be trusted, not even its length: the
// connection ends (7.8), and nobody else notices.
func TestHeaderDigestError_RFC7143_7_8(t *testing.T) {
	d := serve(t, standard)
	bystander(t, d)
	for name, c := range map[string]initiator.Command{
		"command":  {CDB: testUnitReady()},
		"write":    write(0, fill('x', 8)),
		"data-out": write(0, fill('x', 8)),
	} {
		t.Run(name, func(t *testing.T) {
			p := ready(t, d, offer(append(digestOffers["both"], "ImmediateData=No")...))
			p.good(write(0, fill('o', 8)))
			bad := func(*initiator.PDU) initiator.Faults { return initiator.BadHeaderDigest }
			if name == "data-out" {
				c.EditDataOut = bad
			} else {
				c.Edit = bad
			}
			if _, err := p.Execute(c); !initiator.IsClosed(err) {
				t.Errorf("%v, want the end of the connection", err)
			}
			ready(t, d, normal(nil)).wantBlock(0, 'o')
		})
	}
}

// A data digest error ends the task, not the connection: a Reject with the header,
// then CHECK CONDITION once the data is over; the medium stays as it was (7.8, 11.4.7.2).
func TestDataDigestError_RFC7143_7_8(t *testing.T) {
	d := serve(t, standard)
	bystander(t, d)
	for name, keys := range map[string][]string{
		"immediate":   {"ImmediateData=Yes", "InitialR2T=Yes"},
		"unsolicited": {"ImmediateData=No", "InitialR2T=No", "FirstBurstLength=4096"},
		"solicited":   {"ImmediateData=No", "InitialR2T=Yes", "MaxBurstLength=2048"},
	} {
		t.Run(name, func(t *testing.T) {
			p := ready(t, d, offer(append(digestOffers["both"], keys...)...))
			p.good(write(0, fill('o', 8)))
			c := write(0, fill('x', 8))
			c.SegmentLength = 1024
			sent := 0
			c.EditDataOut = func(*initiator.PDU) initiator.Faults {
				if sent++; sent == 1 {
					return initiator.BadDataDigest
				}
				return 0
			}
			if name == "immediate" {
				c.Edit = func(*initiator.PDU) initiator.Faults { return initiator.BadDataDigest }
			}
			r, err := p.Execute(c)
			if err != nil {
				t.Fatal(err)
			}
			if key, code := r.SenseCode(); r.Status != statusCheckCondition || key != senseAbortedCommand || code != 0x4705 {
				t.Errorf("status %02x, sense %x %04x, want ABORTED COMMAND, PROTOCOL SERVICE CRC ERROR", r.Status, key, code)
			}
			if len(p.Rejects) != 1 || p.Rejects[0].Reason != iscsi.RejectDataDigestError {
				t.Errorf("rejects: %+v", p.Rejects)
			}
			p.wantBlock(0, 'o')
			p.good(write(0, fill('n', 8)))
			p.wantBlock(0, 'n')
		})
	}
}

// A ping or text with a bad data digest is rejected, and the connection goes on (7.8).
func TestDataDigestErrorOfOthers_RFC7143_7_8(t *testing.T) {
	d := serve(t, standard)
	p := ready(t, d, offer(digestOffers["both"]...))
	for name, make := range map[string]func(h *iscsi.BHS){
		"NOP-Out": func(h *iscsi.BHS) {
			(&iscsi.NopOut{Immediate: true, InitiatorTaskTag: p.Session.NextTag(), TargetTransferTag: iscsi.ReservedTag, CmdSN: p.Session.CmdSN}).Marshal(h)
		},
		"Text": func(h *iscsi.BHS) {
			(&iscsi.TextRequest{Immediate: true, Final: true, InitiatorTaskTag: p.Session.NextTag(), TargetTransferTag: iscsi.ReservedTag, CmdSN: p.Session.CmdSN}).Marshal(h)
		},
	} {
		before := len(p.Rejects)
		pdu := initiator.PDU{Data: []byte("SendTargets=\x00")}
		make(&pdu.BHS)
		task, err := p.Request(&pdu, initiator.BadDataDigest)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := task.Await(); !errors.Is(err, initiator.ErrRejected) || p.Rejects[before].Reason != iscsi.RejectDataDigestError {
			t.Errorf("%s: %v, %+v", name, err, p.Rejects)
		}
		p.alive()
	}
}

// The digest covers the padding, whatever the padding is (11.2.3).
func TestDigestOfPadding_RFC7143_11_2_3(t *testing.T) {
	d := serve(t, standard)
	p := ready(t, d, offer(digestOffers["both"]...))
	pdu := initiator.PDU{Data: []byte("ping?")}
	(&iscsi.NopOut{Immediate: true, InitiatorTaskTag: p.Session.NextTag(), TargetTransferTag: iscsi.ReservedTag, CmdSN: p.Session.CmdSN}).Marshal(&pdu.BHS)
	task, err := p.Request(&pdu, initiator.FilledPadding)
	if err != nil {
		t.Fatal(err)
	}
	if answer, err := task.Await(); err != nil || string(answer.Data) != "ping?" {
		t.Errorf("%+v, %v", answer, err)
	}
}
