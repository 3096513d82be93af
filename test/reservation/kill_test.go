package reservation

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/scsi"
	"github.com/isantarget/isantarget/test/daemon"
)

// A record is what the hosts know to be acknowledged: who is registered with which
// key, and who holds which reservation.
type record struct {
	keys   [3]uint64 // 0: not registered
	holder int
	kind   byte // 0: no reservation
}

func registrantsOnly(kind byte) bool { return kind >= 5 }
func allRegistrants(kind byte) bool  { return kind >= 7 }

func (r record) holds(n int) bool {
	return r.kind != 0 && r.keys[n] != 0 && (allRegistrants(r.kind) || r.holder == n)
}

// remove is r without the registration of n.
func (r record) remove(n int) record {
	held := r.holds(n)
	r.keys[n] = 0
	if held && (!allRegistrants(r.kind) || r.keys == [3]uint64{}) {
		r.kind = 0
	}
	return r
}

// after is r after o, which is in order, has come from host n.
func (r record) after(n int, o out) record {
	switch o.action {
	case registerAndIgnore:
		if o.newKey == 0 {
			return r.remove(n)
		}
		r.keys[n] = o.newKey
	case reserve:
		if r.kind == 0 {
			r.kind, r.holder = o.kind, n
		}
	case release:
		if r.holds(n) {
			r.kind = 0
		}
	case clearAll:
		return record{}
	case preempt, preemptAndAbort:
		victim := slices.Index(r.keys[:], o.newKey)
		takesOver := !allRegistrants(r.kind) && r.holds(victim)
		r = r.remove(victim)
		if takesOver {
			r.kind, r.holder = o.kind, n
		}
	}
	return r
}

// random is a service action that is in order for host n of r. Every key is new, so
// that none stands for two.
func (r record) random(n int, newKey uint64) out {
	kinds := []byte{1, 3, 5, 6, 7, 8}
	o := out{key: r.keys[n], kind: kinds[rand.IntN(len(kinds))], flags: aptpl}
	o.action, o.newKey = registerAndIgnore, newKey
	if r.keys[n] == 0 {
		return o
	}
	others := slices.DeleteFunc(slices.Clone(r.keys[:]), func(k uint64) bool { return k == 0 || k == r.keys[n] })
	switch rand.IntN(8) {
	case 0: // another key
	case 1:
		o.newKey = 0
	case 2:
		o.action = clearAll
	case 3:
		o.action = release
		if r.kind != 0 {
			o.kind = r.kind
		}
	case 4, 5:
		if len(others) > 0 {
			o.action, o.newKey = []byte{preempt, preemptAndAbort}[rand.IntN(2)], others[rand.IntN(len(others))]
		}
	default:
		if r.kind == 0 || r.holds(n) {
			o.action = reserve
			if r.kind != 0 {
				o.kind = r.kind
			}
		}
	}
	return o
}

// seen is the record as the daemon has it, from all that PERSISTENT RESERVE IN tells.
func seen(t *testing.T, hosts []*host) record {
	t.Helper()
	r := record{}
	var keys []uint64
	for _, x := range hosts[0].fullStatus() {
		n := slices.IndexFunc(hosts, func(h *host) bool { return h.id().String() == x.name })
		if n < 0 {
			t.Fatalf("READ FULL STATUS names %s", x.name)
		}
		r.keys[n] = x.key
		keys = append(keys, x.key)
		if x.holder {
			r.kind, r.holder = x.kind, n
		}
	}
	if got := hosts[0].keys(); !slices.Equal(got, keys) {
		t.Fatalf("READ KEYS has %X, READ FULL STATUS %X", got, keys)
	}
	key, kind := hosts[0].reservation()
	want := uint64(0)
	if r.kind != 0 && !allRegistrants(r.kind) {
		want = r.keys[r.holder]
	}
	if key != want || kind != r.kind {
		t.Fatalf("READ RESERVATION: key %X, type %X; READ FULL STATUS has %X, %X", key, kind, want, r.kind)
	}
	return r
}

// same tells whether two records mean the same; with all registrants nobody holds alone.
func (r record) same(o record) bool {
	if r.kind == 0 || allRegistrants(r.kind) {
		r.holder, o.holder = 0, 0
	}
	return r == o
}

// enforced holds the daemon to what r lets through.
func (r record) enforced(t *testing.T, hosts []*host) {
	t.Helper()
	for n, h := range hosts {
		h.calm()
		want := uint8(good)
		if r.kind != 0 && !r.holds(n) && !(registrantsOnly(r.kind) && r.keys[n] != 0) {
			want = reservationConflict
		}
		if got := h.write(byte(n), byte(n)); got != want {
			t.Fatalf("%+v: a write of host %d ends with %02Xh, want %02Xh", r, n, got, want)
		}
	}
}

// TestAcknowledgedReservationsSurviveSIGKILL_SPC4_5_13_5: three hosts change
// reservations one after the other, the daemon is killed at a random moment, and what
// the next one knows is what was acknowledged, or that and the change on its way.
func TestAcknowledgedReservationsSurviveSIGKILL_SPC4_5_13_5(t *testing.T) {
	kills := 250
	if testing.Short() {
		kills = 25
	}
	d := serve(t)
	hosts := newHosts(t, d, 3)
	acknowledged, newKey := record{}, uint64(0x1000)
	changes, pending := 0, 0
	for kill := range kills {
		killed := make(chan struct{})
		go func() {
			time.Sleep(time.Duration(rand.IntN(12000)) * time.Microsecond)
			d.Kill()
			close(killed)
		}()
		var may []record // what else may be there
		for may == nil {
			n := rand.IntN(len(hosts))
			newKey++
			o := acknowledged.random(n, newKey)
			r, err := hosts[n].c.Execute(o.command())
			switch {
			case err != nil: // it was on its way
				may = []record{acknowledged.after(n, o)}
			case r.Status == checkCondition:
				if key, code := r.SenseCode(); key != 6 {
					t.Fatalf("kill %d, %+v: host %d, %+v: %X/%04X", kill, acknowledged, n, o, key, code)
				}
			case r.Status != good:
				t.Fatalf("kill %d, %+v: host %d, %+v: status %02Xh", kill, acknowledged, n, o, r.Status)
			default:
				acknowledged = acknowledged.after(n, o)
				changes++
			}
		}
		<-killed
		d.Restart()
		for _, h := range hosts {
			h.up(d)
		}
		now := seen(t, hosts)
		if !now.same(acknowledged) {
			if !now.same(may[0]) {
				t.Fatalf("kill %d: acknowledged %+v, on its way %+v, and there is %+v", kill, acknowledged, may[0], now)
			}
			pending++
		}
		acknowledged = now
		if kill%10 == 0 {
			now.enforced(t, hosts)
		}
	}
	t.Logf("%d kills, %d changes acknowledged, %d changes there that were not", kills, changes, pending)
}

// TestReservationsWithoutAPTPLEndWithTheProcess_SPC4_5_13_5: the last APTPL decides,
// for all of them.
func TestReservationsWithoutAPTPLEndWithTheProcess_SPC4_5_13_5(t *testing.T) {
	d := serve(t)
	hosts := newHosts(t, d, 2)
	for n, flags := range []byte{aptpl, 0} {
		hosts[n].out(good, out{action: register, newKey: uint64(n + 1), flags: flags})
	}
	hosts[0].out(good, out{action: reserve, kind: writeExclusiveRegistrantsOnly, key: 1})
	restart(t, d, hosts)
	if keys := hosts[0].keys(); len(keys) != 0 {
		t.Errorf("after a restart with APTPL=0: %X", keys)
	}
	if status := hosts[1].write(0, 1); status != good {
		t.Errorf("a write: status %02Xh", status)
	}
}

func restart(t *testing.T, d *daemon.Daemon, hosts []*host) {
	t.Helper()
	d.Kill()
	d.Restart()
	for _, h := range hosts {
		h.up(d)
	}
}

// TestDamagedRecordKeepsTheDiskClosed: the daemon starts and says so, and nobody reaches
// a disk of which it is not known whom to keep out.
func TestDamagedRecordKeepsTheDiskClosed(t *testing.T) {
	state := t.TempDir()
	d := daemon.Start(t, daemon.Config{File: configuration(t, fmt.Sprintf(`
state = %q

[[portal-group]]
tag = 1
listen = ["127.0.0.1:%d"]

[[lun]]
name = "disk"
kind = "memory"
size = "16MiB"

[[target]]
name = %q
luns = { 0 = "disk" }
`, state, daemon.FreePort(t), daemon.Target))})
	hosts := newHosts(t, d, 1)
	hosts[0].out(good, out{action: register, newKey: 1, flags: aptpl})
	d.Kill()
	records, err := filepath.Glob(filepath.Join(state, "lu", "*", "reservation.json"))
	if err != nil || len(records) != 1 {
		t.Fatalf("records: %q, %v", records, err)
	}
	record, err := os.ReadFile(records[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(records[0], bytes.Replace(record, []byte("0001"), []byte("0002"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	d.Restart()
	if err := hosts[0].tryUp(d.Address()); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the first hears of the new nexus
		hosts[0].do(initiator.Command{CDB: make([]byte, 6)})
	}
	for name, c := range map[string]initiator.Command{
		"TEST UNIT READY":        {CDB: make([]byte, 6)},
		"WRITE":                  {CDB: []byte{0x2a, 8: 1, 9: 0}, Write: make([]byte, blockLength)},
		"PERSISTENT RESERVE IN":  {CDB: []byte{0x5e, 8: 8, 9: 0}, Read: 8},
		"PERSISTENT RESERVE OUT": out{action: register, newKey: 1}.command(),
	} {
		r := hosts[0].do(c)
		if key, code := r.SenseCode(); r.Status != checkCondition || key != 2 || scsi.SenseCode(code) != scsi.ASCLogicalUnitNotReadyManualInterventionRequired {
			t.Errorf("%s: status %02Xh, %X/%04X; want NOT READY, MANUAL INTERVENTION REQUIRED", name, r.Status, key, code)
		}
	}
	if log := d.Log(); !strings.Contains(log, "cannot be trusted") || !strings.Contains(log, "checksum") {
		t.Errorf("the log does not say why:\n%s", log)
	}
}

// TestReservationOfAHostThatDoesNotComeBack: after a restart the daemon has never seen
// the holder, and keeps the others out all the same, until one of them preempts it.
func TestReservationOfAHostThatDoesNotComeBack(t *testing.T) {
	d := serve(t)
	hosts := newHosts(t, d, 2)
	hosts[0].out(good, out{action: register, newKey: 1, flags: aptpl})
	hosts[0].out(good, out{action: reserve, kind: 3, key: 1})
	d.Kill()
	d.Restart()
	other := hosts[1]
	other.up(d)
	if status := other.write(0, 1); status != reservationConflict {
		t.Fatalf("a write beside an exclusive access of an absent host: status %02Xh", status)
	}
	other.out(good, out{action: register, newKey: 2, flags: aptpl})
	other.out(good, out{action: preempt, kind: 3, key: 2, newKey: 1})
	if key, kind := other.reservation(); key != 2 || kind != 3 {
		t.Errorf("after PREEMPT: key %X, type %X", key, kind)
	}
	if got, want := fmt.Sprintf("%X", other.keys()), "[2]"; got != want {
		t.Errorf("after PREEMPT: keys %s", got)
	}
}
