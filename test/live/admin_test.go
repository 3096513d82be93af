package live

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/isantarget/isantarget/admin"
	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/iscsi"
	"github.com/isantarget/isantarget/provision"
	"github.com/isantarget/isantarget/test/daemon"
)

// TestLogout: the initiator is asked, and closed if it does not listen; others are not.
func TestLogout_RFC7143_11_9_1(t *testing.T) {
	r := start(t, rule{alice, []string{"a"}}, rule{bob, []string{"b"}})
	w := work(t, r.login(alice, iscsi.ISID{0x80, 1}), 2)
	for _, listens := range []bool{true, false} {
		c := r.login(bob, iscsi.ISID{0x80, 2})
		left := make(chan error, 1)
		go func() {
			for len(c.Async) == 0 {
				if err := c.Pump(); err != nil {
					left <- err
					return
				}
			}
			if c.Async[0].Event != iscsi.AsyncLogoutRequest {
				left <- fmt.Errorf("asynchronous event %v", c.Async[0].Event)
				return
			}
			if listens {
				_, err := c.Logout(iscsi.CloseSession, 0)
				left <- err
				return
			}
			left <- c.WaitClosed()
		}()
		status, printed := r.command("session logout", fmt.Sprint(c.Session.TSIH))
		if status != 0 || printed != "" {
			t.Errorf("listens %v: status %d\n%s", listens, status, printed)
		}
		if err := <-left; err != nil {
			t.Errorf("listens %v: %v", listens, err)
		}
		if status, printed := r.command("session logout", fmt.Sprint(c.Session.TSIH)); status != 1 || !strings.Contains(printed, fmt.Sprintf("there is no session %d", c.Session.TSIH)) {
			t.Errorf("once more: status %d\n%s", status, printed)
		}
	}
	w.finish(t)
}

// TestLists: the tables and the JSON show what is there.
func TestLists(t *testing.T) {
	r := start(t, rule{alice, []string{"a"}})
	c := r.login(alice, iscsi.ISID{0x80, 1})
	for noun, want := range map[string][]string{
		"session":     {"TSIH", alice, "0x800100000000", daemon.Target, "rule 1", c.LocalAddr().String()},
		"lun":         {"a", "8.0 MiB", "file", r.image("a"), "1:optimized", "ready"},
		"target":      {daemon.Target, fmt.Sprintf("127.0.0.1:%d,1", r.port), "0=a", "1 rules"},
		"reservation": {"nothing is reserved"},
	} {
		status, printed := r.command(noun + " list")
		if status != 0 {
			t.Errorf("%s list: status %d\n%s", noun, status, printed)
		}
		for _, w := range want {
			if !strings.Contains(printed, w) {
				t.Errorf("%s list lacks %q:\n%s", noun, w, printed)
			}
		}
		status, printed = r.command(noun+" list", "--json")
		var all []map[string]any
		if err := json.Unmarshal([]byte(printed), &all); status != 0 || err != nil || len(all) != 1 {
			t.Errorf("%s list --json: status %d, %v, %d entries\n%s", noun, status, err, len(all), printed)
		}
	}
	if status, printed := daemon.Run(t, "session", "list", "--state", r.state()); status != 0 || !strings.Contains(printed, alice) {
		t.Errorf("found by --state: status %d\n%s", status, printed)
	}
	if status, printed := daemon.Run(t, "lun", "list", "--state", t.TempDir()); status != 1 || !strings.Contains(printed, "no daemon answers at") || strings.Count(printed, "\n") != 1 {
		t.Errorf("without a daemon: status %d\n%s", status, printed)
	}
}

// register is PERSISTENT RESERVE OUT, REGISTER AND IGNORE EXISTING KEY.
func register(t *testing.T, c *initiator.Connection, key uint64) {
	t.Helper()
	p := make([]byte, 24)
	binary.BigEndian.PutUint64(p[8:], key)
	if r := execute(t, c, initiator.Command{CDB: []byte{0x5f, 6, 0, 0, 0, 0, 0, 0, 24, 0}, Write: p}); r.Status != 0 {
		t.Fatalf("PERSISTENT RESERVE OUT: %02x, % x", r.Status, r.Sense)
	}
}

// TestStaleRegistration: an initiator that comes back under another ISID leaves its
// registration behind, which is shown as such and can be cleared.
func TestStaleRegistration(t *testing.T) {
	r := start(t, rule{alice, []string{"a"}}, rule{bob, []string{"a"}})
	first := r.login(alice, iscsi.ISID{0x80, 1})
	attentions(t, first, 1)
	register(t, first, 0xa1)
	b := r.login(bob, iscsi.ISID{0x80, 5})
	attentions(t, b, 1)
	register(t, b, 0xb0b)
	if r := execute(t, first, initiator.Command{CDB: []byte{0x5f, 1, 5, 0, 0, 0, 0, 0, 24, 0}, Write: append([]byte{0, 0, 0, 0, 0, 0, 0, 0xa1}, make([]byte, 16)...)}); r.Status != 0 {
		t.Fatalf("RESERVE: %02x, % x", r.Status, r.Sense)
	}
	if _, printed := r.command("reservation list"); strings.Contains(printed, "stale") || !strings.Contains(printed, "0x00000000000000a1  holder") || !strings.Contains(printed, "Write Exclusive - Registrants Only") {
		t.Errorf("reservation list:\n%s", printed)
	}
	if _, err := first.Logout(iscsi.CloseSession, 0); err != nil {
		t.Fatal(err)
	}
	if _, printed := r.command("reservation list"); !strings.Contains(printed, "holder, no session") || strings.Contains(printed, "stale") {
		t.Errorf("while alice is away:\n%s", printed)
	}
	again := r.login(alice, iscsi.ISID{0x80, 2})
	attentions(t, again, 1)
	if _, printed := r.command("reservation list"); !strings.Contains(printed, "holder, no session, stale: came back as ISID 0x800200000000") {
		t.Errorf("when alice is back under another ISID:\n%s", printed)
	}
	if w := execute(t, again, initiator.Command{CDB: rw(0x2a, 0, 1), Write: pattern(0, 0)}); w.Status != 0x18 {
		t.Errorf("a write of the port that is not registered: status %02x, want RESERVATION CONFLICT", w.Status)
	}
	if status, printed := r.command("reservation clear", "a"); status != 0 || printed != "" {
		t.Errorf("reservation clear: status %d\n%s", status, printed)
	}
	if got := attentions(t, b, 1); len(got) != 1 || got[0] != "0:2a03" {
		t.Errorf("bob, who was registered, hears %q, want RESERVATIONS PREEMPTED", got)
	}
	if w := execute(t, again, initiator.Command{CDB: rw(0x2a, 0, 1), Write: pattern(0, 0)}); w.Status != 0 {
		t.Errorf("a write after it: status %02x", w.Status)
	}
	if status, printed := r.command("reservation clear", "b"); status != 1 || !strings.Contains(printed, `there is no LUN "b"`) {
		t.Errorf("of a LUN that is not there: status %d\n%s", status, printed)
	}
}

// TestAccessState: the operator changes a path, and the initiator hears of it.
func TestAccessState(t *testing.T) {
	r := start(t, rule{alice, []string{"a"}})
	c := r.login(alice, iscsi.ISID{0x80, 1})
	attentions(t, c, 1)
	if status, printed := r.command("lun access-state", "a", "1", "standby"); status != 0 {
		t.Fatalf("status %d\n%s", status, printed)
	}
	result := execute(t, c, initiator.Command{CDB: rw(0x28, 0, 1), Read: block})
	if key, code := result.SenseCode(); key != 6 || code != 0x2a06 {
		t.Errorf("first %x/%04x, want ASYMMETRIC ACCESS STATE CHANGED", key, code)
	}
	result = execute(t, c, initiator.Command{CDB: rw(0x28, 0, 1), Read: block})
	if key, code := result.SenseCode(); key != 2 || code != 0x040b {
		t.Errorf("then %x/%04x, want TARGET PORT IN STANDBY STATE", key, code)
	}
	for words, want := range map[string]string{
		"a 1 asleep":  `there is no access state "asleep"; known: optimized, non-optimized, standby, unavailable`,
		"a 9 standby": "there is no target port group 9; known: 1",
		"a x standby": `"x" is not the number of a target port group`,
		"b 1 standby": `there is no LUN "b"`,
		"a 1":         "wants 3 arguments: isantarget lun access-state NAME GROUP STATE",
	} {
		if status, printed := r.command("lun access-state", strings.Fields(words)...); status != 1 || !strings.Contains(printed, want) {
			t.Errorf("%s: status %d, want %q:\n%s", words, status, want, printed)
		}
	}
}

// TestSocketOfTheDaemon: only for its owner and group; one that a killed daemon has
// left is no obstacle, and a stopped one leaves none.
func TestSocketOfTheDaemon(t *testing.T) {
	r := start(t, rule{alice, []string{"a"}})
	info, err := os.Stat(r.socket())
	if err != nil || info.Mode() != fs.ModeSocket|0o660 {
		t.Errorf("%v, %v, want a socket with mode 0660", info, err)
	}
	r.Kill()
	if _, err := os.Stat(r.socket()); err != nil {
		t.Errorf("a killed daemon has removed its socket: %v", err)
	}
	r.Restart()
	if _, err := r.LUNs(t.Context()); err != nil {
		t.Error(err)
	}
	r.Stop()
	if _, err := os.Stat(r.socket()); err == nil {
		t.Error("the stopped daemon has left its socket")
	}
	r.Restart()
}

// TestManyOperators: ten of them change, look and log out beside I/O, and each
// change is whole.
func TestManyOperators(t *testing.T) {
	own := rule{alice, []string{"a"}}
	r := start(t, own, rule{bob, []string{"b"}})
	w := work(t, r.login(alice, iscsi.ISID{0x80, 1}), 4)
	shapes := []string{r.text(own, rule{bob, []string{"b"}}), r.text(own, rule{bob, []string{"b", "c"}})}
	var all sync.WaitGroup
	var writing sync.Mutex
	for i := range 10 {
		all.Go(func() {
			c := admin.NewClient(r.socket())
			defer c.Close()
			for round := range 10 {
				if i == 0 {
					// Replaced whole: a reload must not read half a file.
					writing.Lock()
					err := os.WriteFile(r.file()+".new", []byte(shapes[round%2]), 0o600)
					if err == nil {
						err = os.Rename(r.file()+".new", r.file())
					}
					writing.Unlock()
					if err != nil {
						t.Error(err)
					}
				}
				if i < 3 {
					if _, err := c.Reload(t.Context()); err != nil {
						t.Error(err)
					}
				}
				luns, err := c.LUNs(t.Context())
				if err != nil {
					t.Error(err)
				}
				if n := len(luns); n != 2 && n != 3 {
					t.Errorf("%d LUNs, want 2 or 3", n)
				}
				targets, err := c.Targets(t.Context())
				if err != nil || len(targets) != 1 {
					t.Errorf("targets %+v, %v", targets, err)
				}
				if _, err := c.Reservations(t.Context()); err != nil {
					t.Error(err)
				}
				var sessions []provision.SessionStatus
				if sessions, err = c.Sessions(t.Context()); err != nil || len(sessions) == 0 {
					t.Errorf("sessions %+v, %v", sessions, err)
				}
				if err := c.Logout(t.Context(), 60000); err == nil {
					t.Error("a session that is not there was logged out")
				}
			}
		})
	}
	all.Wait()
	w.finish(t)
}

// TestFaults: faults are set, listed and cleared by the command, and initiators meet them.
func TestFaults(t *testing.T) {
	r := start(t, rule{alice, []string{"a"}})
	if status, printed := r.command("lun fault set", "a", "torn"); status != 1 || !strings.Contains(printed, `kind = "fault"`) {
		t.Errorf("without a layer: status %d\n%s", status, printed)
	}
	r.write(strings.Replace(r.text(rule{alice, []string{"a"}}), "[[target]]", "[[lun.layer]]\nkind = \"fault\"\n[[target]]", 1))
	if status, printed := r.command("reload"); status != 0 {
		t.Fatalf("reload: status %d\n%s", status, printed)
	}
	c := r.login(alice, iscsi.ISID{0x80, 1})
	attentions(t, c, 1)
	read := func() uint8 {
		key, _ := execute(t, c, initiator.Command{CDB: rw(0x28, 8, 8), Read: 8 * block}).SenseCode()
		return key
	}
	if key := read(); key != 0 {
		t.Errorf("an idle layer: sense key %x", key)
	}
	if status, printed := r.command("lun fault set", "a", "error=EIO on=read lba=10", "delay=1ms rate=50%"); status != 0 || printed != "" {
		t.Errorf("set: status %d\n%s", status, printed)
	}
	if key := read(); key != 3 {
		t.Errorf("with a fault: sense key %x", key)
	}
	if status, printed := r.command("lun fault list", "a"); status != 0 || !strings.Contains(printed, "error=EIO on=read lba=10-10") || !strings.Contains(printed, "delay=1ms rate=50%") {
		t.Errorf("list: status %d\n%s", status, printed)
	}
	if status, printed := r.command("lun list"); status != 0 || !strings.Contains(printed, "breaks on purpose") {
		t.Errorf("lun list: status %d\n%s", status, printed)
	}
	if status, printed := r.command("lun fault set", "a", "tron"); status != 1 || !strings.Contains(printed, "did you mean torn?") {
		t.Errorf("a wrong fault: status %d\n%s", status, printed)
	}
	if status, printed := r.command("lun fault clear", "a"); status != 0 || printed != "" {
		t.Errorf("clear: status %d\n%s", status, printed)
	}
	if key := read(); key != 0 {
		t.Errorf("after clear: sense key %x", key)
	}
}
