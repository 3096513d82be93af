package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// An event is a line of `go test -json` (see `go doc test2json`).
type event struct {
	Action      string
	Package     string
	ImportPath  string // of build-output and build-fail
	Test        string
	Elapsed     float64
	Output      string
	FailedBuild string
}

// A stream reads the events of one `go test -json`, and reports and counts each package when it ends.
type stream struct {
	report   *report
	packages map[string]*testPackage
	builds   map[string]*strings.Builder // what the compiler said, by import path
}

// A testPackage is a package whose tests run.
type testPackage struct {
	name   string
	tests  map[string]*test
	order  []string
	output strings.Builder // outside any test
	begun  time.Time
}

// A test is one test or subtest.
type test struct {
	action string // "", "pass", "fail" or "skip"
	output strings.Builder
}

func newStream(r *report) *stream {
	return &stream{report: r, packages: make(map[string]*testPackage), builds: make(map[string]*strings.Builder)}
}

// read takes events until the end. A line that is none goes to the report as it is.
func (s *stream) read(r io.Reader) error {
	in := bufio.NewReader(r)
	for {
		line, err := in.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if !bytes.HasPrefix(line, []byte("{")) || json.Unmarshal(line, &e) != nil {
				s.report.printf("%s", line)
			} else {
				s.event(e)
			}
		}
		if err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func (s *stream) event(e event) {
	switch e.Action {
	case "build-output":
		if s.builds[e.ImportPath] == nil {
			s.builds[e.ImportPath] = new(strings.Builder)
		}
		s.builds[e.ImportPath].WriteString(e.Output)
		return
	case "build-fail":
		return // the package's own fail names the build
	}
	p := s.packages[e.Package]
	if p == nil {
		p = &testPackage{name: e.Package, tests: make(map[string]*test), begun: time.Now()}
		s.packages[e.Package] = p
	}
	if e.Test == "" {
		s.packageEvent(p, e)
		return
	}
	t := p.tests[e.Test]
	if t == nil {
		t = new(test)
		p.tests[e.Test] = t
		p.order = append(p.order, e.Test)
	}
	switch e.Action {
	case "output":
		t.output.WriteString(e.Output)
	case "pass", "fail", "skip":
		t.action = e.Action
	}
}

func (s *stream) packageEvent(p *testPackage, e event) {
	switch e.Action {
	case "output":
		p.output.WriteString(e.Output)
	case "pass", "fail", "skip":
		if build := s.builds[e.FailedBuild]; build != nil {
			p.output.WriteString(build.String())
		}
		s.end(p, e.Action)
		delete(s.packages, e.Package)
	}
}

// close ends the packages of which no end was told, since go test itself was ended.
func (s *stream) close() {
	for _, name := range slices.Sorted(mapKeys(s.packages)) {
		p := s.packages[name]
		p.output.WriteString("go test ended before the package did\n")
		s.end(p, "fail")
	}
}

func mapKeys[V any](m map[string]V) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// end counts a package's tests and prints those that failed.
func (s *stream) end(p *testPackage, action string) {
	before := s.report.counts
	for _, name := range p.order {
		t := p.tests[name]
		full := p.name + " " + name
		switch {
		case t.action == "fail":
			if !p.hasChild(name, "fail") && !p.hasChild(name, "") {
				s.report.fail(full, p.history(name))
			}
		case t.action == "":
			if action == "fail" && !p.hasChild(name, "") {
				s.report.fail(full, p.history(name)+"it began and did not end\n")
			}
		case p.hasChild(name, "any"):
		case t.action == "skip":
			s.report.skip(full, reason(t.output.String()))
		case t.action == "pass":
			s.report.pass()
		}
	}
	if action == "fail" && s.report.counts.failed == before.failed {
		s.report.fail(p.name, p.output.String())
	} else if action == "fail" && strings.Contains(p.output.String(), "panic: ") {
		s.report.printf("%s", p.output.String())
	}
	if len(p.order) == 0 && action != "fail" {
		return // no test files
	}
	s.report.packageLine(p.name, s.report.counts.minus(before), time.Since(p.begun))
}

// hasChild tells whether a test has a subtest that ended with an action; "any" is whether it has one at all.
func (p *testPackage) hasChild(name, action string) bool {
	for child, t := range p.tests {
		if strings.HasPrefix(child, name+"/") && (action == "any" || t.action == action) {
			return true
		}
	}
	return false
}

// history is what a test printed, after what the tests it is part of did.
func (p *testPackage) history(name string) string {
	var b strings.Builder
	for i, c := range name {
		if c == '/' && p.tests[name[:i]] != nil {
			b.WriteString(p.tests[name[:i]].output.String())
		}
	}
	b.WriteString(p.tests[name].output.String())
	return b.String()
}

// reason finds in a skipped test's output why it was skipped: what t.Skip printed, without file and line.
func reason(output string) string {
	var lines []string
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "=== ") || strings.HasPrefix(line, "--- ") {
			continue
		}
		if file, rest, ok := strings.Cut(line, ": "); ok && strings.Contains(file, ".go:") {
			line = rest
		}
		lines = append(lines, line)
	}
	if len(lines) == 0 {
		return "no reason given"
	}
	return strings.Join(lines, " ")
}

// short is a package's path below the module's root.
func short(name string) string {
	const module = "github.com/isantarget/isantarget/"
	return strings.ReplaceAll(name, module, "")
}

// seconds prints a duration for people.
func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }
