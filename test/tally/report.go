package main

import (
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"
)

// counts are numbers of leaves.
type counts struct{ passed, failed, skipped int }

func (c counts) minus(d counts) counts {
	return counts{c.passed - d.passed, c.failed - d.failed, c.skipped - d.skipped}
}

func (c counts) String() string {
	return fmt.Sprintf("%d passed, %d failed, %d skipped", c.passed, c.failed, c.skipped)
}

// A report counts results and prints what a person must see of them: failures at once and in full, skips with the
// reason at the end, grouped by it. Each stage has one of its own, used by one goroutine.
type report struct {
	w        io.Writer
	counts   counts
	failures []failure
	reasons  []string            // of skips, in the order they came
	skips    map[string][]string // names by reason
	took     []string            // the stages, each with its time
}

// A failure is what is said once more at the end, where someone who has only the end of the output sees it.
type failure struct {
	name    string
	excerpt []string
}

func newReport(w io.Writer) *report { return &report{w: w, skips: make(map[string][]string)} }

func (r *report) printf(format string, args ...any) {
	fmt.Fprintf(r.w, format, args...)
}

func (r *report) pass() {
	r.counts.passed++
}

// fail counts a failure and prints all that is known of it.
func (r *report) fail(name, output string) {
	r.counts.failed++
	r.failures = append(r.failures, failure{short(name), excerpt(output)})
	fmt.Fprintf(r.w, "FAIL %s\n", short(name))
	for line := range strings.Lines(output) {
		fmt.Fprintf(r.w, "    %s", line)
	}
	if output != "" && !strings.HasSuffix(output, "\n") {
		fmt.Fprintln(r.w)
	}
}

// telling matches the lines of a test's output that say what is wrong: what it logged, a script's last words, a crash.
var telling = regexp.MustCompile(`^\w+\.go:\d+: |\] FAIL: |DATA RACE|panic: |fatal error: |took longer than`)

// excerpt is what says most of a failed test's output, a few lines.
func excerpt(output string) (lines []string) {
	const most, wide = 6, 300
	for line := range strings.Lines(output) {
		if line = strings.TrimSpace(line); telling.MatchString(line) && !strings.HasPrefix(line, "testing.go:") {
			lines = append(lines, strings.ToValidUTF8(line[:min(len(line), wide)], ""))
		}
	}
	if len(lines) > most {
		lines = append(lines[:most/2:most/2], lines[len(lines)-most/2:]...)
	}
	return lines
}

func (r *report) skip(name, reason string) {
	r.counts.skipped++
	if r.skips[reason] == nil {
		r.reasons = append(r.reasons, reason)
	}
	r.skips[reason] = append(r.skips[reason], short(name))
}

// packageLine says how a package went.
func (r *report) packageLine(name string, c counts, d time.Duration) {
	word := "ok  "
	if c.failed > 0 {
		word = "FAIL"
	}
	r.printf("%s %s: %v (%s)\n", word, short(name), c, seconds(d))
}

// add takes over what another report has counted.
func (r *report) add(s *report) {
	r.counts.passed += s.counts.passed
	r.counts.failed += s.counts.failed
	r.counts.skipped += s.counts.skipped
	r.failures = append(r.failures, s.failures...)
	r.took = append(r.took, s.took...)
	for _, reason := range s.reasons {
		if r.skips[reason] == nil {
			r.reasons = append(r.reasons, reason)
		}
		r.skips[reason] = append(r.skips[reason], s.skips[reason]...)
	}
}

// finish prints the skips, what failed and an excerpt of why, how long the stages took and the last line, and tells whether all is well.
func (r *report) finish() bool {
	for _, reason := range r.reasons {
		fmt.Fprintf(r.w, "SKIP %s\n", reason)
		for _, name := range r.skips[reason] {
			fmt.Fprintf(r.w, "    %s\n", name)
		}
	}
	for _, f := range r.failures {
		fmt.Fprintf(r.w, "FAIL %s\n", f.name)
		for _, line := range f.excerpt {
			fmt.Fprintf(r.w, "    %s\n", line)
		}
	}
	if len(r.took) > 1 {
		fmt.Fprintf(r.w, "took: %s\n", strings.Join(r.took, ", "))
	}
	if r.counts.passed+r.counts.failed == 0 {
		fmt.Fprintln(r.w, "nothing ran")
	}
	fmt.Fprintln(r.w, r.counts)
	return r.counts.failed == 0 && r.counts.passed > 0
}
