package initiator

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/isantarget/isantarget/iscsi"
)

// send is what the target's side sends in answer to a READ, a PDU a line.
type send struct {
	m    interface{ Marshal(*iscsi.BHS) }
	data string
}

func dataIn(sn, offset uint32, final, status bool) *iscsi.DataIn {
	return &iscsi.DataIn{Final: final, HasStatus: status, InitiatorTaskTag: 0, TargetTransferTag: iscsi.ReservedTag, StatSN: 100, ExpCmdSN: 2, MaxCmdSN: 33, DataSN: sn, BufferOffset: offset}
}

func response(edit func(*iscsi.SCSIResponse)) *iscsi.SCSIResponse {
	m := &iscsi.SCSIResponse{StatSN: 100, ExpCmdSN: 2, MaxCmdSN: 33, ExpDataSN: 2}
	if edit != nil {
		edit(m)
	}
	return m
}

func TestReadIsGatheredAndJudged(t *testing.T) {
	const half = "0123456789abcdef"
	good := []send{{dataIn(0, 0, false, false), half}, {dataIn(1, 16, true, false), half}, {response(nil), ""}}
	for name, c := range map[string]struct {
		sends        []send
		clause, what string
	}{
		"good":               {good, "", ""},
		"status with data":   {[]send{good[0], {dataIn(1, 16, true, true), half}}, "", ""},
		"DataSN":             {[]send{good[0], {dataIn(0, 16, true, false), half}, good[2]}, "11.7.5", "DataSN 0"},
		"offset":             {[]send{good[0], {dataIn(1, 17, true, false), half}, good[2]}, "11.7.6", "data at 17"},
		"too much":           {[]send{good[0], {dataIn(1, 16, true, false), half + "x"}, good[2]}, "11.4.5", "33 bytes"},
		"burst":              {[]send{{dataIn(0, 0, false, false), half + "0123456789abcdefx"}}, "11.4.5", "33 bytes"},
		"not final":          {[]send{good[0], {dataIn(1, 16, false, false), half}, good[2]}, "11.7.1", "not final"},
		"ExpDataSN":          {[]send{good[0], good[1], {response(func(m *iscsi.SCSIResponse) { m.ExpDataSN = 1 }), ""}}, "11.4.8", "ExpDataSN 1 after 2"},
		"StatSN":             {[]send{good[0], good[1], {response(func(m *iscsi.SCSIResponse) { m.StatSN = 101 }), ""}}, "4.2.2.2", "StatSN 101"},
		"ExpCmdSN":           {[]send{good[0], good[1], {response(func(m *iscsi.SCSIResponse) { m.ExpCmdSN = 3 }), ""}}, "4.2.2.1", "acknowledges more"},
		"short, no residual": {[]send{{dataIn(0, 0, true, false), half}, {response(func(m *iscsi.SCSIResponse) { m.ExpDataSN = 1 }), ""}}, "11.4.5", "16 of 32"},
		"wrong residual": {[]send{{dataIn(0, 0, true, false), half},
			{response(func(m *iscsi.SCSIResponse) { m.ExpDataSN, m.Underflow, m.Residual = 1, true, 15 }), ""}}, "11.4.5", "residual 15"},
		"nobody's tag":    {[]send{{&iscsi.SCSIResponse{InitiatorTaskTag: 77, StatSN: 100}, ""}}, "11.2.1.8", "0000004d"},
		"wrong answer":    {[]send{{&iscsi.TextResponse{Final: true, TargetTransferTag: iscsi.ReservedTag, StatSN: 100}, ""}}, "11.2.1.2", "Text Response"},
		"R2T too long":    {[]send{{&iscsi.R2T{TargetTransferTag: 1, StatSN: 100, Length: 33}, ""}}, "11.8.4", "33 bytes"},
		"R2T with StatSN": {[]send{{&iscsi.R2T{TargetTransferTag: 1, StatSN: 99, Length: 8}, ""}}, "4.2.2.2", "StatSN 99"},
	} {
		t.Run(name, func(t *testing.T) {
			con := converse(t, func(target *Connection) error {
				if _, err := target.Receive(); err != nil {
					return err
				}
				for _, s := range c.sends {
					if err := reply(target, s.m, []byte(s.data)); err != nil {
						return err
					}
				}
				return nil
			})
			inFullFeature(con, DefaultParameters())
			r, err := con.Execute(Command{CDB: []byte{0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0}, Read: 32})
			if c.clause != "" {
				wantViolation(t, err, c.clause, c.what)
				return
			}
			if err != nil || string(r.Data) != half+half || r.Status != 0 || con.ExpStatSN != 101 || con.Session.MaxCmdSN != 33 {
				t.Errorf("%+v, %v, ExpStatSN %d", r, err, con.ExpStatSN)
			}
		})
	}
}

// What goes immediate, what unsolicited, and what waits for R2T: RFC 7143 13.10, 13.11, 13.14.
func TestWriteSplitsItsData_RFC7143_13_10(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789"), 10)
	for _, c := range []struct {
		initialR2T, immediate bool
		want                  []string
	}{
		{true, false, []string{"command F 0", "solicited 0+48", "solicited 48+16F", "solicited 64+36F"}},
		{true, true, []string{"command F 40", "solicited 40+48", "solicited 88+12F"}},
		{false, false, []string{"command - 0", "unsolicited 0+40F", "solicited 40+48", "solicited 88+12F"}},
		{false, true, []string{"command F 40", "solicited 40+48", "solicited 88+12F"}},
	} {
		t.Run(fmt.Sprint(c.initialR2T, c.immediate), func(t *testing.T) {
			var medium [100]byte
			logs := make(chan []string, 1)
			con := converse(t, func(target *Connection) error {
				log, err := collectWrite(target, medium[:])
				logs <- log
				return err
			})
			p := DefaultParameters()
			p.InitialR2T, p.ImmediateData, p.FirstBurstLength, p.MaxBurstLength = c.initialR2T, c.immediate, 40, 64
			inFullFeature(con, p)
			con.MaxSend = 48
			if _, err := con.Execute(Command{CDB: []byte{0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0}, Write: data}); err != nil {
				t.Fatal(err)
			}
			if got := <-logs; !slices.Equal(got, c.want) || !bytes.Equal(medium[:], data) {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

// collectWrite is a target that takes one write, at most 64 bytes an R2T.
func collectWrite(target *Connection, medium []byte) (log []string, err error) {
	p, err := target.Receive()
	if err != nil {
		return nil, err
	}
	final := map[bool]string{true: "F", false: "-"}
	log = append(log, fmt.Sprintf("command %s %d", final[p.BHS.Final()], len(p.Data)))
	next := copy(medium, p.Data)
	waiting := !p.BHS.Final()
	for r2ts := uint32(0); ; {
		if !waiting && next == len(medium) {
			return log, reply(target, response(func(m *iscsi.SCSIResponse) { m.ExpDataSN = r2ts }), nil)
		}
		if !waiting {
			r := iscsi.R2T{TargetTransferTag: r2ts, StatSN: 100, R2TSN: r2ts, BufferOffset: uint32(next), Length: uint32(min(64, len(medium)-next))}
			if err := reply(target, &r, nil); err != nil {
				return log, err
			}
			r2ts++
		}
		p, err := target.Receive()
		if err != nil {
			return log, err
		}
		var d iscsi.DataOut
		if err := d.Unmarshal(&p.BHS); err != nil {
			return log, err
		}
		kind := map[bool]string{true: "unsolicited", false: "solicited"}[d.TargetTransferTag == iscsi.ReservedTag]
		log = append(log, fmt.Sprintf("%s %d+%d%s", kind, d.BufferOffset, len(p.Data), map[bool]string{true: "F"}[d.Final]))
		next += copy(medium[d.BufferOffset:], p.Data)
		waiting = !d.Final
	}
}

func TestSilenceEndsAtTheDeadline(t *testing.T) {
	release := make(chan struct{})
	c := converse(t, func(*Connection) error { <-release; return nil })
	defer close(release)
	inFullFeature(c, DefaultParameters())
	c.Timeout = 50 * time.Millisecond
	if _, err := c.Ping(nil, true); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%v", err)
	}
	if err := c.Drain(20 * time.Millisecond); err != nil {
		t.Errorf("silence is what Drain wants: %v", err)
	}
	if err := c.WaitClosed(); err == nil {
		t.Error("an open connection counts as closed")
	}
}

func TestRejectEndsTheRequest_RFC7143_11_17(t *testing.T) {
	c := converse(t, func(target *Connection) error {
		p, err := target.Receive()
		if err != nil {
			return err
		}
		return reply(target, &iscsi.Reject{Reason: iscsi.RejectCommandNotSupported, StatSN: 100, ExpCmdSN: 1, MaxCmdSN: 32}, p.BHS[:])
	})
	inFullFeature(c, DefaultParameters())
	_, err := c.Manage(iscsi.TaskManagementRequest{Immediate: true, Function: iscsi.LogicalUnitReset})
	if !errors.Is(err, ErrRejected) || len(c.Rejects) != 1 || c.Rejects[0].Reason != iscsi.RejectCommandNotSupported || c.Rejects[0].Header.Opcode() != iscsi.OpTaskManagementRequest {
		t.Errorf("%v, %+v", err, c.Rejects)
	}
}

// A ping of the target is answered with its own data, tag and LUN (RFC 7143 11.18.2).
func TestPingsAreAnswered_RFC7143_11_18(t *testing.T) {
	c := converse(t, func(target *Connection) error {
		if err := reply(target, &iscsi.NopIn{LUN: 5 << 48, InitiatorTaskTag: iscsi.ReservedTag, TargetTransferTag: 77, StatSN: 100, ExpCmdSN: 1, MaxCmdSN: 32}, []byte("ping")); err != nil {
			return err
		}
		p, err := target.Receive()
		if err != nil {
			return err
		}
		var n iscsi.NopOut
		if err := n.Unmarshal(&p.BHS); err != nil {
			return err
		}
		if n.TargetTransferTag != 77 || n.LUN != 5<<48 || n.InitiatorTaskTag != iscsi.ReservedTag || string(p.Data) != "ping" {
			return fmt.Errorf("answered with %+v %q", n, p.Data)
		}
		return nil
	})
	inFullFeature(c, DefaultParameters())
	if err := c.Pump(); err != nil || len(c.Pings) != 1 || c.ExpStatSN != 100 {
		t.Errorf("%v, %+v, ExpStatSN %d", err, c.Pings, c.ExpStatSN)
	}
}
