package protocol_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/iscsi"
)

// cdb32 is READ(32) or WRITE(32) (SBC-3 5.14, 5.36).
func cdb32(serviceAction uint16, lba, blocks uint32) []byte {
	c := make([]byte, 32)
	c[0], c[7] = 0x7f, 0x18
	binary.BigEndian.PutUint16(c[8:], serviceAction)
	binary.BigEndian.PutUint64(c[12:], uint64(lba))
	binary.BigEndian.PutUint32(c[20:], lba) // the expected reference tag is ignored without protection
	binary.BigEndian.PutUint32(c[28:], blocks)
	return c
}

// A CDB of 32 bytes has its second half in an AHS (11.2.2.3), digests included.
func TestExtendedCDB_RFC7143_11_2_2_3(t *testing.T) {
	d := serve(t, standard)
	for _, keys := range digestOffers {
		p := ready(t, d, offer(keys...))
		data := noise(32, 20)
		p.good(initiator.Command{CDB: cdb32(0x000b, 77, 20), Write: data})
		if got := p.good(initiator.Command{CDB: cdb32(0x0009, 77, 20), Read: len(data)}); !bytes.Equal(got.Data, data) {
			t.Error("other data comes back")
		}
	}
}

// AHS that are cut off, too long or twice are refused; unknown ones are skipped (11.2.2).
func TestAHS_RFC7143_11_2_2(t *testing.T) {
	d := serve(t, standard)
	bystander(t, d)
	ready(t, d, normal(nil)).good(write(0, fill('o', 1)))
	tail := cdb32(0x0009, 0, 1)[16:]
	for name, c := range map[string]struct {
		ahs  []byte
		good bool
	}{
		"well":              {iscsi.AppendExtendedCDB(nil, tail), true},
		"after an unknown":  {iscsi.AppendExtendedCDB(iscsi.AppendAHS(nil, 60, []byte("?")), tail), true},
		"before an unknown": {iscsi.AppendAHS(iscsi.AppendExtendedCDB(nil, tail), 60, []byte("??")), true},
		"length 0":          {[]byte{0, 0, 1, 0}, false},
		"length 1":          {[]byte{0, 1, 1, 0}, false},
		"longer than it is": {[]byte{0, 17, 1, 0}, false},
		"length FFFFh":      {[]byte{0xff, 0xff, 1, 0}, false},
		"twice":             {iscsi.AppendExtendedCDB(iscsi.AppendExtendedCDB(nil, tail), tail), false},
		"only zeros":        {make([]byte, 8), false},
		"half of the CDB":   {iscsi.AppendExtendedCDB(nil, tail[:8]), false},
		"none":              {nil, false},
		"1020 bytes of it":  {iscsi.AppendAHS(nil, iscsi.AHSExtendedCDB, make([]byte, 1016)), false},
	} {
		t.Run(name, func(t *testing.T) {
			p := ready(t, d, normal(nil))
			r, err := p.Execute(initiator.Command{CDB: cdb32(0x0009, 0, 1)[:16], Read: blockSize, Edit: func(pdu *initiator.PDU) initiator.Faults {
				pdu.AHS = c.ahs
				return 0
			}})
			switch {
			case c.good:
				if err != nil || r.Status != statusGood || r.Data[0] != 'o' {
					t.Errorf("%+v, %v", r, err)
				}
			case errors.Is(err, initiator.ErrRejected), initiator.IsClosed(err):
			case err != nil:
				t.Error(err)
			case r.Status != statusCheckCondition:
				t.Errorf("status %02x", r.Status)
			}
		})
	}
}

// The residual is the difference of what was expected and what the command moves; no
// byte more than expected is sent or asked for (11.4.5). The initiator itself holds
// the residual of a read against its data.
func TestResidual_RFC7143_11_4_5(t *testing.T) {
	d := serve(t, standard)
	const blocks, length = 8, 8 * blockSize
	for _, keys := range [][]string{{"ImmediateData=Yes", "InitialR2T=No"}, {"ImmediateData=No", "InitialR2T=Yes"}} {
		p := ready(t, d, offer(keys...))
		for _, expected := range []int{0, 1, 100, 511, 512, length - 1, length, length + 1, length + 512, 3 * length} {
			p.good(write(0, fill('o', 24)))
			r := p.run(initiator.Command{CDB: read10(0, blocks), Read: length, Expected: new(uint32(expected))})
			wantResidual(t, "read", r, expected, length)
			if r.Status == statusGood && !bytes.Equal(r.Data, fill('o', 24)[:min(expected, length)]) {
				t.Errorf("read, %d expected: other data", expected)
			}
			w := initiator.Command{CDB: write10(0, blocks), Write: fill('n', 24)[:expected], Expected: new(uint32(expected))}
			if expected == 0 {
				w.Edit = func(pdu *initiator.PDU) initiator.Faults { pdu.BHS[1] |= 0x20; return 0 }
			}
			r = p.run(w)
			wantResidual(t, "write", r, expected, length)
			got := p.good(initiator.Command{CDB: read10(0, 24), Read: 24 * blockSize}).Data
			if !bytes.Equal(got[length:], fill('o', 16)) {
				t.Errorf("a write of %d blocks with %d bytes offered went beyond them", blocks, expected)
			}
			if r.Status == statusGood && expected >= length && !bytes.Equal(got[:length], fill('n', blocks)) {
				t.Errorf("a write of %d blocks with %d bytes offered was not done", blocks, expected)
			}
		}
	}
}

// wantResidual checks the residual of a command that moves length bytes. It may also
// have been refused: then it says nothing else than that.
func wantResidual(t *testing.T, what string, r *initiator.Result, expected, length int) {
	t.Helper()
	if r.Status == statusCheckCondition && expected < length {
		return
	}
	ok := r.Status == statusGood
	switch {
	case expected > length:
		ok = ok && r.Underflow && !r.Overflow && int(r.Residual) == expected-length
	case expected < length:
		ok = ok && r.Overflow && !r.Underflow && int(r.Residual) == length-expected
	default:
		ok = ok && !r.Overflow && !r.Underflow
	}
	if !ok {
		t.Errorf("%s of %d bytes, %d expected: status %02x, overflow %v, underflow %v, residual %d", what, length, expected, r.Status, r.Overflow, r.Underflow, r.Residual)
	}
}

// A command that fails has moved nothing: all that was expected is residual (11.4.5).
func TestResidualOfFailure_RFC7143_11_4_5(t *testing.T) {
	d := serve(t, standard)
	p := ready(t, d, normal(nil))
	beyond := uint32(64 << 20 / blockSize)
	for what, r := range map[string]*initiator.Result{
		"read":  p.run(initiator.Command{CDB: read10(beyond, 8), Read: 8 * blockSize}),
		"write": p.run(write(beyond, fill('x', 8))),
	} {
		key, code := r.SenseCode()
		if r.Status != statusCheckCondition || key != senseIllegalRequest || code != 0x2100 {
			t.Errorf("%s beyond the end: status %02x, sense %x %04x", what, r.Status, key, code)
		}
		if !r.Underflow || r.Residual != 8*blockSize || len(r.Data) != 0 {
			t.Errorf("%s beyond the end: underflow %v, residual %d, %d bytes of data", what, r.Underflow, r.Residual, len(r.Data))
		}
	}
}

// The status of a read that ends well comes with its last data where that saves a PDU,
// and sense data never does (11.7.3).
func TestStatusWithData_RFC7143_11_7_3(t *testing.T) {
	d := serve(t, standard)
	p := ready(t, d, normal(nil))
	if r := p.good(initiator.Command{CDB: read10(0, 100), Read: 100 * blockSize}); !r.Collapsed {
		t.Error("a SCSI Response follows the data of a good read")
	}
	if r := p.run(initiator.Command{CDB: read10(0xffffffff, 1), Read: blockSize}); r.Collapsed || len(r.Sense) == 0 {
		t.Errorf("the failed read has %d bytes of sense data", len(r.Sense))
	}
}

// LUNs are 8 bytes, in the formats of SAM-5 4.7; those that lead nowhere end as SPC-4
// has it, and no part of the number is overlooked.
func TestLUNFormats_RFC7143_11_2_1_7(t *testing.T) {
	d := serve(t, standard)
	p := ready(t, d, normal(nil))
	for _, lun := range []uint64{0, 1 << 48} {
		p.good(initiator.Command{LUN: lun, CDB: testUnitReady()})
	}
	for _, lun := range []uint64{2 << 48, 0xff << 48, 1 << 56, 1, 1 << 32, 1<<62 | 2<<48, 0xffffffffffffffff} {
		r := p.run(initiator.Command{LUN: lun, CDB: testUnitReady()})
		if key, code := r.SenseCode(); r.Status != statusCheckCondition || key != senseIllegalRequest || code != 0x2500 {
			t.Errorf("LUN %016x: status %02x, sense %x %04x", lun, r.Status, key, code)
		}
	}
}

// The direction that the header says must be the command's; where it is not, nothing
// is written that was not sent, nothing read that was not asked for, and all ends (11.3.1).
func TestDirection_RFC7143_11_3_1(t *testing.T) {
	d := serve(t, standard)
	bystander(t, d)
	bits := func(set, clear byte) initiator.Edit {
		return func(pdu *initiator.PDU) initiator.Faults { pdu.BHS[1] = pdu.BHS[1]&^clear | set; return 0 }
	}
	const r, w = 0x40, 0x20
	for name, c := range map[string]struct {
		command initiator.Command
		good    bool // it must end with GOOD, and all that was expected is residual
	}{
		"read that says write":    {initiator.Command{CDB: read10(0, 1), Write: fill('x', 1)}, false},
		"inquiry that says write": {initiator.Command{CDB: []byte{0x12, 0, 0, 0, 96, 0}, Write: fill('x', 1)}, false},
		"write that says read":    {initiator.Command{CDB: write10(0, 1), Read: blockSize}, false},
		"write that says both":    {initiator.Command{CDB: write10(0, 1), Write: fill('o', 1), Edit: bits(r, 0)}, false},
		"no data, says read":      {initiator.Command{CDB: testUnitReady(), Read: blockSize}, true},
		"no data, says write":     {initiator.Command{CDB: testUnitReady(), Write: fill('x', 1)}, true},
		"no data, says both":      {initiator.Command{CDB: testUnitReady(), Expected: new(uint32(0)), Edit: bits(r|w, 0)}, true},
		"no data, unsolicited":    {initiator.Command{CDB: testUnitReady(), Write: fill('x', 8), ImmediateData: new(512), UnsolicitedData: new(2048)}, true},
	} {
		for _, keys := range [][]string{{"ImmediateData=Yes", "InitialR2T=No"}, {"ImmediateData=Yes", "InitialR2T=Yes"}} {
			t.Run(name+" "+keys[1], func(t *testing.T) {
				if name == "no data, unsolicited" && keys[1] == "InitialR2T=Yes" {
					return // not allowed then: TestDataOutForbidden
				}
				p := ready(t, d, offer(keys...))
				p.good(write(0, fill('o', 1)))
				result, err := p.Execute(c.command)
				switch {
				case c.good && (err != nil || result.Status != statusGood):
					t.Errorf("%+v, %v", result, err)
				case c.good:
					expected := max(c.command.Read, len(c.command.Write))
					if int(result.Residual) != expected || result.Underflow != (expected > 0) {
						t.Errorf("residual %d, underflow %v", result.Residual, result.Underflow)
					}
				case err != nil && !errors.Is(err, initiator.ErrRejected) && !initiator.IsClosed(err):
					t.Error(err)
				case err == nil && result.Status == statusGood && name == "write that says read":
					t.Error("GOOD for a write that had no data")
				case err == nil && len(result.Data) > 0:
					t.Errorf("%d bytes that the initiator did not ask for", len(result.Data))
				}
				ready(t, d, normal(nil)).wantBlock(0, 'o')
			})
		}
	}
}

// ExpStatSN acknowledges; a wrong one changes nothing at ErrorRecoveryLevel 0 (4.2.2.2).
func TestExpStatSN_RFC7143_4_2_2_2(t *testing.T) {
	d := serve(t, standard)
	p := ready(t, d, normal(nil))
	for _, sn := range []uint32{0, p.ExpStatSN + 1000, p.ExpStatSN - 1000, 0xffffffff} {
		p.good(initiator.Command{CDB: testUnitReady(), Edit: func(pdu *initiator.PDU) initiator.Faults {
			pdu.BHS[28], pdu.BHS[29], pdu.BHS[30], pdu.BHS[31] = byte(sn>>24), byte(sn>>16), byte(sn>>8), byte(sn)
			return 0
		}})
	}
}
