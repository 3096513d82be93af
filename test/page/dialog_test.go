package page

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp/kb"
	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/admin"
	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/internal/loopdevice"
	"github.com/isantarget/isantarget/job"
	"github.com/isantarget/isantarget/provision"
)

// act presses the button for an action upon something, in a view, and waits for the dialog. Every dialog is looked at by
// axe-core, and has to be on the screen.
func (b *tab) act(view, action, name string, more ...string) {
	b.t.Helper()
	button := fmt.Sprintf(`main [data-action=%q][data-name=%q]`, action, name)
	for _, m := range more {
		button += fmt.Sprintf(`[data-more=%q]`, m)
	}
	if view != "" {
		eval[any](b, fmt.Sprintf(`location.hash = %q, null`, view))
	}
	b.await("a button "+button, fmt.Sprintf(`location.hash.startsWith(%q) && document.querySelector(%q)`, view, button))
	eval[any](b, fmt.Sprintf(`document.querySelector(%q).focus(), null`, button))
	b.press(kb.Enter)
	b.await("the dialog", `document.querySelector("dialog[open]")?.contains(document.activeElement)`)
	b.examine(action, "dialog[open]")
	if !eval[bool](b, `(({ left, right, top, bottom }) => left >= 0 && top >= 0 && right <= innerWidth && bottom <= innerHeight)(document.querySelector("dialog[open]").getBoundingClientRect())`) {
		b.t.Errorf("the dialog to %s is not wholly on the screen", action)
	}
}

// typed types the name that a dialog wants; a part of it is not enough.
func (b *tab) typed(name string) {
	b.t.Helper()
	dead := `document.querySelector("dialog[open] [type=submit]").disabled`
	b.tabTo(`[data-typed]`)
	b.write(name[:len(name)-1])
	if !eval[bool](b, dead) {
		b.t.Error("a part of the name is enough")
	}
	b.write(name[len(name)-1:])
	if eval[bool](b, dead) {
		b.t.Error("the name is typed, and not enough")
	}
	b.press(kb.Enter)
}

// put writes into the field of a dialog.
func (b *tab) put(field, text string) {
	b.t.Helper()
	b.tabTo(fmt.Sprintf(`dialog[open] [name=%q]`, field))
	b.write(text)
}

// choose takes an option of a dialog, by the arrow keys.
func (b *tab) choose(field, option string) {
	b.t.Helper()
	b.tabTo(fmt.Sprintf(`dialog[open] select[name=%q]`, field))
	b.press(kb.Home)
	for range 10 {
		if eval[string](b, `document.activeElement.value`) == option {
			return
		}
		b.press(kb.ArrowDown)
	}
	b.t.Fatalf("%s: there is no %s to choose", field, option)
}

// submit presses the button of the dialog.
func (b *tab) submit() {
	b.t.Helper()
	b.tabTo(`dialog[open] [type="submit"]`)
	b.press(kb.Enter)
}

// closed waits until what the dialog is for is done.
func (b *tab) closed() {
	b.t.Helper()
	b.await("the end of the dialog", `!document.querySelector("#dialogs dialog") || document.querySelector("#dialogs .failure:not([hidden])")`)
	if failure := eval[string](b, `document.querySelector("#dialogs .failure:not([hidden])")?.textContent || ""`); failure != "" {
		b.t.Fatalf("it is refused: %s", failure)
	}
}

// leave gives a dialog up. What had the focus before has it again then.
func (b *tab) leave() {
	b.t.Helper()
	b.press(kb.Escape)
	b.await("the end of the dialog", `!document.querySelector("#dialogs dialog")`)
}

// refused waits for the reason why the dialog does nothing.
func (b *tab) refused(because string) {
	b.t.Helper()
	b.await("a reason", `document.querySelector("dialog[open] .failure:not([hidden])")`)
	if text := eval[string](b, `document.querySelector("dialog[open] .failure").textContent`); !strings.Contains(text, because) {
		b.t.Errorf("the reason is %q, want %q in it", text, because)
	}
}

// eventually waits until something is so.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(bound); !is(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("in vain: %s", what)
		}
	}
}

// testRollback brings old bytes back, to an initiator that is logged in.
func testRollback(t *testing.T, r *rig, b *tab) {
	c := r.login(t, clerk, books)
	fill(t, c, 0, "a")
	if _, err := r.TakeSnapshots(t.Context(), []string{"ledger"}, "monday"); err != nil {
		t.Fatal(err)
	}
	fill(t, c, 0, "b")
	b.on(screens()[1])
	b.act("#/luns/ledger", "rollback", "ledger", "monday")
	b.shoot("rollback")
	b.typed("ledger")
	b.refused("is in use: " + clerk)
	holds(t, c, 0, "b")
	b.tabTo(`[name="force"]`)
	b.press(" ")
	b.submit()
	b.closed()
	holds(t, c, 0, "a")
}

// testClone makes a LUN of the snapshot, and shows it to the initiator.
func testClone(t *testing.T, r *rig, b *tab) {
	c := r.login(t, clerk, books)
	fill(t, c, 0, "c")
	b.on(screens()[0])
	b.act("#/snapshots", "clone", "ledger", "monday")
	b.write("copy") // the name that is proposed is selected
	b.choose("target", books)
	b.shoot("clone")
	b.submit()
	b.closed()
	b.await("the new LUN", `location.hash === "#/luns/copy" && document.querySelector("[data-map=copy]")`)
	old, err := r.LUN(t.Context(), "ledger")
	if l := find(t, r, "copy"); err != nil || l.Size != old.Size || l.NAA == old.NAA || len(l.Maps) != 1 || l.Maps[0].Target != books {
		t.Errorf("the clone is %+v", l)
	}
	holds(t, c, 1, "a")
	holds(t, c, 0, "c")
}

func testSnapshotRemoval(t *testing.T, r *rig, b *tab) {
	c := r.login(t, clerk, books)
	if _, err := r.TakeSnapshots(t.Context(), []string{"ledger"}, "tuesday"); err != nil {
		t.Fatal(err)
	}
	fill(t, c, 0, "d")
	b.on(screens()[1])
	b.act("#/luns/ledger", "delete-snapshot", "ledger", "tuesday")
	b.typed("tuesday")
	b.closed()
	b.await("a list without it", `!document.querySelector("main").innerText.includes("tuesday") && document.querySelector("main").innerText.includes("monday")`)
	if list, err := r.Snapshots(t.Context(), "ledger"); err != nil || len(list) != 1 || list[0].Name != "monday" {
		t.Errorf("the snapshots are %+v, %v", list, err)
	}
	holds(t, c, 0, "d")
}

func testSessionLogout(t *testing.T, r *rig, b *tab) {
	c := r.login(t, clerk, books)
	tsih := ""
	eventually(t, "the session is alone", func() bool { // those of other tests go
		list, err := r.Sessions(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		list = slices.DeleteFunc(list, func(s provision.SessionStatus) bool { return s.Initiator != clerk })
		if len(list) == 1 {
			tsih = fmt.Sprint(list[0].TSIH)
		}
		return len(list) == 1
	})
	b.on(screens()[0])
	b.act("#/sessions", "logout", tsih)
	b.submit()
	b.closed()
	b.await("a list without it", fmt.Sprintf(`!document.querySelector("main").innerText.includes(%q) && document.querySelector("main").innerText.includes(%q)`, clerk, worker))
	if list, err := r.Sessions(t.Context()); err != nil || slices.ContainsFunc(list, func(s provision.SessionStatus) bool { return s.Initiator == clerk }) {
		t.Errorf("the sessions are %+v, %v", list, err)
	}
	if _, err := c.Execute(initiator.Command{CDB: make([]byte, 6)}); err == nil {
		t.Error("the initiator goes on")
	}
}

// testJobCancel makes a fixed LUN in a file system that takes long: one that has to be told to write zeros, each MiB down
// to the disk, in blocks of 1024 bytes. It is seen in the dialog, which is closed, and cancelled from the list of jobs.
func testJobCancel(t *testing.T, r *rig, b *tab) {
	disk := filepath.Join(t.TempDir(), "disk")
	if err := errors.Join(os.WriteFile(disk, nil, 0o600), os.Truncate(disk, 12<<30)); err != nil {
		t.Fatal(err)
	}
	device := loopdevice.New(t, loopdevice.Options{File: disk})
	folder := loopdevice.Format(t, device, "ext4", "-b", "1024", "-O", "^extent,^64bit,^has_journal", "-E", "lazy_itable_init=1")
	if err := unix.Mount("", folder, "", unix.MS_REMOUNT|unix.MS_SYNCHRONOUS, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Edit(t.Context(), admin.Batch{Put: []admin.Put{{Table: configs.StoreTable, Object: map[string]any{"name": "slow", "path": folder}}}}); err != nil {
		t.Fatal(err)
	}
	defer func() {
		o, err := r.Object(t.Context(), configs.StoreTable, "slow")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Edit(t.Context(), admin.Batch{Delete: []provision.Delete{{Table: o.Table, Name: o.Name, Version: o.Version}}}); err != nil {
			t.Error(err)
		}
	}()
	b.visit("#/", "slow")
	b.act("#/luns", "create-lun", "")
	b.write("big")
	b.put("size", "8")
	b.tabTo(`[name="provisioning"]`)
	b.press(kb.ArrowDown)
	b.choose("store", "slow")
	b.submit()
	b.await("what is at work", `/^allocate: .*cancelled under Jobs/.test(document.querySelector("dialog[open] .progress:not([hidden])")?.textContent)`)
	b.shoot("allocate")
	b.leave()
	jobs, err := r.Jobs(t.Context())
	if err != nil || len(jobs) == 0 || jobs[len(jobs)-1].State != job.Running || jobs[len(jobs)-1].Kind != "allocate" {
		t.Fatalf("the jobs are %+v, %v", jobs, err)
	}
	id := jobs[len(jobs)-1].ID
	b.act("#/jobs", "cancel-job", id)
	b.submit()
	b.closed()
	b.await("its end", `[...document.querySelectorAll("main tbody tr")].some((r) => r.innerText.includes("big") && r.querySelector(".pill").textContent === "cancelled")`)
	if j, err := r.Job(t.Context(), id); err != nil || j.State != job.Cancelled {
		t.Errorf("the job is %+v, %v", j, err)
	}
	eventually(t, "no LUN and no image", func() bool {
		_, err := r.LUN(t.Context(), "big")
		left, _ := os.ReadDir(folder)
		return err != nil && len(left) == 1 // lost+found
	})
}

// testFaults has a flush fail on purpose, takes that back, and accepts what may be lost.
func testFaults(t *testing.T, r *rig, b *tab) {
	const lun = 5
	c := r.login(t, clerk, books)
	synchronize := initiator.Command{LUN: initiator.LUN(lun), CDB: []byte{0x35, 9: 0}}
	b.on(screens()[1])
	b.act("#/luns/brittle", "faults", "brittle")
	b.write("error=EIO on=sink")
	b.submit()
	b.refused("did you mean sync?")
	b.tabTo("textarea")
	b.press(kb.Backspace, kb.Backspace, kb.Backspace) // sink
	b.write("ync\ndelay=1ms on=read")
	b.shoot("faults")
	b.submit()
	b.closed()
	if list, err := r.Faults(t.Context(), "brittle"); err != nil || len(list) != 2 || list[0].Fault != "error=EIO on=sync" {
		t.Errorf("the faults are %+v, %v", list, err)
	}
	fill(t, c, lun, "f")
	if result, err := c.Execute(synchronize); err != nil || result.Status == 0 {
		t.Errorf("SYNCHRONIZE CACHE: %v %+v", err, result)
	}
	b.await("that the fault has struck", `document.querySelector("main").innerText.match(/struck [1-9][0-9]* of/)`)

	b.act("#/luns/brittle", "faults", "brittle")
	eval[any](b, `document.activeElement.select(), null`)
	b.press(kb.Backspace)
	b.submit()
	b.closed()
	if list, err := r.Faults(t.Context(), "brittle"); err != nil || len(list) != 0 {
		t.Errorf("the faults are %+v, %v", list, err)
	}
	b.act("#/luns/brittle", "recover", "brittle", "accept-loss")
	b.typed("brittle")
	b.closed()
	b.await("that nothing is wrong", `!document.querySelector("main .concerns")`)
	if l, err := r.LUN(t.Context(), "brittle"); err != nil || len(l.Alerts) != 0 || l.Recovery != "" {
		t.Errorf("the LUN is %+v, %v", l, err)
	}
	fill(t, c, lun, "g")
	if result, err := c.Execute(synchronize); err != nil || result.Status != 0 {
		t.Errorf("SYNCHRONIZE CACHE: %v %+v", err, result)
	}
}

// testAccessState makes the only path to a LUN one that does not serve, and takes that back.
func testAccessState(t *testing.T, r *rig, b *tab) {
	c := r.login(t, clerk, books)
	fill(t, c, 5, "h")
	path := func() (group, state string) {
		l, err := r.LUN(t.Context(), "brittle")
		if err != nil || len(l.Paths) != 1 {
			t.Fatalf("the LUN is %+v, %v", l, err)
		}
		return fmt.Sprint(l.Paths[0].Group), l.Paths[0].State
	}
	group, _ := path()
	b.on(screens()[0])
	for _, want := range []string{"standby", "optimized"} {
		b.act("#/luns/brittle", "access-state", "brittle", group)
		b.choose("state", want)
		b.submit()
		b.closed()
		if _, state := path(); state != want {
			t.Errorf("the path is %s, want %s", state, want)
		}
		if want == "optimized" {
			holds(t, c, 5, "h")
			continue
		}
		key, code := uint8(6), uint16(0)
		for range 8 { // unit attentions come first
			result, err := c.Execute(initiator.Command{LUN: initiator.LUN(5), CDB: rw(0x28, 0), Read: piece})
			if err != nil {
				t.Fatal(err)
			}
			if key, code = result.SenseCode(); key != 6 {
				break
			}
		}
		if key != 2 || code != 0x040B { // NOT READY, TARGET PORT IN STANDBY STATE (SPC-4 5.15.2.4.4)
			t.Errorf("READ through a standby path: sense %x/%04x", key, code)
		}
	}
}

// testImage takes a LUN from its initiator, makes it smaller, moves it into one piece, and shows it again.
func testImage(t *testing.T, r *rig, b *tab) {
	if _, err := r.Edit(t.Context(), admin.Batch{Put: []admin.Put{
		{Table: configs.LUNTable, Object: map[string]any{"name": "attic", "store": "tank", "size": "4MiB"}},
		{Table: configs.MapTable, Object: map[string]any{"target": books, "number": 7, "lun": "attic"}}}}); err != nil {
		t.Fatal(err)
	}
	c := r.login(t, clerk, books)
	fill(t, c, 7, "i")
	b.on(screens()[1])
	b.act("#/luns/attic", "shrink", "attic")
	b.shoot("shrink")
	b.write("2")
	b.typed("attic")
	b.refused("is in use: " + clerk)
	b.leave()
	b.act("#/luns/attic", "unmap", "attic", books)
	b.typed("attic")
	b.closed()
	eventually(t, "the initiator sees it no more", func() bool {
		result, err := c.Execute(initiator.Command{LUN: initiator.LUN(7), CDB: make([]byte, 6)})
		if err != nil {
			t.Fatal(err)
		}
		_, code := result.SenseCode()
		return code == 0x2500 // LOGICAL UNIT NOT SUPPORTED
	})

	b.act("#/luns/attic", "shrink", "attic")
	b.write("2")
	b.typed("attic")
	b.closed()
	b.await("the smaller size", `/^2\s/.test(document.querySelector(".about").textContent)`)
	if image, err := os.Stat(filepath.Join(r.dir, "tank", "attic.img")); err != nil || image.Size() != 2<<20 {
		t.Errorf("the image is %+v, %v", image, err)
	}
	var last job.Status
	for _, kind := range []string{"verify", "defragment"} {
		b.act("#/luns/attic", kind, "attic")
		b.submit()
		b.closed()
		eventually(t, "the end of the job", func() bool {
			jobs, err := r.Jobs(t.Context())
			if err != nil || len(jobs) == 0 {
				t.Fatalf("the jobs are %+v, %v", jobs, err)
			}
			last = jobs[len(jobs)-1]
			return last.Kind == kind && last.State.Final()
		})
		if kind == "verify" && (last.State != job.Done || !strings.Contains(last.Result, "were read")) {
			t.Errorf("the job is %+v", last)
		}
	}
	if !strings.Contains(last.Result, "lies in 1 extents") && !strings.Contains(last.Error, "only ext4 and XFS") {
		t.Errorf("the job is %+v", last)
	}

	b.act("#/luns/attic", "map", "attic")
	b.choose("target", books)
	b.submit()
	b.closed()
	l := find(t, r, "attic")
	if len(l.Maps) != 1 || l.Maps[0].Target != books {
		t.Fatalf("the LUN is %+v", l)
	}
	holds(t, c, uint8(l.Maps[0].Number), "i")
}

// testTargets makes a target and a rule that admits to it, and takes both away.
func testTargets(t *testing.T, r *rig, b *tab) {
	const target, authority, guest = "iqn.2026-11.org.isantarget.test:parlour", "iqn.2026-11.org.isantarget.test:", "iqn.1993-08.org.debian:01:guest"
	secret := filepath.Join(r.dir, "guest.secret")
	if err := os.WriteFile(secret, []byte("a secret of the guest"), 0o600); err != nil {
		t.Fatal(err)
	}
	admitted := func(want bool, who string, chap *initiator.CHAP) {
		t.Helper()
		if _, err := r.try(t, who, target, chap); (err == nil) != want {
			t.Errorf("%s logs in with %+v: %v", who, chap, err)
		}
	}
	admitted(false, guest, nil)
	if _, err := r.try(t, guest, books, nil); err == nil { // so the daemon has heard of it
		t.Error("a guest is admitted")
	}
	b.on(screens()[0])
	b.act("#/targets", "create-target", "")
	b.write(strings.TrimPrefix(target, authority)) // the rest is proposed
	b.put("alias", "for visitors")
	b.shoot("create-target")
	b.submit()
	b.closed()
	admitted(true, guest, nil) // from this host

	b.on(screens()[1])
	b.act("#/targets", "admit", target)
	b.await("the initiator that was refused", fmt.Sprintf(`document.querySelector("#strangers option")?.value === %q`, guest))
	b.write("visitors")
	b.put("initiators", guest+", "+cluster)
	b.put("networks", "192.0.2.1")
	b.put("hosts", "localhost")
	b.tabTo("dialog[open] summary")
	b.press(" ")
	b.put("user", "vera")
	b.put("secret", secret)
	b.shoot("admit")
	b.submit()
	b.closed()
	b.await("the rule", `document.querySelector("main").innerText.includes("CHAP as vera") && document.querySelector("main").innerText.includes("from 192.0.2.1, localhost")`)
	admitted(true, guest, &initiator.CHAP{User: "vera", Secret: "a secret of the guest"})
	admitted(false, guest, nil)
	admitted(false, clerk, nil)

	b.act("#/targets", "delete-rule", "visitors")
	b.submit()
	b.closed()
	admitted(true, clerk, nil)
	b.act("#/targets", "delete-target", target)
	b.typed(target)
	b.closed()
	b.await("a list without it", `!document.querySelector("main").innerText.includes("parlour") && document.querySelector("main").innerText.includes("books")`)
	admitted(false, clerk, nil)
	if list, err := r.Targets(t.Context()); err != nil || len(list) != 2 {
		t.Errorf("the targets are %+v, %v", list, err)
	}
}
