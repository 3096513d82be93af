package scsi

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

func TestExecuteResults(t *testing.T) {
	n := newNexus("a")
	tests := []struct {
		name   string
		err    error
		status Status
		key    SenseKey
		code   SenseCode
		silent bool
		told   bool // Report hears of it
	}{
		{name: "nil", err: nil, status: Good},
		{name: "sense", err: MediumError(ASCWriteError, 7), status: CheckCondition, key: KeyMediumError, code: ASCWriteError},
		{name: "wrapped sense", err: fmt.Errorf("x: %w", DataProtect(ASCWriteProtected)), status: CheckCondition, key: KeyDataProtect, code: ASCWriteProtected},
		{name: "status", err: ConditionMet, status: ConditionMet},
		{name: "wrapped status", err: fmt.Errorf("x: %w", Busy), status: Busy},
		{name: "aborted", err: ErrAborted, silent: true},
		{name: "another error", err: errStore, status: CheckCondition, key: KeyHardwareError, code: ASCInternalTargetFailure, told: true},
		{name: "would block though it may", err: ErrWouldBlock, status: CheckCondition, key: KeyHardwareError, code: ASCInternalTargetFailure, told: true},
	}
	for _, test := range tests {
		for _, traits := range []Traits{0, Inline} {
			t.Run(fmt.Sprintf("%s/%d", test.name, traits), func(t *testing.T) {
				lu := newUnit(t, &fakeDevice{rows: []Operation{row(0, traits, func(*Command) error { return test.err })}}, nil, n)
				var mu sync.Mutex
				var told error
				lu.Report = func(err error) { mu.Lock(); defer mu.Unlock(); told = err }
				c := do(t, lu, n, 0, 0, 0, 0, 0, 0)
				if test.status == CheckCondition {
					c.wantSense(t, test.key, test.code)
				} else {
					c.wantStatus(t, test.status)
				}
				if c.Silent != test.silent {
					t.Errorf("Silent is %v", c.Silent)
				}
				mu.Lock()
				defer mu.Unlock()
				if (told != nil) != test.told {
					t.Errorf("Report heard %v", told)
				}
			})
		}
	}
}

func TestExecutePanicEndsTheCommandAlone(t *testing.T) {
	n := newNexus("a")
	for _, traits := range []Traits{0, Inline} {
		lu := newUnit(t, &fakeDevice{rows: []Operation{
			row(0, traits, func(c *Command) error { return []error{nil}[len(c.CDB)] }),
			row(1, Inline, good),
		}}, nil, n)
		told := make(chan error, 1)
		lu.Report = func(err error) { told <- err }
		do(t, lu, n, 0, 0, 0, 0, 0, 0).wantSense(t, KeyHardwareError, ASCInternalTargetFailure)
		if err := <-told; !strings.Contains(err.Error(), "index out of range") || !strings.Contains(err.Error(), "execute_test.go") {
			t.Errorf("Report heard %v: not what and where", err)
		}
		do(t, lu, n, 1, 0, 0, 0, 0, 0).wantStatus(t, Good)
	}
}

func TestExecuteInlineOnTheCallersGoroutine(t *testing.T) {
	n := newNexus("a")
	var calls []bool
	lu := newUnit(t, &fakeDevice{rows: []Operation{
		row(0, Inline, func(c *Command) error {
			calls = append(calls, c.MayBlock)
			if !c.MayBlock && c.CDB.Byte(2) == 1 {
				return ErrWouldBlock
			}
			return nil
		}),
	}}, nil, n)
	c := issue(lu, n, 1, Simple, 0, 0, 0, 0, 0, 0)
	if !c.delivery.ended() || c.MayBlock {
		t.Error("a command that need not block has not ended when Execute returns")
	}
	c = issue(lu, n, 1, Simple, 0, 0, 1, 0, 0, 0)
	c.wait(t)
	c.wantStatus(t, Good)
	if fmt.Sprint(calls) != "[false false true]" || !c.MayBlock {
		t.Errorf("MayBlock was %v", calls)
	}
}

func TestExecuteReportsAnAttentionOnceAcrossWouldBlock(t *testing.T) {
	n := newNexus("a")
	lu := newUnit(t, &fakeDevice{rows: []Operation{
		row(0, Inline, func(c *Command) error {
			if !c.MayBlock {
				// An attention that comes while the command is on its way to the
				// other goroutine is for the next command: this one was admitted.
				c.Unit().Attention(ASCCapacityDataHasChanged, n, nil)
				return ErrWouldBlock
			}
			return nil
		}),
		row(1, Inline, good),
	}}, nil, n)
	do(t, lu, n, 0, 0, 0, 0, 0, 0).wantStatus(t, Good)
	do(t, lu, n, 1, 0, 0, 0, 0, 0).wantSense(t, KeyUnitAttention, ASCCapacityDataHasChanged)
	do(t, lu, n, 1, 0, 0, 0, 0, 0).wantStatus(t, Good)
}

func TestCDBIsCheckedAgainstItsRow_SPC4_4_2_5(t *testing.T) {
	n := newNexus("a")
	read32 := make([]byte, 32)
	copy(read32, []byte{0x7f, 0, 0, 0, 0, 0, 0, 0x18, 0x00, 0x09})
	for i := 12; i < 32; i++ {
		read32[i] = 0xff
	}
	seen := CDB(nil)
	lu := newUnit(t, &fakeDevice{rows: []Operation{
		row(0, Inline, func(c *Command) error { seen = c.CDB; return nil }),
		{Name: "A", Opcode: 0x9e, ServiceAction: 0x10, HasServiceAction: true, Usage: []byte{0x9e, 0x10, 15: 0}, Traits: Inline, Execute: good},
		{Name: "B", Opcode: 0x9e, ServiceAction: 0x12, HasServiceAction: true, Usage: []byte{0x9e, 0x12, 15: 0}, Traits: Inline, Execute: good},
		{Name: "C", Opcode: 0x7f, ServiceAction: 0x09, HasServiceAction: true, Usage: read32, Traits: Inline, Execute: good},
	}}, nil, n)

	long := func(change func([]byte)) []byte {
		cdb := make([]byte, 32)
		copy(cdb, []byte{0x7f, 0, 0, 0, 0, 0, 0, 0x18, 0x00, 0x09})
		change(cdb)
		return cdb
	}
	tests := []struct {
		name  string
		cdb   []byte
		code  SenseCode // 0: GOOD
		field []byte    // SENSE KEY SPECIFIC
	}{
		{"legal", []byte{0, 0x0f, 0xff, 0xff, 0xff, 0}, 0, nil},
		{"padded as iSCSI does", []byte{0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 15: 0xff}, 0, nil},
		{"bit beyond usage", []byte{0, 0x41, 0, 0, 0, 0}, ASCInvalidFieldInCDB, []byte{0xce, 0, 1}},
		{"NACA", []byte{0, 0, 0, 0, 0, 0x04}, ASCInvalidFieldInCDB, []byte{0xca, 0, 5}},
		{"vendor bit of CONTROL", []byte{0, 0, 0, 0, 0, 0x80}, ASCInvalidFieldInCDB, []byte{0xcf, 0, 5}},
		{"too short", []byte{0, 0, 0}, ASCInvalidFieldInCDB, []byte{0xc0, 0, 3}},
		{"unknown operation code", []byte{0xc0, 0, 0, 0, 0, 0}, ASCInvalidCommandOperationCode, nil},
		{"empty", nil, ASCInvalidFieldInCDB, []byte{0xc0, 0, 0}},
		{"service action", []byte{0x9e, 0x12, 15: 0}, 0, nil},
		{"unknown service action", []byte{0x9e, 0x11, 15: 0}, ASCInvalidFieldInCDB, []byte{0xcc, 0, 1}},
		{"bit beside the service action", []byte{0x9e, 0x92, 15: 0}, ASCInvalidFieldInCDB, []byte{0xcf, 0, 1}},
		{"variable length", long(func(b []byte) { b[31] = 0xff }), 0, nil},
		{"variable length, bit beyond usage", long(func(b []byte) { b[10] = 0x01 }), ASCInvalidFieldInCDB, []byte{0xc8, 0, 10}},
		{"variable length, NACA", long(func(b []byte) { b[1] = 0x04 }), ASCInvalidFieldInCDB, []byte{0xca, 0, 1}},
		{"variable length, wrong length", long(func(b []byte) { b[7] = 0x08 }), ASCInvalidFieldInCDB, []byte{0xc0, 0, 7}},
		{"variable length, unknown service action", long(func(b []byte) { b[9] = 0x77 }), ASCInvalidFieldInCDB, []byte{0xc0, 0, 8}},
		{"variable length, cut", long(func([]byte) {})[:16], ASCInvalidFieldInCDB, []byte{0xc0, 0, 16}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := do(t, lu, n, test.cdb...)
			if test.code == 0 {
				c.wantStatus(t, Good)
				return
			}
			c.wantSense(t, KeyIllegalRequest, test.code)
			if test.field != nil && string(c.Sense[15:18]) != string(test.field) {
				t.Errorf("SENSE KEY SPECIFIC %X, want %X", c.Sense[15:18], test.field)
			}
		})
	}
	if len(seen) != 6 {
		t.Errorf("the operation saw a CDB of %d bytes", len(seen))
	}
}

func TestAdmissionOrder_SAM5_5_3_3(t *testing.T) {
	a, b := newNexus("a"), newNexus("b")
	d := &fakeDevice{rows: []Operation{
		row(0, Inline|Writes, good),
		row(1, Inline|KeepsAttentions|WithoutMedium, good),
		row(2, Inline|WithoutMedium, good),
		{Name: "READ", Opcode: 3, Usage: make([]byte, 6), Conflict: Allowed, Traits: Inline, Execute: good},
	}}
	d.rows[3].Usage[0] = 3
	d.rows[1].Conflict = Allowed
	lu := newUnit(t, d, nil, a, b)

	if err := lu.Reserve(a, true); err != nil {
		t.Fatal(err)
	}
	lu.Attention(ASCCapacityDataHasChanged, b, nil)
	d.setReady(NotReady(ASCMediumNotPresent))
	d.header = 0x80
	bad := []byte{0, 0xf0, 0, 0, 0, 0}

	do(t, lu, b, bad...).wantStatus(t, ReservationConflict)
	do(t, lu, b, 1, 0, 0, 0, 0, 0).wantStatus(t, Good) // neither tells nor clears it
	lu.Release(a)
	do(t, lu, b, bad...).wantSense(t, KeyUnitAttention, ASCCapacityDataHasChanged)
	do(t, lu, b, bad...).wantSense(t, KeyNotReady, ASCMediumNotPresent)
	do(t, lu, b, 2, 0, 0, 0, 0, 0).wantStatus(t, Good)
	d.setReady(nil)
	do(t, lu, b, bad...).wantSense(t, KeyDataProtect, ASCWriteProtected)
	do(t, lu, b, 3, 0, 0, 0, 0, 0).wantStatus(t, Good)
	d.header = 0
	do(t, lu, b, bad...).wantSense(t, KeyIllegalRequest, ASCInvalidFieldInCDB)

	lu.Attention(ASCCapacityDataHasChanged, b, nil)
	do(t, lu, b, 0xc0, 0, 0, 0, 0, 0).wantSense(t, KeyUnitAttention, ASCCapacityDataHasChanged)
	do(t, lu, b, 0xc0, 0, 0, 0, 0, 0).wantSense(t, KeyIllegalRequest, ASCInvalidCommandOperationCode)
}

func TestACAAttributeIsRefused_SAM5_8_6_5(t *testing.T) {
	n := newNexus("a")
	lu := newUnit(t, &fakeDevice{rows: []Operation{row(0, Inline, good)}}, nil, n)
	for _, attribute := range []TaskAttribute{ACA, ACA + 1} {
		c := issue(lu, n, 1, attribute, 0, 0, 0, 0, 0, 0)
		c.wait(t)
		c.wantSense(t, KeyIllegalRequest, ASCInvalidMessageError)
	}
}

func TestTaskSetFull_SAM5_5_3_1(t *testing.T) {
	n := newNexus("a")
	g := newGate()
	lu := newUnit(t, &fakeDevice{rows: []Operation{row(0, 0, g.execute)}}, nil, n)
	lu.tasks.limit = 2
	first, second := issue(lu, n, 1, Simple, make([]byte, 6)...), issue(lu, n, 2, Simple, make([]byte, 6)...)
	g.wait(t)
	g.wait(t)
	third := issue(lu, n, 3, Simple, make([]byte, 6)...)
	third.wait(t)
	third.wantStatus(t, TaskSetFull)
	g.leave <- nil
	g.leave <- nil
	first.wait(t)
	second.wait(t)
	go func() { g.leave <- nil }()
	do(t, lu, n, make([]byte, 6)...).wantStatus(t, Good)
}

// reusingPort is a port that uses one Command again and again, as target does.
type reusingPort struct {
	Command
	ended int
	cdb   [16]byte
}

func (p *reusingPort) DataInBuffer(int) ([]byte, error)   { return p.cdb[:0], nil }
func (p *reusingPort) ReceiveDataOut(int) ([]byte, error) { return nil, nil }
func (p *reusingPort) AbortCommand()                      {}
func (p *reusingPort) SendCommandComplete()               { p.ended++ }

func TestExecuteDoesNotAllocate(t *testing.T) {
	n, idle := newNexus("a"), newNexus("idle")
	read := []byte{0x28, 0xf8, 0xff, 0xff, 0xff, 0xff, 0x1f, 0xff, 0xff, 0x00}
	lu := newUnit(t, &fakeDevice{rows: []Operation{{
		Name: "READ (10)", Opcode: 0x28, Usage: read, Conflict: ConflictOnWrite, Traits: Inline,
		Extent: func(c CDB) Extent { return Extent{uint64(c.Uint32(2)), uint64(c.Uint16(7))} }, Execute: good,
	}}}, nil, n)
	lu.Attach(idle) // with an attention that nobody takes
	p := &reusingPort{cdb: [16]byte{0x28, 5: 8, 8: 8}}
	allocations := testing.AllocsPerRun(1000, func() {
		p.Reset()
		p.Nexus, p.Tag, p.CDB, p.Delivery = n, 7, p.cdb[:], p
		lu.Execute(&p.Command)
		if p.Status != Good {
			t.Fatal(p.Status)
		}
	})
	if allocations != 0 {
		t.Errorf("%v allocations for a command", allocations)
	}
	if p.ended != 1001 {
		t.Errorf("%d of 1001 commands have ended", p.ended)
	}
}

func BenchmarkExecute(b *testing.B) {
	n := newNexus("a")
	lu := newUnit(b, &fakeDevice{rows: []Operation{{
		Name: "READ (10)", Opcode: 0x28, Usage: []byte{0x28, 0xf8, 0xff, 0xff, 0xff, 0xff, 0x1f, 0xff, 0xff, 0x00},
		Conflict: ConflictOnWrite, Traits: Inline, Execute: good,
	}}}, nil, n)
	p := &reusingPort{cdb: [16]byte{0x28, 5: 8, 8: 8}}
	b.ReportAllocs()
	for b.Loop() {
		p.Reset()
		p.Nexus, p.Tag, p.CDB, p.Delivery = n, 7, p.cdb[:], p
		lu.Execute(&p.Command)
	}
}
