package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// goTestOf runs go test on packages made of the given sources and returns the report and what it printed.
func goTestOf(t *testing.T, files map[string]string, args ...string) (*report, string) {
	t.Helper()
	dir := t.TempDir()
	files["go.mod"] = "module specimen\n\ngo 1.26\n"
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	var printed strings.Builder
	r := newReport(&printed)
	goTest(ctx, r, dir, []string{"GOFLAGS=", "GOWORK=off"}, append(args, "./...")...)
	r.finish()
	return r, printed.String()
}

func TestLeavesAreCountedOnce(t *testing.T) {
	r, printed := goTestOf(t, map[string]string{"a/a_test.go": `package a
import "testing"
func TestPlain(t *testing.T) {}
func TestParent(t *testing.T) {
	t.Run("one", func(t *testing.T) {})
	t.Run("two", func(t *testing.T) { t.Run("deep", func(t *testing.T) { t.Error("deep trouble") }) })
	t.Run("three", func(t *testing.T) { t.Skip("no such machine") })
}
func TestParentItself(t *testing.T) {
	t.Run("fine", func(t *testing.T) {})
	t.Error("trouble of its own")
}
func TestSkipped(t *testing.T) { t.Skip("no such machine") }
`, "b/b.go": "package b\n"})
	if want := (counts{passed: 3, failed: 2, skipped: 2}); r.counts != want {
		t.Errorf("counted %v, want %v\n%s", r.counts, want, printed)
	}
	for _, want := range []string{
		"FAIL specimen/a TestParent/two/deep\n", "deep trouble", "FAIL specimen/a TestParentItself\n", "trouble of its own",
		"SKIP no such machine\n    specimen/a TestParent/three\n    specimen/a TestSkipped\n",
	} {
		if !strings.Contains(printed, want) {
			t.Errorf("the report lacks %q:\n%s", want, printed)
		}
	}
	const end = "\nFAIL specimen/a TestParent/two/deep\n    a_test.go:6: deep trouble\nFAIL specimen/a TestParentItself\n    a_test.go:11: trouble of its own\n3 passed, 2 failed, 2 skipped\n"
	if !strings.HasSuffix(printed, end) {
		t.Errorf("the end is not what failed, why, and the tally:\n%s", printed)
	}
}

// What goes wrong outside a test is a failure all the same, and what it printed is shown.
func TestPackageFailures(t *testing.T) {
	for name, c := range map[string]struct {
		source string
		want   counts
		shown  string
	}{
		"a build failure": {`package a
import "testing"
func TestA(t *testing.T) { undefined() }`, counts{failed: 1}, "undefined: undefined"},
		"a panic in a test": {`package a
import "testing"
func TestA(t *testing.T) {}
func TestB(t *testing.T) { panic("boom") }
func TestC(t *testing.T) {}`, counts{passed: 1, failed: 1}, "panic: boom"},
		"a panic in a goroutine": {`package a
import ("testing"; "time")
func TestA(t *testing.T) {}
func TestB(t *testing.T) { go panic("boom"); time.Sleep(time.Minute) }`, counts{passed: 1, failed: 1}, "panic: boom"},
		"an early exit": {`package a
import ("os"; "testing")
func TestA(t *testing.T) {}
func TestB(t *testing.T) { os.Exit(3) }`, counts{passed: 1, failed: 1}, "did not end"},
		"a TestMain that fails": {`package a
import ("fmt"; "os"; "testing")
func TestMain(m *testing.M) { m.Run(); fmt.Println("cannot clean up"); os.Exit(1) }
func TestA(t *testing.T) {}`, counts{passed: 1, failed: 1}, "cannot clean up"},
		"a timeout": {`package a
import ("testing"; "time")
func TestA(t *testing.T) {}
func TestB(t *testing.T) { t.Run("slow", func(t *testing.T) { time.Sleep(time.Minute) }) }`, counts{passed: 1, failed: 1}, "panic: test timed out"},
		"a race": {`package a
import "testing"
func TestA(t *testing.T) {
	n, done := 0, make(chan bool)
	go func() { n++; close(done) }()
	n++
	<-done
}`, counts{failed: 1}, "DATA RACE"},
	} {
		t.Run(name, func(t *testing.T) {
			var args []string
			switch name {
			case "a timeout":
				args = []string{"-timeout=5s"}
			case "a race":
				args = []string{"-race"}
			}
			r, printed := goTestOf(t, map[string]string{"a/a_test.go": c.source}, args...)
			if r.counts != c.want {
				t.Errorf("counted %v, want %v", r.counts, c.want)
			}
			if !strings.Contains(printed, c.shown) {
				t.Errorf("the report does not show %q", c.shown)
			}
			if t.Failed() {
				t.Log(printed)
			}
		})
	}
}

// A go test that is ended from outside leaves its tests failed, not forgotten.
func TestStreamThatBreaksOff(t *testing.T) {
	r := newReport(new(strings.Builder))
	s := newStream(r)
	if err := s.read(strings.NewReader(`{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"run","Package":"p","Test":"TestB"}
not an event
`)); err != nil {
		t.Fatal(err)
	}
	s.close()
	if want := (counts{passed: 1, failed: 1}); r.counts != want {
		t.Errorf("counted %v, want %v", r.counts, want)
	}
}

func TestFinishTellsWhetherAllIsWell(t *testing.T) {
	for _, c := range []struct {
		counts counts
		want   bool
		last   string
	}{
		{counts{}, false, "nothing ran\n0 passed, 0 failed, 0 skipped\n"},
		{counts{passed: 2}, true, "2 passed, 0 failed, 0 skipped\n"},
		{counts{passed: 2, failed: 1}, false, "2 passed, 1 failed, 0 skipped\n"},
		{counts{skipped: 5}, false, "nothing ran\n0 passed, 0 failed, 5 skipped\n"},
		{counts{passed: 1, skipped: 5}, true, "1 passed, 0 failed, 5 skipped\n"},
	} {
		var printed strings.Builder
		r := newReport(&printed)
		r.counts = c.counts
		if got := r.finish(); got != c.want || printed.String() != c.last {
			t.Errorf("%v: finish is %v with %q, want %v with %q", c.counts, got, printed.String(), c.want, c.last)
		}
	}
}

// A stage that runs nothing is a failure, as is one that is not reached any more.
func TestStagesThatRunNothing(t *testing.T) {
	r := &runner{report: newReport(new(strings.Builder))}
	ctx, cancel := context.WithCancel(context.Background())
	runStages(ctx, r, []stage{
		{name: "empty", bound: time.Minute, run: func(context.Context, *runner) {}},
		{name: "full", bound: time.Minute, run: func(_ context.Context, r *runner) { r.report.pass(); cancel() }},
		{name: "late", bound: time.Minute, run: func(_ context.Context, r *runner) { r.report.pass() }},
	})
	if want := (counts{passed: 1, failed: 2}); r.report.counts != want {
		t.Errorf("counted %v, want %v", r.report.counts, want)
	}
}

// A stage that waits runs beside the next, and counts all the same; its report is in one piece.
func TestStagesBeside(t *testing.T) {
	var printed strings.Builder
	r := &runner{report: newReport(&printed)}
	next := make(chan struct{})
	runStages(context.Background(), r, []stage{
		{name: "slow", bound: time.Minute, waits: true, run: func(_ context.Context, r *runner) {
			<-next
			r.report.fail("slow thing", "it broke")
		}},
		{name: "quick", bound: time.Minute, run: func(_ context.Context, r *runner) { r.report.pass(); close(next) }},
	})
	if want := (counts{passed: 1, failed: 1}); r.report.counts != want {
		t.Errorf("counted %v, want %v", r.report.counts, want)
	}
	if want := "== slow: \nFAIL slow thing\n    it broke\n== slow: 0 passed, 1 failed, 0 skipped"; !strings.Contains(printed.String(), want) {
		t.Errorf("the report of the slow stage is not in one piece:\n%s", printed.String())
	}
}

// A stage that joins begins when those before it have ended, and those after it wait for its end.
func TestStageJoins(t *testing.T) {
	r := &runner{report: newReport(new(strings.Builder))}
	var running atomic.Int32
	mostly := func(_ context.Context, r *runner) {
		running.Add(1)
		time.Sleep(50 * time.Millisecond) // so that the next would find it
		running.Add(-1)
		r.report.pass()
	}
	runStages(context.Background(), r, []stage{
		{name: "before", bound: time.Minute, waits: true, run: mostly},
		{name: "joins", bound: time.Minute, joins: true, run: func(_ context.Context, r *runner) {
			if n := running.Load(); n != 0 {
				r.report.fail("joins", "another stage runs")
			}
			r.report.pass()
		}},
		{name: "after", bound: time.Minute, waits: true, run: mostly},
		{name: "last", bound: time.Minute, run: mostly},
	})
	if want := (counts{passed: 4}); r.report.counts != want {
		t.Errorf("counted %v, want %v", r.report.counts, want)
	}
}

func TestUnknownStageIsRefused(t *testing.T) {
	var printed strings.Builder
	if status := run([]string{"nonsense"}, &printed); status != 2 || !strings.Contains(printed.String(), `no stage "nonsense"`) {
		t.Errorf("run of an unknown stage is %d with %q, want 2 and its name", status, printed.String())
	}
}
