package provision

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/iscsi"
)

// load waits until what is told of the load is what is wanted: a command is counted a
// moment after its answer.
func (d *daemon) load(t *testing.T, want func(LoadStatus) bool) LoadStatus {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		l, err := d.Counters()
		if err != nil {
			t.Fatal(err)
		}
		if want(l) {
			return l
		}
		if time.Now().After(deadline) {
			t.Fatalf("the load does not come to what is wanted: %+v", l)
		}
	}
}

func (l LoadStatus) lun(name string) Load {
	for _, one := range l.LUNs {
		if one.Name == name {
			return one.Load
		}
	}
	return Load{}
}

// TestLoad: what is told is what was done, over a LUN that is opened anew, a logout, and
// a target that is taken out.
func TestLoad(t *testing.T) {
	dir := t.TempDir()
	d := start(t, dir, inventory("a", "b"))
	c := d.mustLogin(t, alice, nil)
	for range 3 {
		writeBlock(t, c, 0, 7)
	}
	for range 5 {
		readBlock(t, c, 0)
	}
	read := initiator.Command{CDB: []byte{0x28, 0, 0xff, 0, 0, 0, 0, 0, 1, 0}, Read: 512}
	if key, _ := do(t, c, read).SenseCode(); key != 5 {
		t.Fatalf("a read behind the end: sense key %x", key)
	}
	l := d.load(t, func(l LoadStatus) bool {
		all := []Load{l.lun("a"), l.Total}
		for _, s := range l.Sessions {
			all = append(all, s.Load)
		}
		for _, one := range l.Targets {
			all = append(all, one.Load)
		}
		return !slices.ContainsFunc(all, func(o Load) bool { return o.Read.Operations < 6 || o.Write.Operations < 4 || o.Open > 0 })
	})
	// POWER ON has ended one command with UNIT ATTENTION, a write since that came first.
	a := l.lun("a")
	if a.Write.Operations != 4 || a.Write.Errors != 1 || a.Write.Bytes != 4*512 || a.Read.Operations != 6 || a.Read.Bytes != 5*512 || a.Read.Errors != 1 || a.Other.Operations != 0 || a.Open != 0 {
		t.Errorf("LUN a: %+v", a)
	}
	if len(a.Failures) != 2 || a.Failures["UNIT ATTENTION"] != 1 || a.Failures["ILLEGAL REQUEST"] != 1 {
		t.Errorf("failures %v", a.Failures)
	}
	for _, s := range []StreamLoad{a.Read, a.Write} {
		n := uint64(0)
		for _, b := range s.Durations {
			n += b
		}
		if n != s.Operations || len(s.Durations) != len(l.Bounds)+1 || s.Store <= 0 || s.Network <= 0 || s.Queue < 0 {
			t.Errorf("%+v", s)
		}
	}
	if b := l.lun("b"); b.Read.Operations+b.Write.Operations+b.Other.Operations != 0 {
		t.Errorf("LUN b: %+v", b)
	}
	if len(l.Sessions) != 1 || len(l.Targets) != 1 || l.Sessions[0].Initiator != alice || l.Sessions[0].Target != name || l.Targets[0].Name != name {
		t.Fatalf("%+v", l)
	}
	for _, o := range []Load{l.Sessions[0].Load, l.Targets[0].Load, l.Total} {
		if o.Read.Operations != 6 || o.Write.Operations != 4 || o.Read.Bytes != 5*512 || o.Failures["ILLEGAL REQUEST"] != 1 || o.Other.Operations != 0 {
			t.Errorf("%+v", o)
		}
	}

	// The LUN is opened anew, and goes on counting.
	d.apply(t, dir, strings.Replace(inventory("a", "b"), "size = \"1MiB\"\n", "size = \"1MiB\"\nremovable = true\n", 1))
	readBlock(t, c, 0)
	d.load(t, func(l LoadStatus) bool { a := l.lun("a").Read; return a.Operations-a.Errors == 6 })

	// The session's counters go with it, the others stay.
	if _, err := c.Logout(iscsi.CloseSession, 0); err != nil {
		t.Fatal(err)
	}
	d.load(t, func(l LoadStatus) bool { return len(l.Sessions) == 0 && l.Targets[0].Read.Operations >= 7 })
	before := d.load(t, func(LoadStatus) bool { return true })
	d.apply(t, dir, inventory("b"))
	if l := d.load(t, func(l LoadStatus) bool { return len(l.LUNs) == 1 }); l.Total.Read.Operations != before.Total.Read.Operations || l.Uptime <= before.Uptime {
		t.Errorf("total %+v\nbefore %+v", l.Total, before.Total)
	}
}

// TestLoad_Phases: the time in which a command waits for its initiator, behind others or
// for the store is told as that.
func TestLoad_Phases(t *testing.T) {
	const delay = 300 * time.Millisecond
	read1 := []byte{0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0}
	dir := t.TempDir()
	text := strings.Replace(inventory("a", "b"), "size = \"1MiB\"\n", "size = \"1MiB\"\n[[lun.layer]]\nkind = \"fault\"\nfaults = [\"delay=300ms on=read\"]\n", 1)
	d := start(t, dir, text)
	c := d.mustLogin(t, alice, nil)
	for lun := range uint8(2) {
		ready(t, c, lun)
	}

	// The store of a takes its time to read, and that is none of another phase.
	began := time.Now()
	if r := do(t, c, initiator.Command{CDB: read1, Read: 512}); r.Status != 0 {
		t.Fatalf("%+v", r)
	}
	l := d.load(t, func(l LoadStatus) bool { return l.lun("a").Read.Operations == 1 })
	if a, most := l.lun("a").Read, int64(time.Since(began)); a.Store < int64(delay) || a.Queue+a.Store+a.Network > most {
		t.Errorf("the read was in the store for %v at least, and ended after %d ns: %+v", delay, most, a)
	}

	// The initiator owes b data of an ORDERED command, and another one waits behind it.
	zero := 0
	owing, err := c.Start(initiator.Command{LUN: initiator.LUN(1), CDB: []byte{0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0}, Write: make([]byte, 512),
		Attribute: iscsi.AttributeOrdered, HoldData: true, ImmediateData: &zero, UnsolicitedData: &zero})
	if err != nil {
		t.Fatal(err)
	}
	if err := owing.WaitR2T(1); err != nil {
		t.Fatal(err)
	}
	behind, err := c.Start(initiator.Command{LUN: initiator.LUN(1), CDB: read1, Read: 512})
	if err != nil {
		t.Fatal(err)
	}
	d.load(t, func(l LoadStatus) bool {
		return l.lun("b").Open == 2 && l.Total.Open == 2 && l.Sessions[0].Open == 2 && l.Targets[0].Open == 2
	})
	time.Sleep(delay)
	if err := owing.Answer(owing.R2Ts[0]); err != nil {
		t.Fatal(err)
	}
	for _, task := range []*initiator.Task{owing, behind} {
		if r, err := task.Wait(); err != nil || r.Status != 0 {
			t.Fatalf("%+v, %v", r, err)
		}
	}
	l = d.load(t, func(l LoadStatus) bool { b := l.lun("b"); return b.Write.Operations == 1 && b.Read.Operations == 1 })
	if b := l.lun("b"); b.Write.Network < int64(delay) || b.Read.Queue < int64(delay) {
		t.Errorf("the write waited %v for its data, and the read behind it: %+v", delay, b)
	}
}
