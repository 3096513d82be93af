package initiator

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"

	"github.com/isantarget/isantarget/iscsi"
)

// expect receives a PDU and demands its opcode.
func expect(c *Connection, o iscsi.Opcode) (*PDU, error) {
	p, err := c.Receive()
	if err == nil && p.BHS.Opcode() != o {
		err = fmt.Errorf("%v came, %v was expected", p.BHS.Opcode(), o)
	}
	return p, err
}

// Text goes out in pieces and comes back in pieces (RFC 7143 11.10, 11.11).
func TestTextInPieces_RFC7143_11_10(t *testing.T) {
	var heard []byte
	done := make(chan struct{})
	c := converse(t, func(target *Connection) error {
		defer close(done)
		answer := []string{"", "", "TargetName=iqn.2001-04.com.exam", "ple:a\x00TargetAddress=127.0.0.1:1,1\x00TargetAddress=[::1]:1,2\x00", "TargetName=iqn.2001-04.com.example:b\x00"}
		for i, text := range answer {
			p, err := expect(target, iscsi.OpTextRequest)
			if err != nil {
				return err
			}
			var r iscsi.TextRequest
			if err := r.Unmarshal(&p.BHS); err != nil {
				return err
			}
			heard = append(heard, p.Data...)
			m := iscsi.TextResponse{InitiatorTaskTag: r.InitiatorTaskTag, TargetTransferTag: uint32(i), StatSN: 100 + uint32(i), ExpCmdSN: r.CmdSN + 1, MaxCmdSN: r.CmdSN + 9}
			if m.Final = i == len(answer)-1; m.Final {
				m.TargetTransferTag = iscsi.ReservedTag
			}
			m.Continue = i > 1 && !m.Final
			if want := uint32(i - 1); i > 0 && r.TargetTransferTag != want || i == 0 && r.TargetTransferTag != iscsi.ReservedTag {
				return fmt.Errorf("request %d bears the tag %08x", i, r.TargetTransferTag)
			}
			if err := reply(target, &m, []byte(text)); err != nil {
				return err
			}
		}
		return nil
	})
	inFullFeature(c, DefaultParameters())
	pairs, err := c.Text(8, iscsi.KeyValue{Key: "SendTargets", Value: "All"})
	<-done
	want := []iscsi.KeyValue{{Key: "TargetName", Value: "iqn.2001-04.com.example:a"}, {Key: "TargetAddress", Value: "127.0.0.1:1,1"},
		{Key: "TargetAddress", Value: "[::1]:1,2"}, {Key: "TargetName", Value: "iqn.2001-04.com.example:b"}}
	if err != nil || !slices.Equal(pairs, want) || string(heard) != "SendTargets=All\x00" {
		t.Errorf("%v, %v; the target heard %q", pairs, err, heard)
	}
	if c.ExpStatSN != 105 {
		t.Errorf("ExpStatSN %d", c.ExpStatSN)
	}
}

func TestSendTargetsGroupsAddresses_RFC7143_C(t *testing.T) {
	for text, want := range map[string]string{
		"": "[]",
		"TargetName=iqn.2001-04.com.example:a\x00TargetAddress=h:1,1\x00TargetAddress=h:2,1\x00TargetName=iqn.2001-04.com.example:b\x00": "[{iqn.2001-04.com.example:a [h:1,1 h:2,1]} {iqn.2001-04.com.example:b []}]",
		"TargetAddress=h:1,1\x00": "violation",
		"MaxConnections=1\x00":    "violation",
	} {
		c := converse(t, func(target *Connection) error {
			p, err := expect(target, iscsi.OpTextRequest)
			if err != nil {
				return err
			}
			return reply(target, &iscsi.TextResponse{Final: true, InitiatorTaskTag: p.BHS.InitiatorTaskTag(), TargetTransferTag: iscsi.ReservedTag, StatSN: 100, ExpCmdSN: 2, MaxCmdSN: 9}, []byte(text))
		})
		inFullFeature(c, DefaultParameters())
		got, err := c.SendTargets("All")
		if want == "violation" {
			wantViolation(t, err, "appendix C", "SendTargets")
		} else if s := fmt.Sprint(got); err != nil || s != want {
			t.Errorf("%q: %s, %v", text, s, err)
		}
	}
}

// The requests bear what RFC 7143 demands of each, and their answers reach the caller.
func TestRequests(t *testing.T) {
	type header struct {
		opcode    iscsi.Opcode
		immediate bool
		cmdSN     uint32
	}
	var seen []header
	done := make(chan struct{})
	c := converse(t, func(target *Connection) error {
		defer close(done)
		for sn := uint32(100); sn < 104; sn++ {
			p, err := target.Receive()
			if err != nil {
				return err
			}
			var h iscsi.NopOut
			tag := p.BHS.InitiatorTaskTag()
			same := p.BHS
			same.SetOpcode(iscsi.OpNopOut)
			if err := h.Unmarshal(&same); err != nil {
				return err
			}
			seen = append(seen, header{p.BHS.Opcode(), h.Immediate, h.CmdSN})
			exp := h.CmdSN
			if !h.Immediate {
				exp++
			}
			switch p.BHS.Opcode() {
			case iscsi.OpNopOut:
				err = reply(target, &iscsi.NopIn{InitiatorTaskTag: tag, TargetTransferTag: iscsi.ReservedTag, StatSN: sn, ExpCmdSN: exp, MaxCmdSN: 9}, p.Data)
			case iscsi.OpTaskManagementRequest:
				if h.TargetTransferTag != 77 { // the place of the Referenced Task Tag
					return fmt.Errorf("referenced task tag %08x", h.TargetTransferTag)
				}
				err = reply(target, &iscsi.TaskManagementResponse{Response: iscsi.TaskDoesNotExist, InitiatorTaskTag: tag, StatSN: sn, ExpCmdSN: exp, MaxCmdSN: 9}, nil)
			case iscsi.OpLogoutRequest:
				err = reply(target, &iscsi.LogoutResponse{Response: iscsi.LogoutCIDNotFound, InitiatorTaskTag: tag, StatSN: sn, ExpCmdSN: exp, MaxCmdSN: 9, Time2Wait: 3}, nil)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	inFullFeature(c, DefaultParameters())
	if got, err := c.Ping([]byte("abc"), false); err != nil || string(got) != "abc" {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := c.Ping([]byte("de"), true); err != nil || string(got) != "de" {
		t.Errorf("%q, %v", got, err)
	}
	if status, err := c.Abort(&Task{Tag: 77}); err != nil || status != iscsi.TaskDoesNotExist {
		t.Errorf("%v, %v", status, err)
	}
	if m, err := c.Logout(iscsi.CloseConnection, 4); err != nil || m.Response != iscsi.LogoutCIDNotFound || m.Time2Wait != 3 {
		t.Errorf("%+v, %v", m, err)
	}
	<-done
	want := []header{{iscsi.OpNopOut, false, 1}, {iscsi.OpNopOut, true, 2}, {iscsi.OpTaskManagementRequest, true, 2}, {iscsi.OpLogoutRequest, true, 2}}
	if !slices.Equal(seen, want) {
		t.Errorf("got  %v\nwant %v", seen, want)
	}
}

// A command waits for the window, and goes when the target opens it (RFC 7143 4.2.2.1).
func TestStartWaitsForTheWindow_RFC7143_4_2_2_1(t *testing.T) {
	opened := make(chan struct{})
	c := converse(t, func(target *Connection) error {
		close(opened)
		if err := reply(target, &iscsi.NopIn{InitiatorTaskTag: iscsi.ReservedTag, TargetTransferTag: iscsi.ReservedTag, StatSN: 100, ExpCmdSN: 1, MaxCmdSN: 1}, nil); err != nil {
			return err
		}
		p, err := expect(target, iscsi.OpSCSICommand)
		if err != nil {
			return err
		}
		return reply(target, response(func(m *iscsi.SCSIResponse) {
			m.InitiatorTaskTag, m.ExpDataSN, m.Status = p.BHS.InitiatorTaskTag(), 0, 2
		}), []byte{0, 18, 0x70, 0, 6, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x29, 0x07, 0, 0, 0, 0})
	})
	inFullFeature(c, DefaultParameters())
	c.Session.MaxCmdSN = 0
	<-opened
	r, err := c.Execute(Command{CDB: make([]byte, 6)})
	if err != nil || r.Status != 2 {
		t.Fatalf("%+v, %v", r, err)
	}
	if key, code := r.SenseCode(); key != 6 || code != 0x2907 {
		t.Errorf("sense %x %04x of %x", key, code, r.Sense)
	}
	if r := (&Result{Sense: []byte{0x72, 5, 0x24, 1}}); func() bool { k, c := r.SenseCode(); return k != 5 || c != 0x2401 }() {
		t.Error("descriptor sense data is read wrongly")
	}
}

// A CDB of 32 bytes has its tail in an AHS (RFC 7143 11.2.2.3); edits and faults reach
// the wire.
func TestCommandHeader_RFC7143_11_3(t *testing.T) {
	got := make(chan *PDU, 1)
	c := converse(t, func(target *Connection) error {
		p, err := expect(target, iscsi.OpSCSICommand)
		got <- p
		return err
	})
	inFullFeature(c, DefaultParameters())
	cdb := make([]byte, 32)
	for i := range cdb {
		cdb[i] = byte(i)
	}
	task, err := c.Start(Command{LUN: LUN(3), CDB: cdb, Read: 512, Attribute: iscsi.AttributeOrdered, Immediate: true, Tag: new(uint32(9)), CmdSN: new(uint32(5)),
		Expected: new(uint32(700)), Edit: func(p *PDU) Faults { p.BHS[3] = 0xee; return 0 }})
	if err != nil || task.Tag != 9 {
		t.Fatal(err)
	}
	p := <-got
	var h iscsi.SCSICommand
	if err := h.Unmarshal(&p.BHS); err != nil {
		t.Fatal(err)
	}
	tail, err := iscsi.ExtendedCDB(p.AHS)
	want := iscsi.SCSICommand{Immediate: true, Final: true, Read: true, Attribute: iscsi.AttributeOrdered, LUN: 3 << 48, InitiatorTaskTag: 9, Length: 700, CmdSN: 5, ExpStatSN: 100, CDB: [16]byte(cdb)}
	if h != want || err != nil || !slices.Equal(tail, cdb[16:]) || p.BHS[3] != 0xee {
		t.Errorf("got  %+v, tail %x, byte 3 %02x\nwant %+v", h, tail, p.BHS[3], want)
	}
	if c.Session.CmdSN != 1 {
		t.Errorf("CmdSN %d was used up", c.Session.CmdSN)
	}
}

// What comes unasked is kept for the test to look at (RFC 7143 11.9).
func TestAsyncMessageIsKept_RFC7143_11_9(t *testing.T) {
	c := converse(t, func(target *Connection) error {
		return reply(target, &iscsi.AsyncMessage{Event: iscsi.AsyncLogoutRequest, Parameter3: 9, StatSN: 100, ExpCmdSN: 1, MaxCmdSN: 32}, []byte{1, 2})
	})
	inFullFeature(c, DefaultParameters())
	if err := c.Pump(); err != nil || len(c.Async) != 1 || c.Async[0].Parameter3 != 9 || len(c.Sense[0]) != 2 || c.ExpStatSN != 101 {
		t.Errorf("%v, %+v", err, c.Async)
	}
	if err := c.WaitClosed(); err != nil {
		t.Error(err)
	}
	if _, err := c.Receive(); !IsClosed(err) {
		t.Errorf("%v", err)
	}
}

// A reset shows on the other side as one.
func TestReset(t *testing.T) {
	c := converse(t, func(target *Connection) error {
		_, err := target.Receive()
		if !IsClosed(err) || errors.Is(err, io.EOF) {
			return fmt.Errorf("%v, want a reset", err)
		}
		return nil
	})
	if err := c.Reset(); err != nil {
		t.Fatal(err)
	}
}
