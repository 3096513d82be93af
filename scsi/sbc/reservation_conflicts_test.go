package sbc_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/backstore/memory"
	"github.com/isantarget/isantarget/scsi"
	"github.com/isantarget/isantarget/scsi/sbc"
)

// conflictTable is what the standards say of a command from another nexus than the
// reservation holder: SPC-4 table 65 and SBC-3 table 13, a column each for
//
//	write exclusive, from any nexus
//	exclusive access, from any nexus
//	registrants only and all registrants, from a registered nexus
//	write exclusive of those, from a nexus that is not registered
//	exclusive access of those, from a nexus that is not registered
//	and at last RESERVE (SPC-2 table 9, SBC-2 table 5)
//
// A is allowed, C is conflict. w after the columns: where it is allowed the medium
// changes. g: where it is allowed it ends with GOOD.
//
// It is written from the standards, not from the rows of the command table; a row
// that is not here fails the test.
const conflictTable = `
# SPC-4 table 65
A A A A A A g  120000002400                            INQUIRY
C C A C C C    8300000000000000000000000000            EXTENDED COPY and the other third-party copies out
A A A A A A g  4d004000000000004000                    LOG SENSE
C C A C C C g  151000000000                            MODE SELECT (6)
C C A C C C    151000000400                            MODE SELECT (6) with a list
C C A C C C g  55100000000000000000                    MODE SELECT (10)
A C A A C C    1a0008002400                            MODE SENSE (6)
A C A A C C    5a000800000000002400                    MODE SENSE (10)
A C A A C C    3c030000000000000400                    READ BUFFER
A C A A C C    3c0a0000000000000400                    READ BUFFER
A C A A C C    3c0b0000000000000400                    READ BUFFER
A C A A C C    84000000000000000000000000ff0000        RECEIVE COPY RESULTS and the like
A C A A C C    1c0000000400                            RECEIVE DIAGNOSTIC RESULTS
A A A A A A g  a00000000000000001000000                REPORT LUNS
A C A A C C g  a30c00000000000001000000                REPORT SUPPORTED OPERATION CODES
A C A A C C g  a30d00000000000000100000                REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS
A A A A A A    a30a00000000000001000000                REPORT TARGET PORT GROUPS
A A A A A A g  030000001200                            REQUEST SENSE
C C A C C C    1d0400000000                            SEND DIAGNOSTIC
C C A C C C    a40a00000000000000000000                SET TARGET PORT GROUPS
A A A A A C g  000000000000                            TEST UNIT READY
C C A C C C g  3b0a0000000000000000                    WRITE BUFFER
A A A A A C g  5e000000000000010000                    PERSISTENT RESERVE IN, READ KEYS
A A A A A C g  5e010000000000010000                    PERSISTENT RESERVE IN, READ RESERVATION
A A A A A C g  5e020000000000010000                    PERSISTENT RESERVE IN, REPORT CAPABILITIES
A A A A A C g  5e030000000000010000                    PERSISTENT RESERVE IN, READ FULL STATUS
# SPC-4 5.13.3, CRH
C C A C C C    160000000000                            RESERVE (6)
C C A C C A    170000000000                            RELEASE (6)
C C A C C C    56000000000000000000                    RESERVE (10)
C C A C C A    57000000000000000000                    RELEASE (10)
# SBC-3 table 13
C C A C C C gw 89000000000000000000000000010000        COMPARE AND WRITE
C C A C C C gw 040000000000                            FORMAT UNIT
A C A A C C    9e120000000000000000000000400000        GET LBA STATUS
C C A C C C gw 8b000000000000000000000000010000        ORWRITE (16)
A C A A C C    34000000000000000100                    PRE-FETCH (10)
A C A A C C    90000000000000000000000000010000        PRE-FETCH (16)
A A A A A A g  1e0000000000                            PREVENT ALLOW MEDIUM REMOVAL, PREVENT=0
C C A C C C g  1e0000000100                            PREVENT ALLOW MEDIUM REMOVAL, PREVENT=1
A C A A C C g  080000000100                            READ (6)
A C A A C C g  28000000000000000100                    READ (10)
A C A A C C g  a80000000000000000010000                READ (12)
A C A A C C g  88000000000000000000000000010000        READ (16)
A C A A C C g  7f000000000000180009000000000000000000000000000000000000000000000000000001  READ (32)
A A A A A A g  25000000000000000000                    READ CAPACITY (10)
A A A A A A g  9e100000000000000000000000200000        READ CAPACITY (16)
A C A A C C    37000000000000000400                    READ DEFECT DATA (10)
A C A A C C    b70000000000000000040000                READ DEFECT DATA (12)
C C A C C C    4801000000000000000000                  SANITIZE
A A A A A A g  1b0000000100                            START STOP UNIT, START=1
C C A C C C    1b0000000000                            START STOP UNIT, START=0
C C A C C C    1b0000001100                            START STOP UNIT, POWER CONDITION 1h
C C A C C C g  35000000000000000000                    SYNCHRONIZE CACHE (10)
C C A C C C g  91000000000000000000000000000000        SYNCHRONIZE CACHE (16)
C C A C C C g  42000000000000000000                    UNMAP of nothing
C C A C C C gw 42000000000000001800                    UNMAP
A C A A C C g  2f000000000000000100                    VERIFY (10)
A C A A C C g  af0000000000000000010000                VERIFY (12)
A C A A C C g  8f000000000000000000000000010000        VERIFY (16)
A C A A C C g  7f00000000000018000a000000000000000000000000000000000000000000000000000001  VERIFY (32)
C C A C C C gw 0a0000000100                            WRITE (6)
C C A C C C gw 2a000000000000000100                    WRITE (10)
C C A C C C gw aa0000000000000000010000                WRITE (12)
C C A C C C gw 8a000000000000000000000000010000        WRITE (16)
C C A C C C gw 7f00000000000018000b000000000000000000000000000000000000000000000000000001  WRITE (32)
C C A C C C gw 9c000000000000000000000000010000        WRITE ATOMIC (16)
C C A C C C gw 2e000000000000000100                    WRITE AND VERIFY (10)
C C A C C C gw ae0000000000000000010000                WRITE AND VERIFY (12)
C C A C C C gw 8e000000000000000000000000010000        WRITE AND VERIFY (16)
C C A C C C gw 7f00000000000018000c000000000000000000000000000000000000000000000000000001  WRITE AND VERIFY (32)
C C A C C C gw 41000000000000000100                    WRITE SAME (10)
C C A C C C gw 93000000000000000000000000010000        WRITE SAME (16)
C C A C C C gw 7f00000000000018000d000000000000000000000000000000000000000000000000000001  WRITE SAME (32)
`

// reserveOutTable is SPC-4 table 66 and what stands in the clauses of the service
// actions: PERSISTENT RESERVE OUT, with the sender's own key, from the holder, a
// registered nexus and one that is not. The columns are the types: WE (1h), EA (3h),
// registrants only (5h, 6h), all registrants (7h, 8h). RESERVE asks for the type that is.
const reserveOutTable = `
# action  holder   registered  neither
00        A A A A  A A A A     A A A A    REGISTER
01        A A A A  C C C A     C C C C    RESERVE
02        A A A A  A A A A     C C C C    RELEASE
03        A A A A  A A A A     C C C C    CLEAR
04        A A A A  A A A A     C C C C    PREEMPT
05        A A A A  A A A A     C C C C    PREEMPT AND ABORT
06        A A A A  A A A A     A A A A    REGISTER AND IGNORE EXISTING KEY
07        A A A C  C C C C     C C C C    REGISTER AND MOVE
`

var types = []scsi.ReservationType{1, 3, 5, 6, 7, 8}

// Who sends a command.
const (
	holder = iota
	registered
	neither
)

const blockLength = 512

// expected is a line of conflictTable.
type expected struct {
	name    string
	cdb     []byte
	columns [6]bool // true: conflict
	good    bool
	writes  bool
}

func parseConflictTable(t *testing.T) (lines []expected) {
	t.Helper()
	for line := range strings.Lines(conflictTable) {
		f := strings.Fields(line)
		if len(f) == 0 || f[0] == "#" {
			continue
		}
		var e expected
		for i := range e.columns {
			if f[i] != "A" && f[i] != "C" {
				t.Fatalf("column %d of %q", i, line)
			}
			e.columns[i] = f[i] == "C"
		}
		f = f[len(e.columns):]
		if strings.Trim(f[0], "gw") == "" {
			e.good, e.writes = strings.Contains(f[0], "g"), strings.Contains(f[0], "w")
			f = f[1:]
		}
		var err error
		if e.cdb, err = hex.DecodeString(f[0]); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		e.name = strings.Join(f[1:], " ")
		if e.cdb[0] == 0x7f {
			e.cdb = e.cdb[:32]
			e.cdb[31] = 1 // TRANSFER LENGTH
		}
		lines = append(lines, e)
	}
	return lines
}

// conflict is what the line says of a command from who beside a reservation of kind.
func (e *expected) conflict(kind scsi.ReservationType, who int) bool {
	exclusiveAccess := kind == scsi.ExclusiveAccess || kind == scsi.ExclusiveAccessRegistrantsOnly || kind == scsi.ExclusiveAccessAllRegistrants
	column := 0
	switch forRegistrants := kind >= scsi.WriteExclusiveRegistrantsOnly; {
	case who == holder:
		return false
	case forRegistrants && who == registered:
		column = 2
	case forRegistrants && exclusiveAccess:
		column = 4
	case forRegistrants:
		column = 3
	case exclusiveAccess:
		column = 1
	}
	return e.columns[column]
}

// A disk is a real device with three nexuses, of which the first two are registered
// with the keys 1 and 2.
type disk struct {
	t     *testing.T
	lu    *scsi.LogicalUnit
	store *memory.Store
	who   [3]*scsi.Nexus
}

func newDisk(t *testing.T) *disk {
	t.Helper()
	return newDiskUpon(t, func(s *memory.Store) backstore.Store { return s })
}

// newDiskUpon is newDisk with something between the device and its store.
func newDiskUpon(t *testing.T, layer func(*memory.Store) backstore.Store) *disk {
	t.Helper()
	store, err := memory.New(64 << 10)
	if err != nil {
		t.Fatal(err)
	}
	device, err := sbc.New(sbc.Options{Medium: backstore.Bind(layer(store)), BlockSize: blockLength, WriteCache: true, Thin: true, Removable: true})
	if err != nil {
		t.Fatal(err)
	}
	d := &disk{t: t, store: store}
	if d.lu, err = scsi.NewLogicalUnit(scsi.Identity{Serial: "0123456789abcdef"}, device, nil); err != nil {
		t.Fatal(err)
	}
	d.lu.Report = func(err error) { t.Error(err) }
	port := &scsi.TargetPort{Device: "iqn.2026-11.test:disk", Group: 1, RelativeID: 1}
	for i := range d.who {
		d.who[i] = &scsi.Nexus{Initiator: scsi.TransportID{Name: fmt.Sprintf("iqn.2026-11.test:host%d", i), ISID: [6]byte{0x80, 5: byte(i)}}, TargetPort: port}
		d.lu.Attach(d.who[i])
		d.calm(i)
	}
	if _, err := store.WriteAt(d.pattern(), 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(device.Close)
	return d
}

func (d *disk) pattern() []byte {
	p := make([]byte, 64<<10)
	for i := range p {
		p[i] = byte(i>>9) ^ byte(i) | 1
	}
	return p
}

// unchanged tells whether the medium is as it was made.
func (d *disk) unchanged() bool {
	p := d.pattern()
	got := make([]byte, len(p))
	if _, err := d.store.ReadAt(got, 0); err != nil {
		d.t.Fatal(err)
	}
	return bytes.Equal(got, p)
}

// calm takes the unit attentions of a nexus.
func (d *disk) calm(who int) {
	for d.lu.TakeAttention(d.who[who]) != nil {
	}
}

// sent is the Delivery of one command.
type sent struct {
	scsi.Command
	out, in []byte
	done    chan struct{}
	aborted chan struct{} // set: the data-out never come, and this says that nobody waits for them any more
	asked   chan struct{} // set: closed when the data-out are waited for, which come ...
	come    chan struct{} // ... when this is closed
	once    sync.Once
}

func (s *sent) DataInBuffer(n int) ([]byte, error) {
	if len(s.in) < n {
		s.in = make([]byte, n)
	}
	return s.in[:n], nil
}

func (s *sent) ReceiveDataOut(n int) ([]byte, error) {
	switch {
	case s.aborted == nil && s.asked == nil:
		return s.out[:min(n, len(s.out))], nil
	case !s.MayBlock:
		return nil, scsi.ErrWouldBlock
	case s.asked != nil:
		s.StepBack()
		s.once.Do(func() { close(s.asked) })
		<-s.come
		if err := s.StepForward(); err != nil {
			return nil, err
		}
		return s.out[:min(n, len(s.out))], nil
	}
	<-s.aborted
	return nil, scsi.ErrAborted
}

func (s *sent) AbortCommand() {
	if s.aborted != nil {
		close(s.aborted)
	}
}
func (s *sent) SendCommandComplete() { close(s.done) }

// do executes a command and waits for its end.
func (d *disk) do(who int, cdb, out []byte) *sent {
	s := d.start(who, cdb, &sent{out: out})
	<-s.done
	return s
}

// start executes a command.
func (d *disk) start(who int, cdb []byte, s *sent) *sent {
	s.done = make(chan struct{})
	s.Nexus, s.CDB, s.Delivery = d.who[who], cdb, s
	s.Units = scsi.NewUnitMap(d.lu, map[scsi.LUN]*scsi.LogicalUnit{0: d.lu})
	d.lu.Execute(&s.Command)
	return s
}

// reserveOut is PERSISTENT RESERVE OUT.
func (d *disk) reserveOut(who int, action byte, kind scsi.ReservationType, key, newKey uint64) *sent {
	return d.do(who, []byte{0x5f, action, byte(kind), 0, 0, 0, 0, 0, 24, 0}, reserveOutList(key, newKey))
}

func reserveOutList(key, newKey uint64) []byte {
	list := make([]byte, 24)
	binary.BigEndian.PutUint64(list, key)
	binary.BigEndian.PutUint64(list[8:], newKey)
	return list
}

// reserve registers two nexuses and has the first reserve.
func (d *disk) reserve(kind scsi.ReservationType) {
	d.t.Helper()
	for _, s := range []*sent{d.reserveOut(holder, 0, 0, 0, 1), d.reserveOut(registered, 0, 0, 0, 2), d.reserveOut(holder, 1, kind, 1, 0)} {
		if s.Status != scsi.Good {
			d.t.Fatalf("%X: %v, sense %X", []byte(s.CDB), s.Status, s.Sense)
		}
	}
}

// dataOut is what the command of e sends: as much as it could want, and such that a
// comparison holds and a write changes the medium.
func (e *expected) dataOut(d *disk) []byte {
	switch e.cdb[0] {
	case 0x89: // compare the first block, write another
		return append(d.pattern()[:blockLength], make([]byte, blockLength)...)
	case 0x2f, 0xaf, 0x8f:
		return d.pattern()[:blockLength]
	case 0x8b:
		return bytes.Repeat([]byte{0xfe}, blockLength)
	case 0x42: // the first 8 blocks
		return []byte{1: 22, 3: 16, 19: 8, 23: 0}
	}
	return make([]byte, blockLength)
}

// findRow is the row that answers cdb.
func findRow(rows []scsi.Operation, cdb scsi.CDB) int {
	for i := range rows {
		if rows[i].Opcode == cdb.Opcode() && (!rows[i].HasServiceAction || rows[i].ServiceAction == cdb.ServiceAction()) {
			return i
		}
	}
	return -1
}

// TestEveryRowIsInTheTable: a command without a line would not be tested.
func TestEveryRowIsInTheTable(t *testing.T) {
	rows := newDisk(t).lu.Operations()
	covered := make([]bool, len(rows))
	for _, e := range parseConflictTable(t) {
		if i := findRow(rows, e.cdb); i >= 0 {
			covered[i] = true
		}
	}
	for i, row := range rows {
		ofThirdParty := row.Opcode == 0x83 || row.Opcode == 0x84 || row.Opcode == 0x48 // every service action alike
		if !covered[i] && row.Opcode != 0x5f && !ofThirdParty {
			t.Errorf("%s has no line in the table of the standard", row.Name)
		}
	}
}

// TestConflicts_SPC4_5_13_1 sends every command of the disk beside every reservation,
// from its holder, from another registered nexus and from one that is not registered.
func TestConflicts_SPC4_5_13_1(t *testing.T) {
	rows := newDisk(t).lu.Operations()
	for _, e := range parseConflictTable(t) {
		if findRow(rows, e.cdb) < 0 {
			continue // a command that this disk does not have
		}
		for _, kind := range types {
			for who := range 3 {
				d := newDisk(t)
				d.reserve(kind)
				d.calm(who)
				e.judge(d, who, e.conflict(kind, who), fmt.Sprintf("%s beside %v from %d", e.name, kind, who))
			}
		}
	}
}

// judge sends the command of e and looks at what it does.
func (e *expected) judge(d *disk, who int, conflict bool, what string) {
	d.t.Helper()
	s := d.do(who, e.cdb, e.dataOut(d))
	switch {
	case conflict && s.Status != scsi.ReservationConflict:
		d.t.Errorf("%s: %v, sense %X; want RESERVATION CONFLICT", what, s.Status, s.Sense)
	case conflict && !d.unchanged():
		d.t.Errorf("%s: the medium has changed", what)
	case !conflict && s.Status == scsi.ReservationConflict, !conflict && e.good && s.Status != scsi.Good:
		d.t.Errorf("%s: %v, sense %X; want it to be let through", what, s.Status, s.Sense)
	case !conflict && d.unchanged() == e.writes:
		d.t.Errorf("%s: the medium is unchanged: %v", what, e.writes)
	}
}

// TestConflictsWithReserve_SPC2_5_5_1 does the same beside RESERVE, from another nexus.
func TestConflictsWithReserve_SPC2_5_5_1(t *testing.T) {
	rows := newDisk(t).lu.Operations()
	for _, e := range parseConflictTable(t) {
		if findRow(rows, e.cdb) < 0 {
			continue
		}
		d := newDisk(t)
		if s := d.do(holder, []byte{0x16, 5: 0}, nil); s.Status != scsi.Good {
			t.Fatalf("RESERVE: %v", s.Status)
		}
		e.judge(d, neither, e.columns[5], e.name+" beside RESERVE")
		own := d.do(holder, e.cdb, e.dataOut(d))
		if forbidden := e.cdb[0] == 0x5e; (own.Status == scsi.ReservationConflict) != forbidden {
			t.Errorf("%s from the holder of RESERVE: %v", e.name, own.Status)
		}
	}
	d := newDisk(t)
	d.do(holder, []byte{0x16, 5: 0}, nil)
	for action := range byte(8) {
		for _, who := range []int{holder, neither} {
			if s := d.reserveOut(who, action, 1, 0, 1); s.Status != scsi.ReservationConflict {
				t.Errorf("PERSISTENT RESERVE OUT %02Xh from %d beside RESERVE: %v, want RESERVATION CONFLICT", action, who, s.Status)
			}
		}
	}
}

// TestConflictsOfReserveOut_SPC4_5_13_1 holds PERSISTENT RESERVE OUT to its table.
func TestConflictsOfReserveOut_SPC4_5_13_1(t *testing.T) {
	for line := range strings.Lines(reserveOutTable) {
		f := strings.Fields(line)
		if len(f) == 0 || f[0] == "#" {
			continue
		}
		action := byte(f[0][1] - '0')
		for _, kind := range types {
			column := map[scsi.ReservationType]int{1: 0, 3: 1, 5: 2, 6: 2, 7: 3, 8: 3}[kind]
			for who := range 3 {
				d := newDisk(t)
				d.reserve(kind)
				d.calm(who)
				want := scsi.Good
				if f[1+4*who+column] == "C" {
					want = scsi.ReservationConflict
				}
				if s := d.outOf(who, action, kind); s.Status != want {
					t.Errorf("%s beside %v from %d: %v, sense %X; want %v", strings.Join(f[13:], " "), kind, who, s.Status, s.Sense, want)
				}
			}
		}
	}
}

// outOf is a service action as a nexus would send it.
func (d *disk) outOf(who int, action byte, kind scsi.ReservationType) *sent {
	own := [3]uint64{1, 2, 0}[who]
	newKey := map[byte]uint64{0x00: 9, 0x04: 3 - own, 0x05: 3 - own, 0x06: 9, 0x07: 9}[action]
	list := reserveOutList(own, newKey)
	if action == 0x07 {
		to := scsi.TransportID{Name: "iqn.2026-11.test:fourth"}
		list = to.Append(list)
		list[19] = 1
		binary.BigEndian.PutUint32(list[20:], uint32(len(list)-24))
	}
	return d.do(who, []byte{0x5f, action, byte(kind), 0, 0, 0, 0, 0, byte(len(list)), 0}, list)
}
