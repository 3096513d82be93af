package provision

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/iscsi"
	"github.com/isantarget/isantarget/scsi"
)

// apply applies text, which must go well.
func (d *daemon) apply(t *testing.T, dir, text string) Report {
	t.Helper()
	r, err := d.Apply(context.Background(), parse(t, dir, text))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// inventory is a target with LUNs of 1 MiB by their names, counted from 0.
func inventory(luns ...string) string {
	var b strings.Builder
	var numbers []string
	for i, l := range luns {
		fmt.Fprintf(&b, "[[lun]]\nname = %q\npath = \"%s.img\"\nsize = \"1MiB\"\n", l, l)
		numbers = append(numbers, fmt.Sprintf("%d = %q", i, l))
	}
	fmt.Fprintf(&b, "[[target]]\nname = %q\nluns = { %s }\n", name, strings.Join(numbers, ", "))
	return b.String()
}

// sense is how TEST UNIT READY ends, unit attentions included.
func sense(t *testing.T, c *initiator.Connection, lun uint8) string {
	t.Helper()
	r, err := c.Execute(initiator.Command{LUN: initiator.LUN(lun), CDB: make([]byte, 6)})
	if err != nil {
		t.Fatal(err)
	}
	key, code := r.SenseCode()
	return fmt.Sprintf("%x/%04x", key, code)
}

// serial is the unit serial number (VPD 80h).
func serial(t *testing.T, c *initiator.Connection, lun uint8) string {
	t.Helper()
	r := do(t, c, initiator.Command{LUN: initiator.LUN(lun), CDB: []byte{0x12, 1, 0x80, 0, 255, 0}, Read: 255})
	if len(r.Data) < 5 {
		t.Fatalf("VPD 80h of LUN %d: % x", lun, r.Data)
	}
	return string(r.Data[4:])
}

func writeBlock(t *testing.T, c *initiator.Connection, lun uint8, block byte) {
	t.Helper()
	if r := do(t, c, initiator.Command{LUN: initiator.LUN(lun), CDB: []byte{0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0}, Write: bytes.Repeat([]byte{block}, 512)}); r.Status != 0 {
		t.Fatalf("WRITE (10) to LUN %d: %02x, % x", lun, r.Status, r.Sense)
	}
}

func readBlock(t *testing.T, c *initiator.Connection, lun uint8) byte {
	t.Helper()
	r := do(t, c, initiator.Command{LUN: initiator.LUN(lun), CDB: []byte{0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0}, Read: 512})
	if r.Status != 0 || len(r.Data) != 512 {
		t.Fatalf("READ (10) of LUN %d: %02x, % x", lun, r.Status, r.Sense)
	}
	return r.Data[0]
}

// TestLUNsComeAndGo: one session sees it all, once each, and a LUN that comes back
// is the same disk.
func TestLUNsComeAndGo(t *testing.T) {
	dir := t.TempDir()
	d := start(t, dir, inventory("a"))
	c := d.mustLogin(t, alice, nil)
	writeBlock(t, c, 0, 1)

	r := d.apply(t, dir, inventory("a", "b"))
	if want := []string{"LUN b added", "target " + name + " changed"}; !slices.Equal(r.Changes, want) {
		t.Errorf("changes %q, want %q", r.Changes, want)
	}
	if got := sense(t, c, 0); got != "6/3f0e" {
		t.Errorf("LUN 0 after LUN 1 came: %s, want 6/3f0e", got)
	}
	if len(c.Async) != 1 || c.Async[0].Event != iscsi.AsyncSCSI {
		t.Errorf("asynchronous messages %+v, want one SCSI event", c.Async)
	}
	if got := sense(t, c, 0) + " " + sense(t, c, 1) + " " + sense(t, c, 1); got != "0/0000 6/2900 0/0000" {
		t.Errorf("then %s", got)
	}
	before := serial(t, c, 1)
	writeBlock(t, c, 1, 2)

	d.apply(t, dir, inventory("a"))
	if got := sense(t, c, 1) + " " + sense(t, c, 0) + " " + sense(t, c, 0); got != "5/2500 6/3f0e 0/0000" {
		t.Errorf("after LUN 1 went: %s", got)
	}
	if got := reportLUNs(t, c); got != "0" {
		t.Errorf("REPORT LUNS: %s", got)
	}
	d.apply(t, dir, inventory("a", "b"))
	if got := readBlock(t, c, 1); got != 2 || serial(t, c, 1) != before {
		t.Errorf("LUN 1 is back as another: block %d, serial %q, before %q", got, serial(t, c, 1), before)
	}
	if got := readBlock(t, c, 0); got != 1 {
		t.Errorf("LUN 0: block %d", got)
	}
}

// TestRefusedChange: nothing has changed, not for a moment.
func TestRefusedChange(t *testing.T) {
	dir := t.TempDir()
	d := start(t, dir, inventory("a"))
	c := d.mustLogin(t, alice, nil)
	ready(t, c, 0)
	before := d.now.Load()
	fixed := parse(t, dir, inventory("a"))
	fixed.Limits.Memory = 64 << 20
	elsewhere := parse(t, dir, inventory("a"))
	elsewhere.State = filepath.Join(dir, "elsewhere")
	for want, config := range map[string]configs.Config{
		"no image":               parse(t, dir, inventory("a", "new")+"[[lun]]\nname = \"none\"\npath = \"none.img\"\n"),
		"limits cannot change":   fixed,
		"the state directory is": elsewhere,
		"another program listens": parse(t, dir, inventory("a", "new")+fmt.Sprintf("[[portal-group]]\ntag = 1\nlisten = [\"127.0.0.1:0\", %q]\n",
			d.report.Targets[0].Portals[0])),
		"is served as LUN":      parse(t, dir, strings.NewReplacer(`name = "a"`, `name = "renamed"`, `0 = "a"`, `0 = "renamed"`).Replace(inventory("a"))),
		"take it out and apply": parse(t, dir, inventory("a")+"[[portal-group]]\ntag = 2\nlisten = [\""+d.report.Targets[0].Portals[0]+"\"]\n"),
	} {
		_, err := d.Apply(context.Background(), config)
		if err == nil || !strings.Contains(strings.ReplaceAll(err.Error(), "no such file", "no image"), want) {
			t.Errorf("%q: %v", want, err)
		}
		if d.now.Load() != before {
			t.Fatalf("%q: it was applied", want)
		}
		if _, err := os.Stat(filepath.Join(dir, "new.img")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%q: a new image was left: %v", want, err)
		}
	}
	if got := sense(t, c, 0); got != "0/0000" || len(c.Async) != 0 {
		t.Errorf("the session heard something: %s, %+v", got, c.Async)
	}
}

// TestRulesChange: each session goes by the rule that would admit it now.
func TestRulesChange(t *testing.T) {
	dir := t.TempDir()
	luns := `[[lun]]
name = "x"
kind = "memory"
size = "1MiB"
[[lun]]
name = "y"
kind = "memory"
size = "1MiB"
[[target]]
name = "` + name + "\"\n"
	rule := func(who, luns string) string {
		return "[[target.rule]]\ninitiators = [\"" + who + "\"]\nluns = { " + luns + " }\n"
	}
	d := start(t, dir, luns+rule(alice, `0 = "x"`)+rule(bob, `0 = "x", 1 = "y"`))
	a, b := d.mustLogin(t, alice, nil), d.mustLogin(t, bob, nil)
	ready(t, a, 0)
	ready(t, b, 0)
	ready(t, b, 1)

	d.apply(t, dir, luns+rule(alice, `0 = "y"`)+rule(bob, `0 = "x", 1 = "y"`))
	if got := sense(t, b, 0) + " " + sense(t, b, 1); got != "0/0000 0/0000" || len(b.Async) > 0 {
		t.Errorf("bob, whom it does not concern: %s, %+v", got, b.Async)
	}
	if got := sense(t, a, 0); got != "6/2900" || len(a.Async) != 1 {
		t.Errorf("alice at her other LUN: %s, %+v", got, a.Async)
	}
	d.apply(t, dir, luns+rule(bob, `0 = "x", 1 = "y"`))
	if err := a.WaitClosed(); err != nil {
		t.Errorf("alice, whom no rule admits any more: %v", err)
	}
	_, err := d.login(t, alice, nil)
	refusedWith(t, err, iscsi.LoginAuthorizationFailure)
	if got := sense(t, b, 0); got != "0/0000" {
		t.Errorf("bob: %s", got)
	}
	if !slices.ContainsFunc(d.log.AllEntries(), func(e *logrus.Entry) bool {
		return strings.Contains(e.Message, "no access rule of the target admits the initiator any more")
	}) {
		t.Error("the log does not say why alice had to go")
	}
}

// TestNewSecretKeepsSessions: who has proven who he is stays.
func TestNewSecretKeepsSessions(t *testing.T) {
	dir := t.TempDir()
	text := oneTarget + "chap = { user = \"u\", secret-file = \"secret\" }\n"
	file := write(t, filepath.Join(dir, "secret"), "the first secret", 0o600)
	d := start(t, dir, text)
	c := d.mustLogin(t, alice, &initiator.CHAP{User: "u", Secret: "the first secret"})
	write(t, file, "the second secret", 0o600)
	if r := d.apply(t, dir, text); len(r.Changes) != 1 {
		t.Errorf("changes %q, want the target", r.Changes)
	}
	if key, code := ready(t, c, 0); key != 0 {
		t.Errorf("sense %x/%04x", key, code)
	}
	_, err := d.login(t, alice, &initiator.CHAP{User: "u", Secret: "the first secret"})
	refusedWith(t, err, iscsi.LoginAuthenticationFailure)
	d.mustLogin(t, alice, &initiator.CHAP{User: "u", Secret: "the second secret"})
}

// TestPortalsAndTargetsComeAndGo: sessions through what stays do not notice.
func TestPortalsAndTargetsComeAndGo(t *testing.T) {
	dir := t.TempDir()
	groups := func(two string) string { return "[[portal-group]]\ntag = 1\nlisten = [\"127.0.0.1:0\"]\n" + two }
	const two = "[[portal-group]]\ntag = 2\nlisten = [\"127.0.0.2:0\"]\n"
	d := start(t, dir, oneTarget+groups(""))
	stays := d.mustLogin(t, alice, nil)
	ready(t, stays, 0)

	another := oneTarget + "[[target]]\nname = \"" + name + "2\"\nluns = { 0 = \"m\" }\n"
	d.report = d.apply(t, dir, another+groups(two))
	portals := d.report.Targets[0].Portals
	if len(portals) != 2 || len(d.report.Targets) != 2 {
		t.Fatalf("%+v", d.report)
	}
	login := func(portal, target string) (*initiator.Connection, error) {
		c, err := initiator.Dial(portal, initiator.Options{})
		if err != nil {
			return nil, err
		}
		t.Cleanup(func() { c.Close() })
		return c, c.Login(initiator.Login{InitiatorName: bob, TargetName: target, SessionType: "Normal", ISID: initiator.RandomISID()})
	}
	through2, err := login(portals[1], name)
	if err != nil {
		t.Fatal(err)
	}
	at2, err := login(portals[0], name+"2")
	if err != nil {
		t.Fatal(err)
	}
	d.report = d.apply(t, dir, oneTarget+groups(""))
	for what, c := range map[string]*initiator.Connection{"the removed portal group": through2, "the removed target": at2} {
		if err := c.WaitClosed(); err != nil {
			t.Errorf("a session of %s: %v", what, err)
		}
	}
	if _, err := login(portals[1], name); err == nil {
		t.Error("the removed portal still accepts")
	}
	if _, err := login(portals[0], name+"2"); err == nil {
		t.Error("the removed target still accepts")
	}
	// A port has come and gone, which may be told (ALUA); the LUNs are the same.
	if len(stays.Async) != 0 {
		t.Errorf("the session that stays: %+v", stays.Async)
	}
	if key, code := ready(t, stays, 0); key != 0 {
		t.Errorf("the session that stays: sense %x/%04x", key, code)
	}
}

// TestNewSettings: the LUN is opened anew, and is the same disk.
func TestNewSettings(t *testing.T) {
	dir := t.TempDir()
	d := start(t, dir, inventory("a", "b"))
	c := d.mustLogin(t, alice, nil)
	writeBlock(t, c, 0, 7)
	before := serial(t, c, 0)
	// Without APTPL, so it is recorded nowhere.
	key := append(make([]byte, 15), append([]byte{0xa}, make([]byte, 8)...)...)
	if r := do(t, c, initiator.Command{CDB: []byte{0x5f, 0, 0, 0, 0, 0, 0, 0, 24, 0}, Write: key}); r.Status != 0 {
		t.Fatalf("REGISTER: %02x, % x", r.Status, r.Sense)
	}
	r := d.apply(t, dir, strings.Replace(inventory("a", "b"), "size = \"1MiB\"\n", "size = \"1MiB\"\nreadonly = true\n", 1))
	if len(r.Changes) == 0 || r.Changes[0] != "LUN a has new settings" {
		t.Errorf("changes %q", r.Changes)
	}
	if got := readBlock(t, c, 0); got != 7 || serial(t, c, 0) != before {
		t.Errorf("block %d, serial %q, before %q", got, serial(t, c, 0), before)
	}
	if w := do(t, c, initiator.Command{CDB: []byte{0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0}, Write: make([]byte, 512)}); w.Status != 2 {
		t.Errorf("a write to it: status %02x", w.Status)
	}
	if r, err := d.Reservations("a"); err != nil || len(r[0].Registrations) != 1 || !r[0].Registrations[0].Session {
		t.Errorf("reservations %+v, %v, want the registration of before", r, err)
	}
	// An image that is not there: the LUN stays as it was.
	r = d.apply(t, dir, strings.Replace(inventory("a", "b"), "path = \"a.img\"\nsize = \"1MiB\"\n", "path = \"elsewhere.img\"\n", 1))
	if !strings.Contains(strings.Join(r.Warnings, "\n"), `LUN "a" keeps its old settings`) {
		t.Errorf("warnings %q", r.Warnings)
	}
	if got := readBlock(t, c, 0); got != 7 {
		t.Errorf("block %d", got)
	}
	// Memory would lose what it holds.
	m := start(t, t.TempDir(), oneTarget)
	if _, err := m.Apply(context.Background(), parse(t, dir, strings.Replace(oneTarget, "kind = \"memory\"", "kind = \"memory\"\nreadonly = true", 1))); err == nil || !strings.Contains(err.Error(), "lose its data") && !strings.Contains(err.Error(), "state directory") {
		t.Errorf("a LUN in memory: %v", err)
	}
}

// A slowStore lets writes begin and end at the test's will, and notices use after
// its end.
type slowStore struct {
	backstore.Store
	t       *testing.T
	writing chan struct{} // receives when a write has begun
	goOn    chan struct{}
	mu      sync.Mutex
	closed  bool
	busy    int
}

func (s *slowStore) WriteAt(p []byte, off int64) (int, error) {
	s.enter(1)
	defer s.enter(-1)
	select {
	case s.writing <- struct{}{}:
	default:
	}
	<-s.goOn
	return s.Store.WriteAt(p, off)
}

func (s *slowStore) enter(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		s.t.Error("the store is used after it was closed")
	}
	s.busy += n
}

func (s *slowStore) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy > 0 {
		s.t.Errorf("the store is closed under %d writes", s.busy)
	}
	s.closed = true
	return s.Store.Close()
}

func (s *slowStore) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// slowDaemon serves LUN 0 in memory and LUN 1 on a slow store, which hangs after bound.
// without is its configuration less that LUN.
func slowDaemon(t *testing.T, dir string, bound time.Duration) (d *daemon, s *slowStore, without configs.Config) {
	t.Helper()
	s = &slowStore{t: t, writing: make(chan struct{}, 1), goOn: make(chan struct{})}
	d = newDaemon()
	d.openers[configs.Null] = func(l configs.LUN, step func(done, total int64) error) (backstore.Store, error) {
		store, err := openers()[configs.Memory](l, step)
		s.Store = store
		return s, err
	}
	with := memoryLUN + "[[lun]]\nname = \"slow\"\nkind = \"null\"\nsize = \"1MiB\"\n[[target]]\nname = \"" + name + "\"\nluns = { 0 = \"m\", 1 = \"slow\" }\n"
	config, without := parse(t, dir, with), parse(t, dir, oneTarget)
	config.Limits.HangBound, config.Limits.DrainTimeout = bound, time.Minute
	without.Limits = config.Limits
	var err error
	if d.report, err = d.Apply(context.Background(), config); err != nil {
		t.Fatal(err)
	}
	return d, s, without
}

// TestRemovalUnderWrites: a LUN goes while a write is in its store. The write is
// told to be aborted, and the store is closed when it is out of it, not before.
func TestRemovalUnderWrites(t *testing.T) {
	dir := t.TempDir()
	d, s, without := slowDaemon(t, dir, time.Minute)
	defer d.stop(t)
	c := d.mustLogin(t, alice, nil)
	defer c.Close()
	ready(t, c, 0)
	ready(t, c, 1)
	w, err := c.Start(initiator.Command{LUN: initiator.LUN(1), CDB: []byte{0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0}, Write: make([]byte, 512)})
	if err != nil {
		t.Fatal(err)
	}
	<-s.writing
	lu := d.now.Load().units["slow"].lu
	beside, err := lu.Claim(lu.Attached()[0], scsi.NewLUN(1), 0, scsi.CDB{0x28, 5: 8, 8: 1, 9: 0}, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	go func() { // the write is aborted when what else the initiator has there is
		for !beside.Aborted() {
			time.Sleep(time.Millisecond)
		}
		beside.Release()
		close(s.goOn)
	}()
	if _, err := d.Apply(context.Background(), without); err != nil {
		t.Fatal(err)
	}
	if r, err := w.Wait(); err != nil || r.Status != 0x40 {
		t.Errorf("the write: %+v, %v, want TASK ABORTED", r, err)
	}
	if !s.isClosed() {
		t.Error("the store is still open")
	}
	if got := sense(t, c, 1); got != "5/2500" {
		t.Errorf("LUN 1: %s", got)
	}
}

// TestRemovalOfAHangingLUN: it takes no longer than the bound, the others go on, and
// the store is closed when it comes back.
func TestRemovalOfAHangingLUN(t *testing.T) {
	dir := t.TempDir()
	d, s, without := slowDaemon(t, dir, 300*time.Millisecond)
	defer d.stop(t)
	c := d.mustLogin(t, alice, nil)
	defer c.Close()
	ready(t, c, 0)
	ready(t, c, 1)
	if _, err := c.Start(initiator.Command{LUN: initiator.LUN(1), CDB: []byte{0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0}, Write: make([]byte, 512)}); err != nil {
		t.Fatal(err)
	}
	<-s.writing
	r, err := d.Apply(context.Background(), without)
	if err != nil || !strings.Contains(strings.Join(r.Warnings, "\n"), "commands hang in its store") {
		t.Errorf("%v, warnings %q", err, r.Warnings)
	}
	if s.isClosed() {
		t.Error("the store is closed although a write hangs in it")
	}
	if key, code := ready(t, c, 0); key != 0 {
		t.Errorf("LUN 0: sense %x/%04x", key, code)
	}
	close(s.goOn)
	for deadline := time.Now().Add(time.Minute); !s.isClosed() || len(d.hanging.names()) > 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("closed %v; still hanging: %q", s.isClosed(), d.hanging.names())
		}
	}
}

// hangInOpening has the nth open of a null LUN hang until goOn is closed, and the first fail
// if the LUN is to be without a store.
func hangInOpening(d *daemon, nth int64, without bool) (hangs, goOn chan struct{}, closed *atomic.Int64) {
	hangs, goOn, closed = make(chan struct{}), make(chan struct{}), new(atomic.Int64)
	var opens atomic.Int64
	d.openers[configs.Null] = func(l configs.LUN, step func(done, total int64) error) (backstore.Store, error) {
		n := opens.Add(1)
		if n == nth {
			close(hangs)
			<-goOn
		}
		if n == 1 && without {
			return nil, syscall.EIO
		}
		s, err := openers()[configs.Memory](l, step)
		return lastStore{s, func() { closed.Add(1) }}, err
	}
	return hangs, goOn, closed
}

// TestStop_OpeningHangs: a LUN that hangs in being opened anew, for other settings or when
// its store is back, holds up no stop; what is opened too late is closed.
func TestStop_OpeningHangs(t *testing.T) {
	const lun = "[[lun]]\nname = \"n\"\nkind = \"null\"\nsize = \"1MiB\"\n"
	const both = "[[target]]\nname = \"" + name + "\"\nluns = { 0 = \"m\", 1 = \"n\" }\n"
	for who, x := range map[string]struct {
		opens   int64 // the last of which hangs
		without bool
	}{"reload": {2, false}, "watcher": {3, true}} {
		t.Run(who, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			d := newDaemon()
			hangs, goOn, closed := hangInOpening(d, x.opens, x.without)
			d.report = d.apply(t, dir, memoryLUN+lun+both)
			c := d.mustLogin(t, alice, nil)
			writeBlock(t, c, 0, 7)
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			reloaded := make(chan Report, 1)
			if !x.without {
				go func() {
					r, err := d.Apply(ctx, parse(t, dir, memoryLUN+lun+"readonly = true\n"+both))
					if err != nil {
						t.Errorf("the reload: %v", err)
					}
					reloaded <- r
				}()
			}
			<-hangs
			cancel()
			began := time.Now()
			if !x.without {
				r := <-reloaded
				if w := strings.Join(r.Warnings, "\n"); !strings.Contains(w, errStuckOpen.Error()) || r.LUNs[1].Failure == nil {
					t.Errorf("the reload: %+v", r)
				}
			}
			if _, err := d.Apply(context.Background(), configs.Config{}); err != nil {
				t.Errorf("stop: %v", err)
			}
			t.Logf("stopped after %v", time.Since(began))
			before := closed.Load()
			close(goOn)
			for deadline := time.Now().Add(time.Minute); closed.Load() == before; time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("what was opened too late is not closed")
				}
			}
		})
	}
}

// TestStop_ChangeHangs: whatever a change hangs in, the LUNs are flushed and the process
// can end.
func TestStop_ChangeHangs(t *testing.T) {
	t.Parallel()
	d := newDaemon()
	var syncs atomic.Int64
	d.openers[configs.Memory] = func(l configs.LUN, step func(done, total int64) error) (backstore.Store, error) {
		s, err := openers()[configs.Memory](l, step)
		return countingStore{s, &syncs}, err
	}
	config := parse(t, t.TempDir(), oneTarget)
	config.Limits.DrainTimeout, config.Limits.HangBound = 200*time.Millisecond, 200*time.Millisecond
	if _, err := d.Apply(context.Background(), config); err != nil {
		t.Fatal(err)
	}
	d.applying.Lock()
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := d.Apply(ended, config); !errors.Is(err, context.Canceled) {
		t.Errorf("a change that is not wanted any more, behind one that hangs: %v", err)
	}
	if _, err := d.Apply(context.Background(), configs.Config{}); !errors.Is(err, errHanging) || syncs.Load() == 0 {
		t.Errorf("stop: %v after %d syncs, want that something hangs", err, syncs.Load())
	}
	d.applying.Unlock()
}

// TestAccessStatesStay: a change elsewhere does not undo what initiators and the
// operator have chosen.
func TestAccessStatesStay(t *testing.T) {
	dir := t.TempDir()
	d := start(t, dir, inventory("a"))
	lu := d.now.Load().units["a"].lu
	group := lu.PortGroups()[0]
	if err := lu.SetAccessState(group.ID, 1); err != nil {
		t.Fatal(err)
	}
	d.apply(t, dir, inventory("a", "b"))
	if got := lu.PortGroups()[0].State; got != 1 {
		t.Errorf("state %v after a change of another LUN", got)
	}
	d.apply(t, dir, inventory("a", "b")+"[[target.access-state]]\nportal-group = 1\nstate = \"standby\"\n")
	if got := lu.PortGroups()[0].State; got != 2 {
		t.Errorf("state %v, the configuration says standby", got)
	}
}
