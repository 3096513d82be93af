package scsi

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// port is a target port of the tests.
var port = &TargetPort{Device: "iqn.2026-11.test:disk", Group: 1, RelativeID: 1}

func newPortNexus(name string, isid byte, p *TargetPort) *Nexus {
	return &Nexus{Initiator: TransportID{Name: name, ISID: [6]byte{0x80, 5: isid}}, TargetPort: p}
}

// by is a command of n, as far as the methods of reservations see one.
func by(n *Nexus) *Command { return &Command{Nexus: n} }

// mustRegister registers n with key and APTPL.
func mustRegister(t testing.TB, lu *LogicalUnit, n *Nexus, key uint64) {
	t.Helper()
	if err := lu.Register(by(n), RegisterRequest{NewKey: key, IgnoreKey: true, ThroughLoss: lu.keeper != nil}); err != nil {
		t.Fatal(err)
	}
}

func mustReserve(t testing.TB, lu *LogicalUnit, n *Nexus, key uint64, kind ReservationType) {
	t.Helper()
	if err := lu.PersistentReserve(by(n), key, kind); err != nil {
		t.Fatal(err)
	}
}

func reservationRows() []Operation {
	var rows []Operation
	for i, how := range []Conflict{ConflictAlways, ConflictOnWrite, ConflictOnAnyReserve, ConflictUnlessRegistered} {
		r := row(byte(i), Inline, good)
		r.Conflict = how
		if how >= ConflictOnAnyReserve {
			r.Traits |= WithoutMedium
		}
		rows = append(rows, r)
	}
	return rows
}

// The rows of reservationRows.
const (
	writeRow = iota
	readRow
	reserveInRow
	reserveOutRow
)

// TestRegistrationIsOfTheNames: a nexus that is another object, but has the names of one
// that is registered, is that one: after a restart, and after its port has forgotten it.
func TestRegistrationIsOfTheNames_SPC4_5_13_7(t *testing.T) {
	keeper := &fakeKeeper{}
	a, b := newPortNexus("iqn.a", 1, port), newPortNexus("iqn.b", 1, port)
	lu := newUnit(t, &fakeDevice{rows: reservationRows()}, keeper, a, b)
	mustRegister(t, lu, a, 1)
	mustReserve(t, lu, a, 1, ExclusiveAccess)
	do(t, lu, b, readRow, 0, 0, 0, 0, 0).wantStatus(t, ReservationConflict)
	again := newUnit(t, &fakeDevice{rows: reservationRows()}, keeper)
	do(t, again, b, readRow, 0, 0, 0, 0, 0).wantStatus(t, ReservationConflict) // whoever it is
	same := *port
	returned, otherISID, otherPort := newPortNexus("iqn.a", 1, &same), newPortNexus("iqn.a", 2, &same), newPortNexus("iqn.a", 1, &TargetPort{Device: port.Device, Group: 2, RelativeID: 2})
	for n, want := range map[*Nexus]Status{returned: Good, otherISID: ReservationConflict, otherPort: ReservationConflict} {
		again.Attach(n)
		again.TakeAttention(n)
		do(t, again, n, writeRow, 0, 0, 0, 0, 0).wantStatus(t, want)
	}
	r := again.Reservations()
	if r.Generation != 0 || !r.ThroughLoss || r.Type != ExclusiveAccess || len(r.Registrations) != 1 {
		t.Fatalf("after a restart: %+v", r)
	}
	if x := r.Registrations[0]; !x.Attached || x.InitiatorHasReturned || !x.Holder || x.Key != 1 || x.TargetPort != *port || r.Holder() == nil {
		t.Errorf("the registration: %+v", x)
	}
	again.NexusLost(returned)
	if x := again.Reservations().Registrations[0]; x.Attached || !x.InitiatorHasReturned {
		t.Errorf("the initiator is here under another ISID: %+v", x)
	}
	if again.Forget(returned) {
		t.Error("a nexus with a registration is forgotten")
	}
	mustRegister(t, again, returned, 0)
	if !again.Forget(returned) {
		t.Error("a nexus without a registration is not forgotten")
	}
}

// TestRecordThatCannotBeWritten: the change does not happen, and the initiator hears so.
func TestRecordThatCannotBeWritten_SPC4_5_13_5(t *testing.T) {
	keeper := &fakeKeeper{}
	a, b := newPortNexus("iqn.a", 1, port), newPortNexus("iqn.b", 1, port)
	lu := newUnit(t, &fakeDevice{rows: reservationRows()}, keeper, a, b)
	mustRegister(t, lu, a, 1)
	mustRegister(t, lu, b, 2)
	mustReserve(t, lu, a, 1, WriteExclusiveRegistrantsOnly)
	before := lu.Reservations()
	record := keeper.records[lu.Identity.Serial+"/reservation"]
	keeper.fail = errStore
	for name, change := range map[string]func() error{
		"REGISTER":          func() error { return lu.Register(by(b), RegisterRequest{Key: 2, NewKey: 3, ThroughLoss: true}) },
		"REGISTER, APTPL=0": func() error { return lu.Register(by(b), RegisterRequest{Key: 2, NewKey: 3}) },
		"unregister":        func() error { return lu.Register(by(a), RegisterRequest{Key: 1, ThroughLoss: true}) },
		"RELEASE":           func() error { return lu.PersistentRelease(by(a), 1, WriteExclusiveRegistrantsOnly, true) },
		"CLEAR":             func() error { return lu.PersistentClear(by(a), 1) },
		"PREEMPT":           func() error { return lu.Preempt(by(b), PreemptRequest{Key: 2, Victim: 1, Type: 1, WholeUnit: true}) },
		"PREEMPT AND ABORT": func() error {
			return lu.Preempt(by(b), PreemptRequest{Key: 2, Victim: 1, Type: 1, WholeUnit: true, Abort: true})
		},
		"the operator's own": lu.ClearReservations,
	} {
		if err := change(); !errors.Is(err, errStore) {
			t.Errorf("%s: %v, want the error of the keeper", name, err)
		}
		if after := lu.Reservations(); fmt.Sprint(after) != fmt.Sprint(before) {
			t.Errorf("%s has changed %+v to %+v", name, before, after)
		}
		for _, n := range []*Nexus{a, b} {
			if s := lu.TakeAttention(n); s != nil {
				t.Errorf("%s: %v hears %v", name, n.Initiator, s)
			}
		}
	}
	if !bytes.Equal(record, keeper.records[lu.Identity.Serial+"/reservation"]) {
		t.Error("the record has changed")
	}
}

// TestRecordIsWrittenFirst: no command meets a change that might not outlive the process.
func TestRecordIsWrittenFirst(t *testing.T) {
	a, b := newPortNexus("iqn.a", 1, port), newPortNexus("iqn.b", 1, port)
	keeper := &watchingKeeper{}
	lu := newUnit(t, &fakeDevice{rows: reservationRows()}, keeper, a, b)
	mustRegister(t, lu, a, 1)
	keeper.saving = func() {
		if lu.Reservations().Type != 0 {
			t.Error("the reservation is there before it is recorded")
		}
		do(t, lu, b, writeRow, 0, 0, 0, 0, 0).wantStatus(t, Good) // and nobody waits for the record
	}
	mustReserve(t, lu, a, 1, WriteExclusive)
	do(t, lu, b, writeRow, 0, 0, 0, 0, 0).wantStatus(t, ReservationConflict)
	if keeper.saves != 2 {
		t.Errorf("%d records, want 2", keeper.saves)
	}
}

type watchingKeeper struct {
	fakeKeeper
	saving func()
	saves  int
}

func (k *watchingKeeper) Save(id Identity, kind string, record []byte) error {
	k.saves++
	if k.saving != nil {
		k.saving()
	}
	return k.fakeKeeper.Save(id, kind, record)
}

// TestNothingIsRecordedWithoutAPTPL: who does not ask for it does not wait for it.
func TestNothingIsRecordedWithoutAPTPL_SPC4_5_13_5(t *testing.T) {
	keeper := &watchingKeeper{}
	a := newPortNexus("iqn.a", 1, port)
	lu := newUnit(t, &fakeDevice{}, keeper, a)
	if err := lu.Register(by(a), RegisterRequest{NewKey: 1}); err != nil {
		t.Fatal(err)
	}
	mustReserve(t, lu, a, 1, WriteExclusive)
	if keeper.saves != 0 {
		t.Errorf("%d records without APTPL", keeper.saves)
	}
	if err := lu.Register(by(a), RegisterRequest{Key: 1, NewKey: 2, ThroughLoss: true}); err != nil || keeper.saves != 1 {
		t.Errorf("APTPL=1: %v, %d records", err, keeper.saves)
	}
	if err := lu.Register(by(a), RegisterRequest{Key: 2, NewKey: 3}); err != nil || keeper.saves != 2 {
		t.Errorf("APTPL=0: %v, %d records, the last of which says that nothing is to be kept", err, keeper.saves)
	}
	if r := newUnit(t, &fakeDevice{}, keeper).Reservations(); len(r.Registrations) != 0 || r.Type != 0 || r.ThroughLoss {
		t.Errorf("after a restart: %+v", r)
	}
	without := newUnit(t, &fakeDevice{}, nil, a)
	if err := without.Register(by(a), RegisterRequest{NewKey: 1, ThroughLoss: true}); !strings.Contains(fmt.Sprint(err), "byte 20 bit 0") {
		t.Errorf("APTPL=1 where nothing can be kept: %v", err)
	}
}

// damaged are records that must not be trusted.
func damaged(t *testing.T, whole []byte) map[string][]byte {
	t.Helper()
	edit := func(old, with string) []byte {
		if !bytes.Contains(whole, []byte(old)) {
			t.Fatalf("the record has no %s: %s", old, whole)
		}
		return bytes.Replace(whole, []byte(old), []byte(with), 1)
	}
	return map[string][]byte{
		"empty":           {},
		"half of it":      whole[:len(whole)/2],
		"zeros":           make([]byte, len(whole)),
		"another key":     edit("0000000000000001", "0000000000000002"),
		"another version": edit(`"version":1`, `"version":2`),
		"no reservations": []byte(`{"version":1}`),
		"nothing":         []byte("null"),
	}
}

// TestDamagedRecord: the unit that does not know whom to keep out lets nobody in, until
// the operator says so.
func TestDamagedRecord(t *testing.T) {
	good := &fakeKeeper{}
	a := newPortNexus("iqn.a", 1, port)
	lu := newUnit(t, &fakeDevice{}, good, a)
	mustRegister(t, lu, a, 1)
	mustReserve(t, lu, a, 1, WriteExclusive)
	name := lu.Identity.Serial + "/reservation"
	for what, record := range damaged(t, good.records[name]) {
		keeper := &fakeKeeper{records: map[string][]byte{name: record}}
		lu := newUnit(t, &fakeDevice{rows: reservationRows()}, keeper, a)
		if lost := lu.Reservations().Lost; lost == nil {
			t.Errorf("%s: nothing is lost", what)
			continue
		}
		for opcode := range byte(4) {
			do(t, lu, a, opcode, 0, 0, 0, 0, 0).wantSense(t, KeyNotReady, ASCLogicalUnitNotReadyManualInterventionRequired)
		}
		if err := lu.Register(by(a), RegisterRequest{NewKey: 1}); err == nil {
			t.Errorf("%s: an initiator can register", what)
		}
		keeper.fail = errStore
		if err := lu.ClearReservations(); !errors.Is(err, errStore) || lu.Reservations().Lost == nil {
			t.Errorf("%s: cleared, but not recorded: %v", what, err)
		}
		keeper.fail = nil
		if err := lu.ClearReservations(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		do(t, lu, a, writeRow, 0, 0, 0, 0, 0).wantStatus(t, Good)
		if r := newUnit(t, &fakeDevice{}, keeper).Reservations(); r.Lost != nil {
			t.Errorf("%s: after it was cleared and a restart: %v", what, r.Lost)
		}
	}
}

func TestOperatorClears(t *testing.T) {
	keeper := &fakeKeeper{}
	a, b := newPortNexus("iqn.a", 1, port), newPortNexus("iqn.b", 1, port)
	lu := newUnit(t, &fakeDevice{rows: reservationRows()}, keeper, a, b)
	mustRegister(t, lu, a, 1)
	mustReserve(t, lu, a, 1, ExclusiveAccess)
	do(t, lu, b, reserveInRow, 0, 0, 0, 0, 0).wantStatus(t, Good)
	do(t, lu, b, reserveOutRow, 0, 0, 0, 0, 0).wantStatus(t, ReservationConflict)
	if err := lu.ClearReservations(); err != nil {
		t.Fatal(err)
	}
	do(t, lu, a, writeRow, 0, 0, 0, 0, 0).wantSense(t, KeyUnitAttention, ASCReservationsPreempted)
	do(t, lu, b, writeRow, 0, 0, 0, 0, 0).wantStatus(t, Good)
	if r := newUnit(t, &fakeDevice{}, keeper).Reservations(); len(r.Registrations) != 0 || r.Type != 0 {
		t.Errorf("after a restart: %+v", r)
	}
	if err := lu.Reserve(a, true); err != nil {
		t.Fatal(err)
	}
	if err := lu.ClearReservations(); err != nil || lu.ReservedBy() != nil {
		t.Errorf("RESERVE: %v, held by %v", err, lu.ReservedBy())
	}
}

// TestRegistrationsAreBounded: SPEC_I_PT registers whom nobody has seen.
func TestRegistrationsAreBounded(t *testing.T) {
	a := newPortNexus("iqn.a", 1, port)
	lu := newUnit(t, &fakeDevice{}, nil, a)
	mustRegister(t, lu, a, 1)
	q := RegisterRequest{NewKey: 1, Specified: true}
	for i := range maxRegistrations - 1 {
		q.Initiators = append(q.Initiators, InitiatorPort{TransportID: TransportID{Name: fmt.Sprintf("iqn.%d", i)}})
	}
	b, c := newPortNexus("iqn.b", 1, port), newPortNexus("iqn.c", 1, port)
	lu.Attach(b)
	lu.Attach(c)
	var sense *Sense
	if err := lu.Register(by(b), q); !errors.As(err, &sense) || sense.Code != ASCInsufficientRegistrationResources {
		t.Errorf("one registration too many: %v", err)
	}
	if n := len(lu.Reservations().Registrations); n != 1 {
		t.Errorf("of a command that failed %d registrations are left", n-1)
	}
	q.Initiators = q.Initiators[1:]
	if err := lu.Register(by(b), q); err != nil {
		t.Errorf("as many as there may be: %v", err)
	}
	if err := lu.Register(by(c), RegisterRequest{NewKey: 1}); !errors.As(err, &sense) || sense.Code != ASCInsufficientRegistrationResources {
		t.Errorf("one more: %v", err)
	}
}

// TestReserveWaitsForNoRecord: RESERVE, which must not block the reader of a connection,
// gives way to a change that is being recorded.
func TestReserveDoesNotBlock(t *testing.T) {
	a, b := newPortNexus("iqn.a", 1, port), newPortNexus("iqn.b", 1, port)
	keeper := &watchingKeeper{}
	lu := newUnit(t, &fakeDevice{}, keeper, a, b)
	keeper.saving = func() {
		if err := lu.Reserve(b, false); err != ErrWouldBlock {
			t.Errorf("RESERVE: %v, want ErrWouldBlock", err)
		}
	}
	mustRegister(t, lu, a, 1)
	if err := lu.Reserve(b, true); err != ReservationConflict {
		t.Errorf("RESERVE after that: %v", err)
	}
}

// TestReservationsCostNoAllocation: not when there are any, and not when they refuse.
func TestReservationsCostNoAllocation(t *testing.T) {
	a, b := newPortNexus("iqn.a", 1, port), newPortNexus("iqn.b", 1, port)
	lu := newUnit(t, &fakeDevice{rows: reservationRows()}, nil, a, b)
	mustRegister(t, lu, a, 1)
	mustReserve(t, lu, a, 1, WriteExclusiveRegistrantsOnly)
	cdb := CDB{writeRow}
	op := lu.table.find(cdb)
	for n, want := range map[*Nexus]error{a: nil, b: ReservationConflict} {
		var got error
		allocations := testing.AllocsPerRun(100, func() { got = lu.reservations.Load().refuse(op, n, cdb) })
		if allocations != 0 || got != want {
			t.Errorf("%v: %v allocations, %v", n.Initiator, allocations, got)
		}
	}
}

func TestTransportID_SPC4_7_6_4_6(t *testing.T) {
	id := TransportID{Name: "iqn.2026-11.org.example:host", ISID: [6]byte{0x80, 1, 2, 3, 4, 5}}
	b := id.Append(nil)
	if b[0] != 0x45 || b[1] != 0 || len(b)%4 != 0 || int(b[3]) != len(b)-4 || b[len(b)-1] != 0 || !bytes.Contains(b, []byte("host,i,0x800102030405\x00")) {
		t.Errorf("%q", b)
	}
	if short := (TransportID{Name: "a"}).Append(nil); len(short) != 24 {
		t.Errorf("a short name: %X", short)
	}
	for n := 1; n <= maxISCSIName; n++ {
		long := TransportID{Name: strings.Repeat("x", n), ISID: id.ISID}
		b := append(long.Append(nil), "behind it"...)
		if got, length, err := ParseTransportID(b, 0); err != nil || got.TransportID != long || got.AnyISID || length != len(b)-9 {
			t.Fatalf("a name of %d bytes: %+v, %d, %v", n, got, length, err)
		}
	}
	field := func(b string) []byte {
		return append([]byte{b[0], 0, 0, 20}, []byte(b[1:]+strings.Repeat("\x00", 21-len(b)))...)
	}
	for text, want := range map[string]InitiatorPort{
		"\x05iqn.Host":           {TransportID: TransportID{Name: "iqn.host"}, AnyISID: true},
		"\x45iqn.h,i,0x23d":      {TransportID: TransportID{Name: "iqn.h", ISID: [6]byte{4: 2, 5: 0x3d}}},
		"\x45h,i,0x80010203AbcD": {TransportID: TransportID{Name: "h", ISID: [6]byte{0x80, 1, 2, 3, 0xab, 0xcd}}},
	} {
		if got, _, err := ParseTransportID(field(text), 0); err != nil || got != want {
			t.Errorf("%q: %+v, %v; want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"\x45iqn.h", "\x45iqn.h,i,0x", "\x45iqn.h,i,0xzz", "\x45,i,0x1", "\x05", "\x85iqn.h", "\x06iqn.h", "\x05a b", "\x05\xff", "\x45h,i,0x1234567890123"} {
		if got, _, err := ParseTransportID(field(text), 0); err == nil {
			t.Errorf("%q: %+v", text, got)
		}
	}
	for n := range len(b) {
		if _, _, err := ParseTransportID(b[:n], 0); err == nil {
			t.Errorf("the first %d bytes of %d pass", n, len(b))
		}
	}
	if !slices.Equal(b, id.Append(nil)) {
		t.Error("ParseTransportID has changed its input")
	}
}

func FuzzParseTransportID(f *testing.F) {
	f.Add((TransportID{Name: "iqn.2026-11.org.example:host"}).Append(nil))
	f.Add([]byte("\x05\x00\x00\x14iqn.host\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		port, n, err := ParseTransportID(b, 24)
		if err != nil {
			return
		}
		if n > len(b) || port.Name == "" {
			t.Fatalf("%d of %d bytes, %+v", n, len(b), port)
		}
		if again, _, err := ParseTransportID(port.Append(nil), 0); err != nil || !port.AnyISID && again != port {
			t.Fatalf("%+v comes back as %+v, %v", port, again, err)
		}
	})
}

func FuzzUnrecord(f *testing.F) {
	p := persistent{throughLoss: true, kind: WriteExclusive, registrations: []registration{{registrant: registrant{initiator: TransportID{Name: "iqn.a"}}, key: 1, holder: true}}}
	record, err := p.record()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(record)
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := unrecord(b)
		if err != nil {
			return
		}
		again, err := p.record()
		if err != nil {
			t.Fatal(err)
		}
		if q, err := unrecord(again); err != nil || p.throughLoss && fmt.Sprint(q) != fmt.Sprint(p) {
			t.Fatalf("%+v comes back as %+v, %v", p, q, err)
		}
	})
}
