package page

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/isantarget/isantarget/admin"
	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/provision"
	"github.com/isantarget/isantarget/test/peer"
)

// A browser says of every answer that is an error that it has failed to load something. Who is not logged in hears 401.
const unknownYet = `network: Failed to load resource: .*401.*/(login|events|status|load)`

// views are all of the page, and what each of them has to show.
func views() [][3]string {
	return [][3]string{
		{"overview", "#/", "Busiest LUNs"}, {"luns", "#/luns", "vmstore"}, {"lun", "#/luns/vmstore", "What is allocated"},
		{"targets", "#/targets", "cluster nodes"}, {"sessions", "#/sessions", worker}, {"snapshots", "#/snapshots", "before"},
		{"reservations", "#/reservations", "0x000000000000abcd"}, {"jobs", "#/jobs", "grow of quorum"}, {"events", "#/events", "logged in"},
	}
}

// TestPage opens the page in a browser: one daemon, one browser and one tab for all of it.
func TestPage(t *testing.T) {
	peer.Need(t, "chromium")
	r := start(t)
	b := open(t, launch(t))
	for _, one := range []struct {
		name     string
		test     func(*testing.T, *rig, *tab)
		expected []string // what the browser complains of
	}{
		{"NoOtherSiteFramesIt", testFrame, []string{`frame-ancestors`, `X-Frame-Options`}},
		{"WithoutTokenNobodySeesAnything", testDoor, nil},
		{"ByKeyboardAlone", testKeyboard, []string{`network: .*404.*/luns/keys`}},
		{"ErrorsAreShownAsTheyAre", testRefusal, []string{`network: .*422`}},
		{"RollBack", testRollback, []string{`network: .*409`}},
		{"Clone", testClone, nil},
		{"DeleteSnapshot", testSnapshotRemoval, nil},
		{"LogOutSession", testSessionLogout, nil},
		{"CancelJob", testJobCancel, []string{`network: .*(409|422)`}},
		{"FaultsAndRecovery", testFaults, []string{`network: .*400`}},
		{"AccessState", testAccessState, nil},
		{"HideShrinkDefragmentShow", testImage, []string{`network: .*4(09|22)`}},
		{"TargetsAndRules", testTargets, nil},
		{"EveryView", testViews, nil},
		{"ChartsMove", testCharts, nil},
		{"ClearReservation", testReservation, nil},
		{"WhoOnlyReadsHasNoActions", testReadOnly, []string{`network: .*403`}},
	} {
		t.Run(one.name, func(t *testing.T) {
			b.within(t, one.expected...)
			one.test(t, r, b)
		})
	}
}

// testDoor leaves the page open for who may write.
func testDoor(t *testing.T, r *rig, b *tab) {
	b.on(screens()[0])
	b.run(chromedp.Navigate(r.url))
	b.await("the question for a token", `document.activeElement?.id === "token"`)
	b.shoot("login")
	b.press("wrong", kb.Enter)
	b.await("what is wrong", `/token/.test(document.querySelector(".failure:not([hidden])")?.textContent)`)
	if text := eval[string](b, `document.body.innerText`); strings.Contains(text, "vmstore") {
		t.Errorf("who has not logged in sees:\n%s", text)
	}
	b.enter(writeToken)
	if cookies := eval[string](b, `document.cookie`); cookies != "" {
		t.Errorf("scripts can read the cookie %s", cookies)
	}
	testLeave(t, b)
	b.enter(writeToken)
}

// testLeave logs out.
func testLeave(t *testing.T, b *tab) {
	b.tabTo(`.side [data-action="leave"]`)
	b.press(kb.Enter)
	b.await("the question for a token", `document.activeElement?.id === "token"`)
	if status := eval[int](b, `fetch("/status").then((r) => r.status)`); status != http.StatusUnauthorized {
		t.Errorf("after a logout the status answers %d", status)
	}
}

// testFrame shows the page within one of another site: the browser has to refuse.
func testFrame(t *testing.T, r *rig, b *tab) {
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `<!doctype html><title>another site</title><iframe id="f" src="%s" onload="document.title = 'loaded'"></iframe>`, r.url)
	}))
	defer site.Close()
	b.run(chromedp.Navigate(site.URL))
	b.await("the end of loading", `document.title === "loaded"`)
	b.shoot("framed")
	header, _ := r.get(t, "")
	if policy := header.Get("Content-Security-Policy"); !strings.Contains(policy, "frame-ancestors 'none'") || strings.Contains(policy, "unsafe") {
		t.Errorf("the policy is %s", policy)
	}
	// What is in the frame is the browser's own page about what it did not show.
	tree := ask(b, func(ctx context.Context, t *chromedp.Target) (*cdppage.FrameTree, error) {
		answer, err := cdp.Call(ctx, t, cdppage.GetFrameTree, cdp.Empty{})
		return answer.FrameTree, err
	})
	if len(tree.ChildFrames) != 1 || tree.ChildFrames[0].Frame.UnreachableURL != r.url {
		t.Errorf("another site shows the page in a frame: %+v", tree.ChildFrames)
	}
}

func testKeyboard(t *testing.T, r *rig, b *tab) {
	b.press(kb.Tab)
	b.tabTo(`[data-action="create-lun"]`)
	b.press(kb.Enter)
	b.await("the dialog", `document.querySelector("dialog[open]") && document.activeElement?.name === "name"`)
	b.shoot("create")
	b.press("keys", kb.Tab, "64", kb.Tab, "M")
	b.tabTo(`dialog [type="submit"]`)
	b.press(kb.Enter)
	b.await("the new LUN", `location.hash === "#/luns/keys" && document.querySelector("[data-map=keys]")`)
	if l := find(t, r, "keys"); l.Size != 64<<20 || len(l.Maps) != 1 || l.Maps[0].Number != 2 {
		t.Errorf("the LUN is %+v", l)
	}
	b.await("its size", `document.querySelector(".about").textContent.includes("64")`)

	b.tabTo(`[data-action="grow"]`)
	b.press(kb.Enter)
	b.await("the dialog", `document.activeElement?.name === "size"`)
	b.press("96", kb.Enter)
	b.await("the larger size", `!document.querySelector("#dialogs dialog") && document.querySelector(".about").textContent.includes("96")`)
	if l := find(t, r, "keys"); l.Size != 96<<20 {
		t.Errorf("it has grown to %d bytes", l.Size)
	}

	b.tabTo(`[data-action="snapshot"]`)
	b.press(kb.Enter)
	b.await("the dialog", `document.activeElement?.name === "name"`)
	b.press("first", kb.Enter)
	b.await("the snapshot", `document.querySelector("main table")?.innerText.includes("first")`)

	b.tabTo(`[data-action="delete-lun"]`)
	b.press(kb.Enter)
	b.await("the dialog", `document.querySelector("dialog[open] [data-typed]")`)
	b.shoot("delete")
	dead := `document.querySelector("dialog [type=submit]").disabled`
	if !eval[bool](b, dead) {
		t.Error("the button to delete can be pressed before the name is typed")
	}
	b.tabTo(`[data-typed]`)
	b.press("key", kb.Enter)
	if !eval[bool](b, dead) || find(t, r, "keys").Size == 0 {
		t.Error("a part of the name is enough")
	}
	b.press("s")
	if eval[bool](b, dead) {
		t.Error("the button to delete cannot be pressed though the name is typed")
	}
	b.press(kb.Enter)
	b.await("the list without it", `location.hash === "#/luns" && !document.querySelector("#dialogs dialog") && document.querySelector("tbody") && !document.querySelector("tbody").innerText.includes("keys")`)
	if _, err := r.LUN(t.Context(), "keys"); err == nil {
		t.Error("the LUN is still there")
	}
}

// testRefusal has the daemon refuse something: the page shows its words.
func testRefusal(t *testing.T, r *rig, b *tab) {
	b.act("#/luns", "create-lun", "")
	b.press("huge", kb.Tab, "900", kb.Tab, "T")
	b.tabTo(`dialog [type="submit"]`)
	b.press(kb.Enter)
	b.await("the reason", `document.querySelector("dialog .failure:not([hidden])")`)
	if text := eval[string](b, `document.querySelector("dialog .failure").textContent`); !strings.Contains(text, "900 TiB") || !strings.Contains(text, "overcommit") {
		t.Errorf("the reason is %q", text)
	}
	b.shoot("refused")
	b.leave()
	b.await("the focus where it was", `document.activeElement?.dataset.action === "create-lun"`)

	b.act("#/luns/vmstore", "delete-lun", "vmstore") // stands in the configuration file
	if text := eval[string](b, `document.querySelector("dialog[open]").innerText`); !strings.Contains(text, r.dir+"/san.toml:") {
		t.Errorf("where the LUN is to be taken out is said in %q", text)
	}
	b.press(kb.Enter)
	b.closed()
}

func testViews(t *testing.T, r *rig, b *tab) {
	r.reserve(t)
	if _, err := r.TakeSnapshots(t.Context(), []string{"vmstore"}, "before"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Grow(t.Context(), "quorum", "16MiB"); err != nil {
		t.Fatal(err)
	}
	for i, s := range screens() {
		b.on(s)
		shows := views()
		if i > 1 {
			shows = shows[:3] // with the colours of the first two, and their widths
		}
		for _, v := range shows {
			b.visit(v[1], v[2])
			if v[0] == "lun" {
				b.await("the map", `/: [1-9][0-9]* wholly mapped/.test(document.querySelector("[data-map]")?.getAttribute("aria-label"))`)
			}
			what := v[0] + "-" + s.name
			if over := eval[int](b, `document.documentElement.scrollWidth - innerWidth`); over > 0 {
				t.Errorf("%s: %d pixels are beside the screen", what, over)
			}
			if n := eval[int](b, `document.querySelectorAll("h1").length`); n != 1 {
				t.Errorf("%s: %d headings of the first order", what, n)
			}
			b.shoot(what)
			if i < 2 {
				b.examine(what, "html")
			}
		}
	}
	if moving := eval[int](b, `document.getAnimations().filter((a) => a.playState === "running").length`); moving != 0 {
		t.Errorf("%d animations run though the reader wants none", moving)
	}
}

// testCharts looks at the throughput chart twice: its newest value is not nothing, and what is drawn moves.
func testCharts(t *testing.T, r *rig, b *tab) {
	b.on(screens()[0])
	b.visit("#/", "Busiest LUNs")
	value := `document.querySelector("[data-chart=throughput]").closest("figure").querySelector("[data-value='%d']").textContent`
	for n := range 2 {
		b.await("a throughput", fmt.Sprintf(`/^[0-9.]+\s[KMG]iB\/s$/.test(`+value+`)`, n))
	}
	b.await("a latency", `/s$/.test(document.querySelector("[data-chart=latency]").closest("figure").querySelector("[data-value='1']").textContent)`)
	drawn := `document.querySelector("[data-chart=throughput] canvas").toDataURL()`
	before := eval[string](b, drawn)
	deadline := time.Now().Add(bound)
	for eval[string](b, drawn) == before {
		if time.Now().After(deadline) {
			t.Fatal("the chart stands still")
		}
		time.Sleep(50 * time.Millisecond)
	}
	testSpaceChart(t, r, b)
	b.visit("#/sessions", worker)
	b.await("the throughput of the session", `/[1-9].*iB\/s/.test(document.querySelector("tbody .flow")?.textContent)`)
}

// testSpaceChart makes an image that takes its space at once, and takes it away: the chart of space goes up, and down.
func testSpaceChart(t *testing.T, r *rig, b *tab) {
	images := `(([n, unit]) => n * { B: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 }[unit])(document.querySelector("[data-chart=space]").closest("figure").querySelector("[data-value='1']").textContent.split("\u00a0"))`
	drawn := `document.querySelector("[data-chart=space] canvas").toDataURL()`
	b.await("the space of images", images+" >= 0")
	before, picture := eval[float64](b, images), eval[string](b, drawn)
	const heavy = 256 << 20 // beside it everything else that is written is little
	if _, err := r.Edit(t.Context(), admin.Batch{Put: []admin.Put{{Table: configs.LUNTable, Object: map[string]any{"name": "heavy", "store": "tank", "size": heavy, "provisioning": "fixed"}}}}); err != nil {
		t.Fatal(err)
	}
	b.await("more space of images", fmt.Sprintf("%s >= %f", images, before+heavy/2))
	b.await("another chart of space", drawn+fmt.Sprintf(" !== %q", picture))
	b.shoot("space")
	o, err := r.Object(t.Context(), configs.LUNTable, "heavy")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Edit(t.Context(), admin.Batch{Delete: []provision.Delete{{Table: o.Table, Name: o.Name, Version: o.Version, Image: true}}}); err != nil {
		t.Fatal(err)
	}
	b.await("less space of images", fmt.Sprintf("%s < %f", images, before+heavy/2))
}

func testReservation(t *testing.T, r *rig, b *tab) {
	b.act("#/reservations", "clear-reservation", "quorum")
	b.typed("quorum")
	b.await("that nothing is reserved", `document.querySelector("main").innerText.includes("Nothing is reserved")`)
	list, err := r.Reservations(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range list {
		if len(l.Registrations) != 0 {
			t.Errorf("what is reserved: %+v", l)
		}
	}
}

func testReadOnly(t *testing.T, r *rig, b *tab) {
	b.on(screens()[0])
	b.visit("#/", "Busiest LUNs")
	testLeave(t, b)
	b.enter(readToken)
	shows := views()
	for _, v := range shows {
		if v[0] == "reservations" {
			v[2] = "Nothing is reserved"
		}
		b.visit(v[1], v[2])
		acts := eval[string](b, `[...document.querySelectorAll("[data-action]")].map((e) => e.dataset.action).filter((a) => !["theme", "leave", "more", "less"].includes(a)).join()`)
		if acts != "" {
			t.Errorf("%s: who may only read is offered %s", v[0], acts)
		}
	}
	b.shoot("read-only")
	if status := eval[int](b, `fetch("/jobs/1", { method: "DELETE" }).then((r) => r.status)`); status != http.StatusForbidden {
		t.Errorf("who may only read is answered %d", status)
	}
}

// find is a LUN as the daemon has it.
func find(t *testing.T, r *rig, name string) provision.LUNDetail {
	t.Helper()
	l, err := r.LUN(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if o, err := r.Object(t.Context(), configs.LUNTable, name); err != nil || !o.Made {
		t.Errorf("the object of the LUN: %+v, %v", o, err)
	}
	return l
}
