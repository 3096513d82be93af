package conformance

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// fakeTool stands for iscsi-test-cu: it prints what the real one prints, and crashes and hangs as the real one does. Its
// last but one argument is the pattern of tests, ALL.Suite or ALL.Suite.Test.
const fakeTool = `#!/bin/sh
for word; do pattern=$url url=$word verbose="$verbose $word"; done
case $verbose in *" -V "*) verbose=1 ;; *) verbose= ;; esac
begin() { printf '  Test: %s ...' "$1"; }
holds() { begin "$1"; printf '\n[CU_ASSERT]\npassed\n'; }
echo
echo "Suite: $(echo "$pattern" | cut -d. -f2)"
case $pattern in
ALL.Good) holds A; holds B ;;
ALL.Crash) holds A; begin B; printf '\n[CU_ASSERT]\n'; kill -SEGV $$ ;;
ALL.Crash.B) begin B; printf '\n[CU_ASSERT]\n'; kill -SEGV $$ ;;
ALL.Crash.C) holds C ;;
ALL.Hang) holds A; begin B; exec sleep 100 ;;
ALL.Hang.B) begin B; exec sleep 100 ;;
ALL.Hang.C) holds C ;;
ALL.Setup) echo 'cannot log in'; echo "WARNING - Suite initialization failed for 'Setup'." ;;
ALL.Silent*)
	if [ $verbose ]; then begin A; printf '\n    [SKIPPED] only -V says so\npassed    [SKIPPED] the clean-up says so too\n'
	else begin A; printf 'passed\n'; [ $pattern = ALL.Silent ] && { begin B; printf 'passed\n'; }; fi
	;;
ALL.Closed) begin A; printf '\n[CU_ASSERT]\npassed\n'; begin B; printf '\n[CU_PASS] x.c:1 CU_PASS("[SKIPPED] Non-iSCSI")\npassed\n' ;;
ALL.Closed.B) begin B; printf '\n[CU_ASSERT]\nFAILED\n    1. x.c:9  - CU_ASSERT_EQUAL(a,b)\n' ;;
ALL.Forgotten) holds A ;;
esac
echo 'Run Summary:'
exit 0
`

// fakeRunner is a Runner of the fake tool against a target that is there.
func fakeRunner(t *testing.T) *Runner {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, tool), []byte(fakeTool), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return &Runner{
		URLs: []string{"iscsi://nowhere"}, LogDir: t.TempDir(), Suite: time.Minute, Test: time.Minute,
		Alive: func() bool { return true }, Revive: func() error { return errors.New("nobody to revive") },
	}
}

// statuses runs tests and returns a status for each, and the reasons in one text.
func statuses(t *testing.T, r *Runner, tests ...string) (got []Status, reasons string) {
	t.Helper()
	results, err := r.Run(tests)
	if err != nil {
		t.Fatal(err)
	}
	for i, result := range results {
		if result.Test != tests[i] {
			t.Errorf("result %d is of %q, want %q", i, result.Test, tests[i])
		}
		got = append(got, result.Status)
		reasons += result.Test + ": " + result.Reason + "\n"
	}
	return got, reasons
}

func TestRunnerGivesEachTestItsResult(t *testing.T) {
	for name, c := range map[string]struct {
		tests []string
		bound time.Duration
		want  []Status
		says  string
	}{
		"all well":                      {[]string{"Good.A", "Good.B"}, time.Minute, []Status{Pass, Pass}, ""},
		"the tool dies":                 {[]string{"Crash.A", "Crash.B", "Crash.C"}, time.Minute, []Status{Pass, Fail, Pass}, "Crash.B: the tool ended in this test"},
		"a test hangs":                  {[]string{"Hang.A", "Hang.B", "Hang.C"}, 4 * time.Second, []Status{Pass, Hang, Pass}, "Hang.B: no result in time"},
		"a suite cannot be set up":      {[]string{"Setup.A", "Setup.B"}, time.Minute, []Status{Fail, Fail}, "Setup.B: suite set-up failed"},
		"a test skips silently":         {[]string{"Silent.A", "Silent.B"}, time.Minute, []Status{Skip, Skip}, "Silent.A: silent: only -V says so"},
		"a test lost its session":       {[]string{"Closed.A", "Closed.B"}, time.Minute, []Status{Pass, Fail}, "Closed.B: x.c:9 - CU_ASSERT_EQUAL(a,b)"},
		"the output forgets a test":     {[]string{"Forgotten.A", "Forgotten.B"}, time.Minute, []Status{Pass, Fail}, "Forgotten.B: no result in the tool's output"},
		"a test is asked for by itself": {[]string{"Crash.C"}, time.Minute, []Status{Pass}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := fakeRunner(t)
			r.Suite, r.Test = c.bound, c.bound
			got, reasons := statuses(t, r, c.tests...)
			if !reflect.DeepEqual(got, c.want) || !strings.Contains(reasons, c.says) {
				t.Errorf("%v, want %v and %q\n%s", got, c.want, c.says, reasons)
			}
		})
	}
}

// A target that dies fails the test it died in, and is started again for the others; one that cannot be started fails
// them all.
func TestRunnerSeesTheTargetDie(t *testing.T) {
	r := fakeRunner(t)
	alive, revived := true, 0
	r.Alive = func() bool { return alive }
	r.Revive = func() error { alive = true; revived++; return nil }
	runs := 0
	dies := r.Alive
	r.Alive = func() bool {
		if runs++; runs == 2 { // asked again in the test that was open at the end
			alive = false
		}
		return dies()
	}
	got, reasons := statuses(t, r, "Crash.A", "Crash.B", "Crash.C")
	if want := []Status{Pass, Fail, Pass}; !reflect.DeepEqual(got, want) || revived != 1 || !strings.Contains(reasons, "Crash.B: the target died in this test") {
		t.Errorf("%v after %d revivals, want %v after one\n%s", got, revived, want, reasons)
	}

	r = fakeRunner(t)
	r.Alive = func() bool { return false }
	got, reasons = statuses(t, r, "Good.A", "Good.B")
	if want := []Status{Fail, Fail}; !reflect.DeepEqual(got, want) || !strings.Contains(reasons, "the target does not answer: nobody to revive") {
		t.Errorf("without a target: %v, want %v\n%s", got, want, reasons)
	}
}

// A target that hangs everywhere does not take the bound of each test.
func TestRunnerGivesUp(t *testing.T) {
	r := fakeRunner(t)
	r.hangs = maxHangs
	got, reasons := statuses(t, r, "Good.A", "Good.B")
	if want := []Status{Hang, Hang}; !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v\n%s", got, want, reasons)
	}
}
