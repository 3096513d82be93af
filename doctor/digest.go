package doctor

import (
	"errors"
	"fmt"
	"time"

	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/iscsi"
)

func digestChecks() []Check {
	return []Check{
		{
			ID: "digests", For: []Consumer{OpenISCSI}, scope: ofTarget, run: checkDigests,
			Title:  "header and data digests (CRC32C) are agreed on, and those of the target are right",
			Breaks: "`HeaderDigest = CRC32C` in iscsid.conf: the login fails, or bytes that the network corrupts reach the host unseen",
			Remedy: "switch digests on in the target; without them only TCP's checksum protects the data",
		}, {
			ID: "header-digest", For: []Consumer{OpenISCSI}, scope: ofTarget, run: checkHeaderDigest,
			Title:  "a request with a wrong header digest is not carried out",
			Breaks: "digests that were agreed on and are not looked at: corrupt commands are carried out",
			Remedy: "do not rely on digests of this target; update it",
		}, {
			ID: "data-digest", For: []Consumer{OpenISCSI}, scope: ofTarget, run: checkDataDigest,
			Title:  "data with a wrong data digest is not taken for good",
			Breaks: "digests that were agreed on and are not looked at: corrupt data is written",
			Remedy: "do not rely on digests of this target; update it",
		},
	}
}

// digested logs in with both digests.
func (x *examination) digested() (*initiator.Connection, error) {
	c, err := x.login(x.portal, initiator.RandomISID(), func(l *initiator.Login) {
		l.Keys = with(l.Keys, iscsi.KeyValue{Key: "HeaderDigest", Value: "CRC32C"}, iscsi.KeyValue{Key: "DataDigest", Value: "CRC32C"})
	})
	if err != nil {
		return nil, fmt.Errorf("with CRC32C digests: %w", err)
	}
	if !c.Digests.Header || !c.Digests.Data {
		c.Close()
		return nil, fmt.Errorf("offered CRC32C, the target answers HeaderDigest=%s, DataDigest=%s", c.Answers["HeaderDigest"], c.Answers["DataDigest"])
	}
	return c, nil
}

func checkDigests(x *examination) (string, error) {
	c, err := x.digested()
	if err != nil {
		return "", err
	}
	defer leave(c)
	data, err := c.Ping(pattern(512, 2), true)
	if err == nil && string(data) != string(pattern(512, 2)) {
		err = errors.New("NOP-In brings back other data")
	}
	if err != nil {
		return "", err
	}
	if r, err := c.Execute(initiator.Command{LUN: wireLUN(x.lun), CDB: []byte{0x12, 0, 0, 0, 96, 0}, Read: 96}); err != nil {
		return "", err
	} else if err := conditionOf("INQUIRY", r); err != nil {
		return "", err
	}
	return "CRC32C for both", nil
}

// corrupted sends a NOP-Out that is damaged on its way, and fails if it is answered as if
// it were not.
func (x *examination) corrupted(faults initiator.Faults) (string, error) {
	c, err := x.digested()
	if err != nil {
		return "", notChecked("no digests are agreed on: %v", err)
	}
	defer c.Close()
	data := pattern(512, 3)
	p := initiator.PDU{Data: data}
	(&iscsi.NopOut{Immediate: true, InitiatorTaskTag: c.Session.NextTag(), TargetTransferTag: iscsi.ReservedTag, CmdSN: c.Session.CmdSN, ExpStatSN: c.ExpStatSN}).Marshal(&p.BHS)
	if faults == initiator.BadDataDigest {
		p.Data[100] ^= 1
	}
	t, err := c.Request(&p, faults)
	if err != nil {
		return "", err
	}
	c.Timeout = min(c.Timeout, 3*time.Second)
	answer, err := t.Await()
	switch {
	case errors.Is(err, initiator.ErrRejected):
		return fmt.Sprintf("rejected: %v", t.Reject.Reason), nil
	case initiator.IsClosed(err):
		return "the connection was closed", nil
	case err != nil:
		return "it was ignored", nil
	}
	return "", fmt.Errorf("a NOP-Out with a wrong digest is answered as if it were right, with %d bytes", len(answer.Data))
}

func checkHeaderDigest(x *examination) (string, error) {
	return x.corrupted(initiator.BadHeaderDigest)
}

func checkDataDigest(x *examination) (string, error) { return x.corrupted(initiator.BadDataDigest) }

// checkWriteDigest has a WRITE damaged on its way, and looks whether it lands.
func checkWriteDigest(x *examination) (string, error) {
	s, err := x.scratch()
	if err != nil {
		return "", err
	}
	before := pattern(s.size, 20)
	if err := x.a.write(s.lba, before); err != nil {
		return "", err
	}
	c, err := x.digested()
	if err != nil {
		return "", notChecked("no digests are agreed on: %v", err)
	}
	defer c.Close()
	if _, err := c.Execute(initiator.Command{LUN: wireLUN(x.lun), CDB: make([]byte, 6)}); err != nil { // takes the unit attention
		return "", err
	}
	cdb := form(0x2a, 0x8a, 0, s.lba, 1)
	damage := func(*initiator.PDU) initiator.Faults { return initiator.BadDataDigest }
	c.Timeout = min(c.Timeout, 3*time.Second)
	r, err := c.Execute(initiator.Command{LUN: wireLUN(x.lun), CDB: cdb, Write: pattern(s.size, 21), Edit: damage, EditDataOut: damage})
	if err == nil && conditionOf("WRITE", r) == nil {
		return "", errors.New("a WRITE whose data digest is wrong ends with GOOD")
	}
	if err := x.a.holds("after a WRITE whose data digest was wrong", s.lba, before); err != nil {
		return "", err
	}
	return "it was refused, and nothing was written", nil
}
