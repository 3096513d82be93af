package page

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	cdplog "github.com/chromedp/cdproto/log"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// bound is how long anything may take on a machine that is busy with other things.
const bound = 2 * time.Minute

// launch starts chromium once for all tests.
func launch(t *testing.T) context.Context {
	t.Helper()
	profile := t.TempDir()
	ctx, cancel := chromedp.NewExecAllocator(context.Background(),
		chromedp.ExecPath("chromium"), chromedp.UserDataDir(profile), chromedp.Env("HOME="+profile), chromedp.WSURLReadTimeout(bound),
		chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true), chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("hide-scrollbars", true))
	browser, quit := chromedp.NewContext(ctx)
	t.Cleanup(func() {
		quit()
		cancel()
	})
	if err := chromedp.Do(browser); err != nil {
		t.Fatalf("chromium does not start: %v", err)
	}
	return browser
}

// A tab is a page in the browser, which one test after the other looks at.
type tab struct {
	t   *testing.T // the one that does so now
	ctx context.Context
	axe string // axe-core

	mu         sync.Mutex
	complaints []string
	expected   []*regexp.Regexp // complaints that are part of the test
}

// open makes a tab, with nothing in it.
func open(t *testing.T, browser context.Context) *tab {
	t.Helper()
	axe, err := os.ReadFile("testdata/axe/axe.min.js")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := chromedp.NewContext(browser)
	t.Cleanup(cancel)
	b := &tab{t: t, ctx: ctx, axe: string(axe)}
	if err := chromedp.Listen(ctx, b.hear); err != nil {
		t.Fatal(err)
	}
	b.run(protocol(cdplog.Enable, cdp.Empty{}), protocol(runtime.Enable, cdp.Empty{}))
	return b
}

// within has a test look at the tab. What the browser complains of fails it, but for what is expected.
func (b *tab) within(t *testing.T, expected ...string) {
	b.t = t
	b.mu.Lock()
	defer b.mu.Unlock()
	b.complaints, b.expected = nil, nil
	for _, e := range append(expected, unknownYet) {
		b.expected = append(b.expected, regexp.MustCompile(e))
	}
	t.Cleanup(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, c := range b.complaints {
			t.Errorf("the browser complains: %s", c)
		}
	})
	t.Cleanup(func() {
		if t.Failed() { // what it has left is not in the way of the next one
			eval[any](b, `document.querySelectorAll("dialog[open]").forEach((d) => d.close()), null`)
		}
	})
}

// hear notes errors of scripts, of the console and of the browser, violations of the content security policy among them.
func (b *tab) hear(event any) {
	var text string
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		text = "exception: " + e.ExceptionDetails.Text
		if x := e.ExceptionDetails.Exception; x != nil {
			text += " " + x.Description
		}
	case *runtime.EventConsoleAPICalled:
		if e.Type != runtime.ConsoleAPICalledTypeError && e.Type != runtime.ConsoleAPICalledTypeWarning {
			return
		}
		text = "console: "
		for _, a := range e.Args {
			text += string(a.Value) + a.Description + " "
		}
	case *cdplog.EventEntryAdded:
		if e.Entry.Level != cdplog.EntryLevelError && e.Entry.Level != cdplog.EntryLevelWarning {
			return
		}
		text = fmt.Sprintf("%s: %s %s", e.Entry.Source, e.Entry.Text, e.Entry.URL)
	default:
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !slices.ContainsFunc(b.expected, func(r *regexp.Regexp) bool { return r.MatchString(text) }) {
		b.complaints = append(b.complaints, text)
	}
}

// protocol is a command of the DevTools protocol whose answer says nothing.
func protocol[P, R any](c cdp.Command[P, R], params P) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, c, params)
		return err
	})
}

// ask runs an action in time, and gives its answer.
func ask[T any](b *tab, a chromedp.Action[T]) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, bound)
	defer cancel()
	v, err := chromedp.Run(ctx, a)
	if err != nil {
		b.t.Fatal(err)
	}
	return v
}

func (b *tab) run(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	for _, a := range actions {
		ask(b, a)
	}
}

// eval is the value of an expression in the page.
func eval[T any](b *tab, expression string) T {
	b.t.Helper()
	return ask(b, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
}

// await waits until an expression is true.
func (b *tab) await(what, expression string) {
	b.t.Helper()
	deadline := time.Now().Add(bound)
	for !eval[bool](b, "!!("+expression+")") {
		if time.Now().After(deadline) {
			b.shoot("in-vain")
			b.t.Fatalf("in vain: %s\n%s", what, eval[string](b, `document.body.innerText`))
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// A screen is what the page is looked at on.
type screen struct {
	name          string
	width, height int64
	scheme        string
	phone         bool
}

func screens() []screen {
	return []screen{
		{"desktop-light", 1280, 800, "light", false}, {"phone-dark", 390, 844, "dark", true},
		{"desktop-dark", 1280, 800, "dark", false}, {"phone-light", 390, 844, "light", true},
	}
}

func (b *tab) on(s screen) {
	b.t.Helper()
	b.run(chromedp.EmulateViewport(s.width, s.height), protocol(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: s.scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}}}))
}

// enter logs in, where the page asks for a token.
func (b *tab) enter(token string) {
	b.t.Helper()
	b.await("the question for a token", `document.activeElement?.id === "token"`)
	b.write(token)
	b.press(kb.Enter)
	b.await("the overview", `document.querySelector("h1")?.textContent === "Overview" && document.querySelector(".health")`)
}

// visit opens a view and waits until it shows what it is for.
func (b *tab) visit(hash, shows string) {
	b.t.Helper()
	eval[any](b, fmt.Sprintf(`location.hash = %q, null`, hash))
	b.await(hash+" shows "+shows, fmt.Sprintf(`location.hash === %q && document.querySelector("main").innerText.includes(%q)`, hash, shows))
}

// press types, as a person at a keyboard does.
func (b *tab) press(keys ...string) {
	b.t.Helper()
	for _, k := range keys {
		b.run(chromedp.KeyEvent(k))
	}
}

// write puts in a text at once, as who pastes it does.
func (b *tab) write(text string) {
	b.t.Helper()
	b.run(protocol(input.InsertText, input.InsertTextParams{Text: text}))
	if !eval[bool](b, fmt.Sprintf(`!!document.activeElement.value?.includes(%q)`, text)) {
		b.t.Fatalf("%q is not written, but %s", text, eval[string](b, `document.activeElement.outerHTML + ": " + document.activeElement.value`))
	}
}

// tabTo presses Tab until what a selector names has the focus, visibly.
func (b *tab) tabTo(selector string) {
	b.t.Helper()
	seen := []string{}
	for range 80 {
		if eval[bool](b, fmt.Sprintf(`document.activeElement.matches(%q)`, selector)) {
			if !eval[bool](b, `getComputedStyle(document.activeElement).outlineStyle !== "none"`) {
				b.t.Errorf("%s has the focus, and nothing shows it", selector)
			}
			return
		}
		b.press(kb.Tab)
		seen = append(seen, eval[string](b, `document.activeElement.tagName + " " + document.activeElement.textContent.trim().slice(0, 30)`))
	}
	b.t.Fatalf("no Tab leads to %s, but to %q", selector, seen)
}

// shoot writes a picture of what is seen.
func (b *tab) shoot(name string) {
	b.t.Helper()
	fast := true
	picture := ask(b, func(ctx context.Context, t *chromedp.Target) ([]byte, error) {
		answer, err := cdp.Call(ctx, t, cdppage.CaptureScreenshot, cdppage.CaptureScreenshotParams{OptimizeForSpeed: &fast})
		return answer.Data, err
	})
	if err := os.WriteFile(filepath.Join(artifacts(b.t), name+".png"), picture, 0o644); err != nil {
		b.t.Error(err)
	}
}

// artifacts is the folder for what tests leave to look at.
func artifacts(t *testing.T) string {
	if dir := os.Getenv("ISANTARGET_TEST_ARTIFACTS"); dir != "" {
		dir = filepath.Join(dir, "page")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	return t.ArtifactDir()
}

// A finding is what axe-core has against a page.
type finding struct {
	ID    string `json:"id"`
	Help  string `json:"help"`
	Nodes []struct {
		HTML    string `json:"html"`
		Summary string `json:"failureSummary"`
	} `json:"nodes"`
}

// examine has axe-core look at what a selector names: names, roles, labels, contrast.
func (b *tab) examine(what, selector string) {
	b.t.Helper()
	if !eval[bool](b, `!!window.axe`) {
		eval[any](b, b.axe+"\n;null")
	}
	text := eval[string](b, fmt.Sprintf(`axe.run(%q, { resultTypes: ["violations"], preload: false, iframes: false }).then((r) => JSON.stringify(r.violations))`, selector))
	var found []finding
	if err := json.Unmarshal([]byte(text), &found); err != nil {
		b.t.Fatal(err)
	}
	for _, f := range found {
		var where []string
		for _, n := range f.Nodes {
			where = append(where, n.HTML+"\n"+n.Summary)
		}
		b.t.Errorf("%s: %s (%s):\n%s", what, f.Help, f.ID, strings.Join(where, "\n"))
	}
}
