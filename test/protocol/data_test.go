package protocol_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/iscsi"
)

// Every way that data may travel: solicited, unsolicited, immediate, in bursts and
// segments of all sizes; what is read is what was written. The initiator holds each
// R2T and Data-In to what was agreed (13.10 to 13.14, 13.17, 11.7, 11.8).
func TestDataTransfer_RFC7143_4_2_5_2(t *testing.T) {
	d := serve(t, standard)
	seed := uint64(100)
	for _, initialR2T := range []string{"Yes", "No"} {
		for _, immediate := range []string{"Yes", "No"} {
			for _, burst := range []struct{ first, max int }{{512, 512}, {512, 8192}, {4096, 8192}, {65536, 262144}, {262144, 1048576}} {
				for _, outstanding := range []int{1, 3, 16} {
					keys := []string{"InitialR2T=" + initialR2T, "ImmediateData=" + immediate, fmt.Sprint("MaxOutstandingR2T=", outstanding),
						fmt.Sprint("MaxBurstLength=", burst.max), fmt.Sprint("FirstBurstLength=", burst.first), "MaxRecvDataSegmentLength=16384"}
					t.Run(fmt.Sprint(keys), func(t *testing.T) {
						p := ready(t, d, offer(keys...))
						for _, blocks := range []int{1, 3, 16, 200, 1025} {
							seed++
							data := noise(seed, blocks)
							p.good(write(uint32(seed), data))
							got := p.good(initiator.Command{CDB: read10(uint32(seed), uint16(blocks)), Read: len(data)})
							if !bytes.Equal(got.Data, data) {
								t.Fatalf("%d blocks: other data comes back", blocks)
							}
						}
					})
				}
			}
		}
	}
}

// Fewer unsolicited bytes than FirstBurstLength allows are fine as long as F ends them,
// and so is any cut of the data into PDUs (4.2.5.2, 11.3.4).
func TestDataCuts_RFC7143_11_7(t *testing.T) {
	d := serve(t, standard)
	p := ready(t, d, offer("InitialR2T=No", "ImmediateData=Yes", "FirstBurstLength=65536", "MaxBurstLength=65536", "MaxOutstandingR2T=4"))
	for i, c := range []struct{ immediate, unsolicited, segment int }{
		{0, 0, 512}, {0, 65536, 512}, {512, 512, 8192}, {1, 65536, 999}, {65535, 65536, 1}, {65536, 65536, 4096}, {4096, 65536, 3},
	} {
		if c.segment == 1 || c.segment == 3 {
			c.segment = 1500
		}
		data := noise(uint64(i), 300)
		w := write(0, data)
		w.ImmediateData, w.UnsolicitedData, w.SegmentLength = &c.immediate, &c.unsolicited, c.segment
		p.good(w)
		if got := p.good(initiator.Command{CDB: read10(0, 300), Read: len(data)}); !bytes.Equal(got.Data, data) {
			t.Errorf("%+v: other data comes back", c)
		}
	}
}

// No more R2Ts are open than agreed; the next comes when one is answered (13.17, 11.8).
func TestOutstandingR2T_RFC7143_13_17(t *testing.T) {
	d := serve(t, standard)
	for _, agreed := range []int{1, 2, 5} {
		p := ready(t, d, offer(fmt.Sprint("MaxOutstandingR2T=", agreed), "ImmediateData=No", "MaxBurstLength=4096"))
		data := noise(9, 64) // eight bursts
		w := write(0, data)
		w.HoldData = true
		task := p.start(w)
		if err := task.WaitR2T(agreed); err != nil {
			t.Fatal(err)
		}
		if err := p.Drain(50 * time.Millisecond); err != nil {
			t.Fatal(err)
		}
		if len(task.R2Ts) != agreed {
			t.Errorf("%d R2Ts are open, %d were agreed", len(task.R2Ts), agreed)
		}
		for answered := range 8 {
			if err := task.WaitR2T(answered + 1); err != nil {
				t.Fatal(err)
			}
			if len(task.R2Ts)-answered > agreed {
				t.Errorf("%d R2Ts are open, %d were agreed", len(task.R2Ts)-answered, agreed)
			}
			if err := task.Answer(task.R2Ts[answered]); err != nil {
				t.Fatal(err)
			}
		}
		p.wait(task)
		if got := p.good(initiator.Command{CDB: read10(0, 64), Read: len(data)}); !bytes.Equal(got.Data, data) {
			t.Error("other data comes back")
		}
	}
}

// Commands overlap: reads come back while writes wait for their data (4.2.5).
func TestCommandsOverlap_RFC7143_4_2_5(t *testing.T) {
	d := serve(t, standard)
	p := ready(t, d, offer("ImmediateData=No", "MaxBurstLength=4096", "MaxOutstandingR2T=2"))
	p.good(write(5000, fill('r', 4)))
	var writes []*initiator.Task
	answered := map[*initiator.Task]int{}
	for i := range uint32(12) {
		w := write(i*64, noise(uint64(i), 64))
		w.HoldData = true
		writes = append(writes, p.start(w))
	}
	for range 20 {
		p.wantBlock(5001, 'r')
	}
	// The answers go out from the last to the first, a burst each in turn.
	for done := 0; done < len(writes); {
		for i := len(writes) - 1; i >= 0; i-- {
			w := writes[i]
			if w.Done() {
				continue
			}
			if err := w.WaitR2T(answered[w] + 1); err != nil {
				t.Fatal(err)
			}
			if err := w.Answer(w.R2Ts[answered[w]]); err != nil {
				t.Fatal(err)
			}
			if answered[w]++; answered[w] == 8 {
				p.wait(w)
				done++
			}
		}
	}
	for i := range uint32(12) {
		if got := p.good(initiator.Command{CDB: read10(i*64, 64), Read: 64 * blockSize}); !bytes.Equal(got.Data, noise(uint64(i), 64)) {
			t.Errorf("write %d: other data comes back", i)
		}
	}
}

// A forbidden Data-Out writes nothing and harms no other session, however the target
// defends itself: with a Reject, CHECK CONDITION, or the end of the connection
// (11.7, 13.10, 13.11, 13.14, 13.18, 13.19).
func TestDataOutForbidden_RFC7143_11_7(t *testing.T) {
	d := serve(t, standard)
	bystander(t, d)
	edit := func(n int, f func(p *initiator.PDU, m *iscsi.DataOut)) initiator.Edit {
		count := 0
		return func(p *initiator.PDU) initiator.Faults {
			if count++; count-1 == n {
				var m iscsi.DataOut
				if err := m.Unmarshal(&p.BHS); err != nil {
					t.Error(err)
				}
				f(p, &m)
				m.Marshal(&p.BHS)
			}
			return 0
		}
	}
	solicited := []string{"InitialR2T=Yes", "ImmediateData=No", "FirstBurstLength=2048", "MaxBurstLength=2048", "MaxOutstandingR2T=2"}
	unsolicited := []string{"InitialR2T=No", "ImmediateData=Yes", "FirstBurstLength=2048", "MaxBurstLength=2048"}
	for name, c := range map[string]struct {
		keys []string
		make func(c *initiator.Command)
	}{
		"DataSN skipped": {solicited, func(c *initiator.Command) {
			c.EditDataOut = edit(1, func(_ *initiator.PDU, m *iscsi.DataOut) { m.DataSN++ })
		}},
		"DataSN from 1": {solicited, func(c *initiator.Command) {
			c.EditDataOut = edit(0, func(_ *initiator.PDU, m *iscsi.DataOut) { m.DataSN = 1 })
		}},
		"offset ahead": {solicited, func(c *initiator.Command) {
			c.EditDataOut = edit(1, func(_ *initiator.PDU, m *iscsi.DataOut) { m.BufferOffset += 512 })
		}},
		"offset back": {solicited, func(c *initiator.Command) {
			c.EditDataOut = edit(1, func(_ *initiator.PDU, m *iscsi.DataOut) { m.BufferOffset = 0 })
		}},
		"offset beyond the end": {solicited, func(c *initiator.Command) {
			c.EditDataOut = edit(0, func(_ *initiator.PDU, m *iscsi.DataOut) { m.BufferOffset = 1 << 31 })
		}},
		"offset -1": {solicited, func(c *initiator.Command) {
			c.EditDataOut = edit(0, func(_ *initiator.PDU, m *iscsi.DataOut) { m.BufferOffset = 0xffffffff })
		}},
		"tag of no R2T": {solicited, func(c *initiator.Command) {
			c.EditDataOut = edit(0, func(_ *initiator.PDU, m *iscsi.DataOut) { m.TargetTransferTag += 77 })
		}},
		"tag of the later R2T": {solicited, func(c *initiator.Command) { c.HoldData = true }},
		"unsolicited for an R2T": {solicited, func(c *initiator.Command) {
			c.EditDataOut = edit(0, func(_ *initiator.PDU, m *iscsi.DataOut) { m.TargetTransferTag = iscsi.ReservedTag })
		}},
		"final too early": {solicited, func(c *initiator.Command) {
			c.EditDataOut = edit(0, func(_ *initiator.PDU, m *iscsi.DataOut) { m.Final = true })
		}},
		"more than asked for": {solicited, func(c *initiator.Command) {
			c.EditDataOut = edit(1, func(p *initiator.PDU, _ *iscsi.DataOut) { p.Data = fill('x', 9) })
		}},
		"a segment of nothing": {solicited, func(c *initiator.Command) {
			c.EditDataOut = edit(0, func(p *initiator.PDU, _ *iscsi.DataOut) { p.Data = nil })
		}},
		"unsolicited, not agreed": {solicited, func(c *initiator.Command) { c.UnsolicitedData = new(2048) }},
		"immediate, not agreed":   {solicited, func(c *initiator.Command) { c.ImmediateData = new(512) }},
		"beyond FirstBurstLength": {unsolicited, func(c *initiator.Command) { c.ImmediateData, c.UnsolicitedData = new(512), new(4096) }},
		"immediate beyond it":     {unsolicited, func(c *initiator.Command) { c.ImmediateData = new(4096) }},
		"immediate beyond the command": {unsolicited, func(c *initiator.Command) {
			c.Edit = func(p *initiator.PDU) initiator.Faults { p.Data = fill('x', 12); return 0 }
		}},
		"data with a read": {unsolicited, func(c *initiator.Command) {
			*c = initiator.Command{CDB: read10(0, 1), Read: 512, Edit: func(p *initiator.PDU) initiator.Faults { p.Data = fill('x', 1); return 0 }}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			p := ready(t, d, offer(c.keys...))
			p.good(write(0, fill('o', 8)))
			w := write(0, fill('x', 8))
			w.SegmentLength = 1024
			c.make(&w)
			refused := attempt(t, p, name, w)
			if !refused && name != "data with a read" && name != "a segment of nothing" {
				t.Error("GOOD")
			}
			q := ready(t, d, normal(nil))
			want := byte('o')
			if !refused && name == "a segment of nothing" {
				want = 'x' // an empty segment is odd, but not forbidden
			}
			q.wantBlock(0, want)
			q.good(write(0, fill('n', 8)))
			q.wantBlock(7, 'n')
		})
	}
}

// attempt executes a command that breaks a rule, and reports whether the target said no.
func attempt(t *testing.T, p *peer, name string, c initiator.Command) bool {
	t.Helper()
	task, err := p.Start(c)
	if err == nil && name == "tag of the later R2T" {
		if err = task.WaitR2T(2); err == nil {
			err = task.Answer(task.R2Ts[1])
		}
	}
	var r *initiator.Result
	if err == nil {
		r, err = task.Wait()
	}
	switch {
	case err == nil:
		return r.Status == statusCheckCondition
	case errors.Is(err, initiator.ErrRejected), initiator.IsClosed(err):
		return true
	case len(p.Rejects) > 0:
		return true // a Data-Out was rejected, and the command waits for better ones
	}
	t.Errorf("neither an answer nor a Reject nor an end: %v", err)
	return true
}

// Data for a command that is over is thrown away (11.7.4).
func TestDataOutForNoTask_RFC7143_11_7_4(t *testing.T) {
	d := serve(t, standard)
	bystander(t, d)
	p := ready(t, d, normal(nil))
	p.good(write(0, fill('o', 1)))
	late := initiator.PDU{Data: fill('x', 1)}
	(&iscsi.DataOut{Final: true, InitiatorTaskTag: 0x7777, TargetTransferTag: 5}).Marshal(&late.BHS)
	if err := p.Send(&late, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Ping(nil, true); err != nil && !initiator.IsClosed(err) {
		t.Fatal(err)
	}
	ready(t, d, normal(nil)).wantBlock(0, 'o')
}

// A data segment longer than the target's MaxRecvDataSegmentLength ends the
// connection; it is not read into memory (13.12).
func TestSegmentTooLong_RFC7143_13_12(t *testing.T) {
	d := serve(t, standard)
	bystander(t, d)
	for _, opcode := range []iscsi.Opcode{iscsi.OpNopOut, iscsi.OpSCSICommand, iscsi.OpTextRequest, iscsi.OpDataOut, iscsi.OpLogoutRequest, iscsi.OpTaskManagementRequest} {
		p := ready(t, d, normal(nil))
		var pdu initiator.PDU
		pdu.BHS.SetOpcode(opcode)
		pdu.BHS.SetImmediate(true)
		pdu.BHS.SetFinal(true)
		pdu.BHS.SetInitiatorTaskTag(99)
		pdu.BHS.SetDataSegmentLength(iscsi.MaxDataSegmentLength)
		if err := p.Send(&pdu, initiator.LengthsAsGiven); err != nil {
			t.Fatal(err)
		}
		t.Run(opcode.String(), func(t *testing.T) { (&peer{p.Connection, t}).closed() })
	}
}

// A write that fails at once lets the data that is under way run out, takes none of it
// and answers then; the connection goes on (11.4.3).
func TestDataOfFailedWrite_RFC7143_11_4_3(t *testing.T) {
	d := serve(t, standard)
	for _, keys := range [][]string{
		{"InitialR2T=No", "ImmediateData=Yes", "FirstBurstLength=65536", "MaxBurstLength=65536"},
		{"InitialR2T=No", "ImmediateData=No", "FirstBurstLength=8192", "MaxBurstLength=8192"},
		{"InitialR2T=Yes", "ImmediateData=Yes", "FirstBurstLength=512", "MaxBurstLength=512"},
		{"InitialR2T=Yes", "ImmediateData=No"},
	} {
		p := ready(t, d, offer(append(keys, "DataDigest=CRC32C")...))
		for name, c := range map[string]initiator.Command{
			"beyond the end": {CDB: write10(0xfffffff0, 200), Write: fill('x', 200)},
			"no such LUN":    {LUN: initiator.LUN(99), CDB: write10(0, 200), Write: fill('x', 200)},
			"no such opcode": {CDB: make10(0xbf), Write: fill('x', 200)},
		} {
			c.SegmentLength = 1000
			if r := p.run(c); r.Status != statusCheckCondition {
				t.Errorf("%s: status %02x", name, r.Status)
			}
			if got, err := p.Ping([]byte("in step"), true); err != nil || string(got) != "in step" {
				t.Fatalf("after %s: %q, %v", name, got, err)
			}
		}
		data := noise(11, 200)
		p.good(write(0, data))
		if got := p.good(initiator.Command{CDB: read10(0, 200), Read: len(data)}); !bytes.Equal(got.Data, data) {
			t.Error("other data comes back")
		}
	}
}

func make10(opcode byte) []byte { return cdb10(opcode, 0, 0) }

// The largest transfers there are: done, or refused, but never by memory without bound
// (11.3.4, SBC-3 6.6.4 MAXIMUM TRANSFER LENGTH).
func TestLargeTransfers_RFC7143_11_3_4(t *testing.T) {
	d := serve(t, "[limits]\nmemory = \"64MiB\"\n"+standard)
	p := ready(t, d, offer("MaxBurstLength=16776192", "FirstBurstLength=262144", "InitialR2T=No", "MaxRecvDataSegmentLength=1048576"))
	done := 0
	for _, blocks := range []int{2048, 8192, 16384, 32768, 65535} {
		data := noise(uint64(blocks), blocks)
		w, r := p.run(write(0, data)), p.run(initiator.Command{CDB: read10(0, uint16(blocks)), Read: len(data)})
		if w.Status != r.Status {
			t.Errorf("%d blocks: the write ends with %02x, the read with %02x", blocks, w.Status, r.Status)
		}
		if key, code := w.SenseCode(); w.Status != statusGood && (key != senseIllegalRequest || code != 0x2400) {
			t.Errorf("%d blocks: status %02x, sense %x %04x", blocks, w.Status, key, code)
		}
		if w.Status == statusGood {
			done++
			if !bytes.Equal(r.Data, data) {
				t.Errorf("%d blocks: other data comes back", blocks)
			}
		}
	}
	if done < 2 {
		t.Errorf("only %d sizes from 1 MiB on are served", done)
	}
}

// An Expected Data Transfer Length of 4 GiB is a number, not a buffer (11.3.4).
func TestExpectedFourGiB_RFC7143_11_3_4(t *testing.T) {
	d := serve(t, standard)
	p := ready(t, d, offer("InitialR2T=No", "ImmediateData=Yes", "FirstBurstLength=65536"))
	const all = 0xffffffff
	for range 32 {
		r := p.good(initiator.Command{CDB: read10(0, 1), Read: blockSize, Expected: new(uint32(all))})
		if !r.Underflow || r.Residual != all-blockSize {
			t.Errorf("read: underflow %v, residual %d", r.Underflow, r.Residual)
		}
		w := write(0, fill('w', 1))
		w.Expected = new(uint32(all))
		r = p.good(w)
		if !r.Underflow || r.Residual != all-blockSize {
			t.Errorf("write: underflow %v, residual %d", r.Underflow, r.Residual)
		}
		r = p.good(initiator.Command{CDB: testUnitReady(), Read: 1, Expected: new(uint32(all))})
		if !r.Underflow || r.Residual != all {
			t.Errorf("no data: underflow %v, residual %d", r.Underflow, r.Residual)
		}
	}
	if rss := residentBytes(t, d); rss > 256<<20 {
		t.Errorf("the daemon takes %d MiB", rss>>20)
	}
}
