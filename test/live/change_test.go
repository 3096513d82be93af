package live

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/iscsi"
	"github.com/isantarget/isantarget/test/daemon"
)

// A worker writes and reads back, without a pause, on LUN 0 of its session. Nothing
// may happen to it.
type worker struct {
	c      *initiator.Connection
	rounds atomic.Int64
	stop   chan struct{}
	ended  chan error
}

// work begins with as many commands at once as depth.
func work(t *testing.T, c *initiator.Connection, depth int) *worker {
	t.Helper()
	attentions(t, c, 1)
	w := &worker{c: c, stop: make(chan struct{}), ended: make(chan error, 1)}
	go func() { w.ended <- w.run(depth) }()
	return w
}

func (w *worker) run(depth int) error {
	for round := 0; ; round++ {
		select {
		case <-w.stop:
			return nil
		default:
		}
		var tasks []*initiator.Task
		for i := range depth {
			lba := uint32(i * 7)
			t, err := w.c.Start(initiator.Command{CDB: rw(0x2a, lba, 1), Write: pattern(lba, round)})
			if err != nil {
				return err
			}
			tasks = append(tasks, t)
		}
		for _, t := range tasks {
			if r, err := t.Wait(); err != nil || r.Status != 0 {
				return fmt.Errorf("a write in round %d: %+v, %w", round, r, err)
			}
		}
		for i := range depth {
			lba := uint32(i * 7)
			r, err := w.c.Execute(initiator.Command{CDB: rw(0x28, lba, 1), Read: block})
			if err != nil || r.Status != 0 || !bytes.Equal(r.Data, pattern(lba, round)) {
				return fmt.Errorf("block %d in round %d: %+v, %w", lba, round, r, err)
			}
		}
		w.rounds.Add(1)
	}
}

// finish ends the work, which must have gone on without a hitch.
func (w *worker) finish(t *testing.T) {
	t.Helper()
	close(w.stop)
	if err := <-w.ended; err != nil {
		t.Errorf("the session that nobody has changed: %v", err)
	}
	if len(w.c.Async) > 0 {
		t.Errorf("it heard %+v", w.c.Async)
	}
}

// TestChangesUnderIO: LUNs, rules, targets and portals come and go while another
// session works. It notices nothing; the one that is concerned hears of each change
// once, by one unit attention and one Async Message.
func TestChangesUnderIO(t *testing.T) {
	own := rule{alice, []string{"a"}}
	r := start(t, own, rule{bob, []string{"b"}})
	c := r.login(alice, iscsi.ISID{0x80, 1})
	w := work(t, c, 8)
	b := r.login(bob, iscsi.ISID{0x80, 2})
	attentions(t, b, 1)
	for i := range 15 {
		progress := w.rounds.Load()
		luns, want := []string{"b", "c"}, []string{"0:3f0e", "1:2900"}
		r.apply(own, rule{bob, luns})
		if got := attentions(t, b, 2); !slices.Equal(got, want) {
			t.Fatalf("change %d: bob hears %q, want %q", i, got, want)
		}
		lba := uint32(i)
		if got := execute(t, b, initiator.Command{LUN: initiator.LUN(1), CDB: rw(0x2a, lba, 1), Write: pattern(lba, i)}); got.Status != 0 {
			t.Fatalf("change %d: a write to the new LUN: %02x, % x", i, got.Status, got.Sense)
		}
		r.apply(own, rule{bob, luns[:1]})
		if got, want := attentions(t, b, 1), []string{"0:3f0e"}; !slices.Equal(got, want) {
			t.Fatalf("change %d: bob hears %q, want %q", i, got, want)
		}
		if got := len(b.Async); got != 2*(i+1) {
			t.Fatalf("change %d: bob has had %d Async Messages, want %d", i, got, 2*(i+1))
		}
		// A target and a portal of no concern to either.
		r.write(r.text(own, rule{bob, luns[:1]}) + "[[target]]\nname = \"iqn.2026-11.org.isantarget.test:other\"\nportal-groups = [2]\nluns = { 0 = \"d\" }\n" +
			"[[lun]]\nname = \"d\"\nkind = \"memory\"\nsize = \"1MiB\"\n[[portal-group]]\ntag = 2\nlisten = [\"127.0.0.2:0\"]\n")
		if _, err := r.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the other session goes on", func() bool { return w.rounds.Load() > progress })
	}
	for _, m := range b.Async {
		if m.Event != iscsi.AsyncSCSI {
			t.Errorf("bob hears %v", m.Event)
		}
	}
	w.finish(t)
	r.apply(own) // bob is not admitted any more
	if err := b.WaitClosed(); err != nil {
		t.Error(err)
	}
	sessions, err := r.Sessions(t.Context())
	if err != nil || len(sessions) != 1 || sessions[0].TSIH != c.Session.TSIH {
		t.Errorf("sessions %+v, %v, want that of alice alone", sessions, err)
	}
	if strings.Contains(r.Log(), "session lost") {
		t.Error("a session was lost")
	}
}

// TestRemovalWithWritesInFlight: a LUN goes under a stream of writes. Each has an
// end; what was answered with GOOD is on the disk, which comes back as the same.
func TestRemovalWithWritesInFlight(t *testing.T) {
	with, without := rule{alice, []string{"a", "b"}}, rule{alice, []string{"a"}}
	r := start(t, with)
	other := r.login(alice, iscsi.ISID{0x80, 9})
	w := work(t, other, 2)
	for round := range 5 {
		c := r.login(alice, iscsi.ISID{0x80, 1})
		attentions(t, c, 2)
		serial := execute(t, c, initiator.Command{LUN: initiator.LUN(1), CDB: []byte{0x12, 1, 0x83, 0, 255, 0}, Read: 255}).Data
		gone := make(chan struct{})
		var begun sync.Once
		first := make(chan struct{})
		r.write(r.text(without))
		go func() {
			defer close(gone)
			<-first
			if _, err := r.Reload(t.Context()); err != nil {
				t.Error(err)
			}
		}()
		kept := map[uint32]bool{}
		last := ""
		for lba := uint32(0); ; {
			var tasks []*initiator.Task
			for range 16 {
				task, err := c.Start(initiator.Command{LUN: initiator.LUN(1), CDB: rw(0x2a, lba, 1), Write: pattern(lba, round)})
				if err != nil {
					t.Fatal(err)
				}
				tasks = append(tasks, task)
				lba = (lba + 1) % 8192
			}
			for i, task := range tasks {
				got, err := task.Wait()
				if err != nil {
					t.Fatal(err)
				}
				at := (lba + 8192 - uint32(len(tasks)) + uint32(i)) % 8192
				key, code := got.SenseCode()
				switch last = fmt.Sprintf("%02x %x/%04x", got.Status, key, code); last {
				case "00 0/0000":
					kept[at] = true
				case "40 0/0000", "02 5/2500":
				case "02 6/2907": // it came by the old map when the unit had lost the nexus
				default:
					t.Fatalf("a write ends with %s", last)
				}
			}
			begun.Do(func() { close(first) }) // some are answered, and the next are on their way
			if last == "02 5/2500" {
				break
			}
		}
		<-gone
		image, err := os.ReadFile(r.image("b"))
		if err != nil {
			t.Fatal(err)
		}
		for lba := range kept {
			if !bytes.Equal(image[lba*block:][:block], pattern(lba, round)) {
				t.Fatalf("round %d: block %d was answered with GOOD and is not there", round, lba)
			}
		}
		r.apply(with)
		// It was told of both changes, and of the new beginning of LUN 1.
		if got, want := attentions(t, c, 2), []string{"0:3f0e", "1:2900"}; !slices.Equal(got, want) {
			t.Errorf("round %d: %q, want %q", round, got, want)
		}
		back := execute(t, c, initiator.Command{LUN: initiator.LUN(1), CDB: []byte{0x12, 1, 0x83, 0, 255, 0}, Read: 255}).Data
		if !bytes.Equal(back, serial) {
			t.Errorf("round %d: LUN 1 is another disk: % x, before % x", round, back, serial)
		}
		for lba := range kept {
			got := execute(t, c, initiator.Command{LUN: initiator.LUN(1), CDB: rw(0x28, lba, 1), Read: block})
			if !bytes.Equal(got.Data, pattern(lba, round)) {
				t.Fatalf("round %d: block %d is another", round, lba)
			}
		}
		if _, err := c.Logout(iscsi.CloseSession, 0); err != nil {
			t.Error(err)
		}
	}
	// The worker sees the same LUNs, so it heard of the changes at LUN 0.
	close(w.stop)
	if err := <-w.ended; err == nil || !strings.Contains(err.Error(), "Status:2") {
		t.Errorf("the other session: %v, want the unit attention of the first change", err)
	}
}

// TestRefusedReload: a wrong entry changes nothing, by the command line and by SIGHUP.
func TestRefusedReload(t *testing.T) {
	own := rule{alice, []string{"a"}}
	r := start(t, own)
	w := work(t, r.login(alice, iscsi.ISID{0x80, 1}), 4)
	before, err := r.LUNs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"this is not TOML": "san.toml:1: ",
		r.text(own, rule{bob, []string{"new"}}) + "[[lun]]\nname = \"none\"\npath = \"none.img\"\n":            "none.img",
		r.text(own, rule{bob, []string{"new"}}) + "[[portal-group]]\ntag = 2\nlisten = [\"192.0.2.1:3260\"]\n": "this host has no address 192.0.2.1",
		strings.Replace(r.text(own), `"1m"`, `"2m"`, 1):                                                        "limits cannot change",
	} {
		r.write(text)
		status, printed := r.command("reload")
		if status != 1 || !strings.Contains(printed, want) || strings.Count(printed, "\n") != 1 {
			t.Errorf("reload: status %d, want one line with %q:\n%s", status, want, printed)
		}
		refusals := strings.Count(r.Log(), "nothing has changed")
		r.Signal(syscall.SIGHUP)
		eventually(t, "the log tells that the configuration is refused", func() bool { return strings.Count(r.Log(), "nothing has changed") > refusals })
		if _, err := os.Stat(r.image("new")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("an image was left: %v", err)
		}
	}
	if after, err := r.LUNs(t.Context()); err != nil || fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("LUNs %+v, %v, before %+v", after, err, before)
	}
	w.finish(t)

	r.write(r.text(own, rule{bob, []string{"new"}}))
	r.Signal(syscall.SIGHUP)
	eventually(t, "SIGHUP applies a good configuration", func() bool { return strings.Contains(r.Log(), "LUN new added") })
	r.login(bob, iscsi.ISID{0x80, 2})
}

// TestLoginsDuringChanges: whoever logs in while rules change sees the LUNs of one
// rule or of the other, and a session is never left behind.
func TestLoginsDuringChanges(t *testing.T) {
	one, two := rule{bob, []string{"b"}}, rule{bob, []string{"b", "c"}}
	r := start(t, one)
	stop := make(chan struct{})
	var all sync.WaitGroup
	var logins atomic.Int64
	for i := range 4 {
		all.Go(func() {
			for n := byte(0); ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				if err := visit(r.port, iscsi.ISID{0x80, byte(i), n}, n%2 == 0); err != nil {
					t.Error(err)
					return
				}
				logins.Add(1)
			}
		})
	}
	for range 15 {
		before := logins.Load()
		r.apply(two)
		r.apply(one)
		eventually(t, "logins go on", func() bool { return logins.Load() > before || t.Failed() })
	}
	close(stop)
	all.Wait()
	eventually(t, "all sessions have ended", func() bool {
		sessions, err := r.Sessions(t.Context())
		return err == nil && len(sessions) == 0
	})
	last := r.login(bob, iscsi.ISID{0x80, 0xff})
	attentions(t, last, 1)
	if got := execute(t, last, initiator.Command{LUN: initiator.LUN(1), CDB: make([]byte, 6)}); got.Status != 2 {
		t.Errorf("LUN 1, which was taken away: status %02x", got.Status)
	}
}

// visit logs in, looks at what there is, and leaves, politely or not.
func visit(port int, isid iscsi.ISID, polite bool) error {
	c, err := initiator.Dial(fmt.Sprintf("127.0.0.1:%d", port), initiator.Options{})
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Login(initiator.Login{InitiatorName: bob, TargetName: daemon.Target, SessionType: "Normal", ISID: isid}); err != nil {
		return err
	}
	for range 3 {
		got, err := c.Execute(initiator.Command{CDB: []byte{0xa0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0}, Read: 256})
		if err != nil || got.Status != 0 || len(got.Data) != 16 && len(got.Data) != 24 {
			return fmt.Errorf("REPORT LUNS: %+v, %w", got, err)
		}
		for lun := range uint8(2) {
			if _, err := c.Execute(initiator.Command{LUN: initiator.LUN(lun), CDB: rw(0x28, 0, 1), Read: block}); err != nil {
				return err
			}
		}
	}
	if polite {
		_, err = c.Logout(iscsi.CloseSession, 0)
	}
	return err
}

// TestRemovalWhileDataAreOwed: a write whose initiator does not answer its R2T holds
// up neither the change nor the other LUN, and ends once the data have come (RFC 7143
// 11.4.3).
func TestRemovalWhileDataAreOwed(t *testing.T) {
	r := start(t, rule{alice, []string{"a", "b"}})
	c := r.login(alice, iscsi.ISID{0x80, 1})
	attentions(t, c, 2)
	none := 0
	owed, err := c.Start(initiator.Command{LUN: initiator.LUN(1), CDB: rw(0x2a, 0, 512), Write: make([]byte, 512*block), HoldData: true,
		ImmediateData: &none, UnsolicitedData: &none, Edit: func(p *initiator.PDU) initiator.Faults { p.BHS.SetFinal(true); return 0 }})
	if err != nil {
		t.Fatal(err)
	}
	if err := owed.WaitR2T(1); err != nil {
		t.Fatal(err)
	}
	r.apply(rule{alice, []string{"a"}})
	if strings.Contains(r.Log(), " hang in") {
		t.Error("the write counts as hanging")
	}
	if got := attentions(t, c, 1); !slices.Equal(got, []string{"0:3f0e"}) {
		t.Errorf("LUN 0: %q", got)
	}
	if owed.Done() {
		t.Error("the write was answered before its data came")
	}
	for _, asked := range owed.R2Ts {
		if err := owed.Answer(asked); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := owed.Wait(); err != nil || got.Status != 0x40 {
		t.Errorf("%+v, %v, want TASK ABORTED", got, err)
	}
}
