package conformance

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

//go:embed shim/cu_pass.c
var shimSource []byte

// A Runner runs iscsi-test-cu against one logical unit, suite by suite.
type Runner struct {
	URLs    []string      // the unit's URL, and a second path to it where there is one
	Options []string      // further options of the tool
	LogDir  string        // the tool's raw output goes here, a file a run
	Suite   time.Duration // bound of a suite's run
	Test    time.Duration // bound of one test run alone

	// Alive tells whether the target accepts connections.
	Alive func() bool
	// Revive starts a target that does not; an error gives up the rest of the suite.
	Revive func() error

	shim  string
	runs  int
	hangs int
}

// maxHangs is after how many runs that hung the rest is given up: each costs its whole bound.
const maxHangs = 8

// tool is the program of Debian's libiscsi-bin.
const tool = "iscsi-test-cu"

// NewRunner builds the shim and returns a Runner whose files live in dir.
func NewRunner(dir string) (*Runner, error) {
	source, shim := filepath.Join(dir, "cu_pass.c"), filepath.Join(dir, "cu_pass.so")
	if err := os.WriteFile(source, shimSource, 0o600); err != nil {
		return nil, err
	}
	if out, err := exec.Command("cc", "-shared", "-fPIC", "-o", shim, source, "-ldl").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building the shim: %w\n%s", err, out)
	}
	logs := filepath.Join(dir, "log")
	if err := os.Mkdir(logs, 0o700); err != nil {
		return nil, err
	}
	return &Runner{LogDir: logs, Suite: 4 * time.Minute, Test: time.Minute, shim: shim}, nil
}

// List returns the names, Suite.Test, of every test of the tool's family ALL, in its order.
func List() ([]string, error) {
	out, err := exec.Command(tool, "--list").Output()
	if err != nil {
		return nil, fmt.Errorf("%s --list: %w", tool, err)
	}
	var names []string
	for _, m := range regexp.MustCompile(`(?m)^ALL\.([^.\s]+\.[^.\s]+)$`).FindAllStringSubmatch(string(out), -1) {
		names = append(names, m[1])
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("%s --list names no test of the family ALL", tool)
	}
	return names, nil
}

// A run is one run of the tool.
type run struct {
	output
	text     string
	status   int
	timedOut bool
}

// tool runs iscsi-test-cu with the tests that match a pattern Suite or Suite.Test.
func (r *Runner) tool(pattern string, bound time.Duration, options ...string) (run, error) {
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	// stdbuf: the tool's last words must survive the kill.
	args := slices.Concat([]string{"-o0", tool, "-d"}, r.Options, options, []string{"-t", "ALL." + pattern}, r.URLs)
	cmd := exec.CommandContext(ctx, "stdbuf", args...)
	cmd.Env = append(os.Environ(), "LD_PRELOAD="+r.shim)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	var text bytes.Buffer
	cmd.Stdout, cmd.Stderr = &text, &text
	err := cmd.Run()
	r.runs++
	log := filepath.Join(r.LogDir, fmt.Sprintf("%03d-%s.log", r.runs, pattern))
	if werr := os.WriteFile(log, text.Bytes(), 0o600); werr != nil {
		return run{}, werr
	}
	if ctx.Err() != nil {
		r.hangs++
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && ctx.Err() == nil {
		return run{}, fmt.Errorf("%s: %w", strings.Join(cmd.Args, " "), err)
	}
	return run{
		output:   parse(text.String()),
		text:     text.String(),
		status:   cmd.ProcessState.ExitCode(),
		timedOut: ctx.Err() != nil,
	}, nil
}

// Run runs tests of one suite, given as Suite.Test, and returns a result for each, in their order. The error is of the
// tool itself or of the file system; whatever the target does is a result.
func (r *Runner) Run(tests []string) ([]Result, error) {
	s := suite{runner: r, todo: slices.Clone(tests), results: make(map[string]Result)}
	for len(s.todo) > 0 {
		if err := s.step(); err != nil {
			return nil, err
		}
	}
	if err := s.judgeEmpty(); err != nil {
		return nil, err
	}
	results := make([]Result, len(tests))
	for i, test := range tests {
		results[i] = s.results[test]
	}
	return results, nil
}

// A suite is the tests of one suite on their way to results.
type suite struct {
	runner  *Runner
	todo    []string // without a result yet
	results map[string]Result
	empty   []string // passed without one assertion
	alone   bool     // run test by test, since the suite's own run did not end well
}

func (s *suite) set(test string, status Status, format string, args ...any) {
	if _, done := s.results[test]; !done {
		s.results[test] = Result{Test: test, Status: status, Reason: fmt.Sprintf(format, args...)}
	}
}

// drop takes what has a result out of todo, and what is to be judged at the end.
func (s *suite) drop() {
	s.todo = slices.DeleteFunc(s.todo, func(test string) bool {
		_, done := s.results[test]
		return done || slices.Contains(s.empty, test)
	})
}

// step runs the tool once: the whole suite, or the first test that has no result. Every step gives at least one test its
// result, or goes over to single tests.
func (s *suite) step() error {
	defer s.drop()
	if s.runner.hangs >= maxHangs {
		for _, test := range s.todo {
			s.set(test, Hang, "not run: %d runs before it hung", s.runner.hangs)
		}
		return nil
	}
	if !s.runner.Alive() {
		if err := s.runner.Revive(); err != nil {
			for _, test := range s.todo {
				s.set(test, Fail, "not run: the target does not answer: %v", err)
			}
			return nil
		}
	}
	pattern, bound := s.todo[0], s.runner.Test
	if !s.alone {
		pattern, _, _ = strings.Cut(pattern, ".")
		bound = s.runner.Suite
	}
	got, err := s.runner.tool(pattern, bound)
	if err != nil {
		return err
	}
	again := s.take(got)
	switch {
	case len(got.outcomes) == 0:
		s.nothingStarted(got)
	case s.alone:
		if _, done := s.results[s.todo[0]]; !done && !slices.Contains(s.empty, s.todo[0]) {
			s.set(s.todo[0], Fail, "no result in the tool's output")
		}
	case !again && (got.status == 0 || got.status == 1):
		for _, test := range s.todo {
			if !slices.Contains(s.empty, test) {
				s.set(test, Fail, "no result in the tool's output")
			}
		}
	}
	s.alone = true
	return nil
}

// take makes results of what the tool's output says. It tells whether a test wants a run of its own.
func (s *suite) take(got run) (again bool) {
	for _, o := range got.outcomes {
		switch o.verdict {
		case passed:
			s.set(o.test, Pass, "%s", o.reason)
		case failed:
			s.set(o.test, Fail, "%s", o.reason)
		case empty:
			if !slices.Contains(s.empty, o.test) {
				s.empty = append(s.empty, o.test)
			}
		case skipped:
			// An earlier test of the suite closed the tool's session; this one left at once.
			if !s.alone && (strings.Contains(o.reason, "Non-iSCSI") || strings.Contains(o.reason, "Not an iSCSI")) {
				again = true
				continue
			}
			s.set(o.test, Skip, "%s", o.reason)
		case open:
			s.died(o, got)
		}
	}
	return again
}

// died gives a test its result in which the tool's output ended.
func (s *suite) died(o outcome, got run) {
	more := ""
	if o.reason != "" {
		more = "; " + o.reason
	}
	switch {
	case !s.runner.Alive():
		s.set(o.test, Fail, "the target died in this test%s", more)
	case got.timedOut:
		s.set(o.test, Hang, "no result in time%s", more)
	default:
		s.set(o.test, Fail, "the tool ended in this test, status %d%s", got.status, more)
	}
}

// nothingStarted gives results after a run in which no test began.
func (s *suite) nothingStarted(got run) {
	if !s.alone && (got.timedOut || got.status < 0) {
		return // a hang or a crash of the tool before the first test: try them one by one
	}
	why := "before the first test: " + lastLine(got.text)
	if got.noSetup {
		why = "suite set-up failed: " + lastLine(got.text)
	}
	of := s.todo
	if s.alone {
		of = s.todo[:1]
	}
	for _, test := range of {
		switch {
		case !s.runner.Alive():
			s.set(test, Fail, "the target died before the first test")
		case got.timedOut:
			s.set(test, Hang, "%s", why)
		default:
			s.set(test, Fail, "%s (status %d)", why, got.status)
		}
	}
}

// lastLine is the last thing the tool said.
func lastLine(text string) string {
	lines := strings.Split(text, "\n")
	for _, line := range slices.Backward(lines) {
		if line = strings.TrimSpace(line); line != "" && !strings.Contains(line, "CUnit") {
			return line
		}
	}
	return "no output"
}

// judgeEmpty runs each test that passed without an assertion once more with -V, which says whether it skipped.
func (s *suite) judgeEmpty() error {
	skip := regexp.MustCompile(`(?m)\[SKIPP(?:ED|ING)\] *(.*)$`)
	end := regexp.MustCompile(`(?m)^passed(?:    .*)?$|[^\[A-Za-z]passed$`)
	for _, test := range s.empty {
		if !s.runner.Alive() {
			if err := s.runner.Revive(); err != nil {
				s.set(test, Fail, "not run: the target does not answer: %v", err)
				continue
			}
		}
		got, err := s.runner.tool(test, s.runner.Test, "-V")
		if err != nil {
			return err
		}
		// The tool's own set-up, before the suite's name, and its clean-up, after the verdict, say [SKIPPED] too.
		_, text, _ := strings.Cut(got.text, "\nSuite: ")
		if verdicts := end.FindAllStringIndex(text, -1); verdicts != nil {
			text = text[:verdicts[len(verdicts)-1][0]]
		}
		switch m := skip.FindStringSubmatch(text); {
		case m != nil:
			s.set(test, Skip, "silent: %s", strings.TrimSpace(m[1]))
		case strings.Contains(text, "CU_ASSERT"):
			s.set(test, Pass, "")
		default:
			s.set(test, Pass, "made no assertion")
		}
	}
	return nil
}
