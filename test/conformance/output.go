package conformance

import (
	"regexp"
	"strings"
)

// A verdict is what CUnit's output says of one test, before the runner has judged it.
type verdict int

const (
	open   verdict = iota // the output ends inside the test
	passed                // passed, with assertions, without a word of a skip
	empty                 // passed without a single assertion: a skip, or nothing to check
	skipped
	failed
)

// An outcome is one test of a tool's output.
type outcome struct {
	test    string // Suite.Test
	verdict verdict
	reason  string
}

// An output is what the tool printed, taken apart.
type output struct {
	outcomes []outcome
	noSetup  bool // a suite could not be set up
}

// The lines of CUnit's verbose mode, and what the tests of libiscsi print between them.
type grammar struct {
	stamp    *regexp.Regexp // a date and a time before a message
	skip     *regexp.Regexp
	fail     *regexp.Regexp
	cleanup  *regexp.Regexp // what the suite's clean-up adds to a test's line
	location *regexp.Regexp // "    1. file.c:12  - CU_ASSERT(...)", after the verdict
	first    *regexp.Regexp // a verdict alone on its line, or with the suite's clean-up talking after it
	last     *regexp.Regexp // a verdict at the end of a line that a test began
}

func newGrammar() grammar {
	return grammar{
		stamp:    regexp.MustCompile(`^ *(\d{4}-[0-9-]* [0-9:.]* *)?`),
		skip:     regexp.MustCompile(`\[SKIPP(ED|ING)\] *|does not support 0-blocks`),
		fail:     regexp.MustCompile(`\[FAIL(ED|URE)\] *`),
		cleanup:  regexp.MustCompile(`    (\d{4}-[0-9-]* [0-9:.]* +)?\[FAIL(ED|URE)\].*$`),
		location: regexp.MustCompile(`^ +\d+\. `),
		first:    regexp.MustCompile(`^(passed|FAILED)(    |$)`),
		last:     regexp.MustCompile(`(^|[^\[A-Za-z])(passed|FAILED)$`),
	}
}

// parse takes the tool's output apart.
func parse(text string) output {
	p := parser{grammar: newGrammar()}
	for line := range strings.Lines(text) {
		p.line(strings.TrimRight(line, "\r\n"))
	}
	p.flush()
	return p.output
}

type parser struct {
	grammar
	output
	suite    string
	test     string // "" between tests
	verdict  string // "passed", "FAILED" or "" while the test runs
	asserted bool
	skipped  string // what it said when it skipped
	silent   string // the CU_PASS through which it left
	failure  string // what it said, or the first assertion that failed
}

func (p *parser) line(line string) {
	switch {
	case strings.HasPrefix(line, "Suite: "):
		p.flush()
		p.suite = strings.TrimSpace(line[len("Suite: "):])
	case strings.HasPrefix(line, "  Test: "):
		p.flush()
		name, rest, _ := strings.Cut(line[len("  Test: "):], " ...")
		p.test = name
		p.body(rest)
	case strings.HasPrefix(line, "Run Summary:"):
		p.flush()
	case strings.HasPrefix(line, "WARNING - Suite initialization failed"):
		p.flush()
		p.noSetup = true
	case p.test != "":
		p.body(line)
	}
}

// body reads a line, or the rest of one, that belongs to the test.
func (p *parser) body(line string) {
	if p.verdict == "" {
		if m := p.first.FindStringSubmatch(line); m != nil {
			p.verdict = m[1]
			return
		}
		if m := p.last.FindStringSubmatchIndex(line); m != nil {
			p.note(line[:m[4]])
			p.verdict = line[m[4]:]
			return
		}
	}
	p.note(line)
}

// note keeps what a line says of the test.
func (p *parser) note(line string) {
	if p.verdict != "" {
		if p.verdict == "FAILED" && p.failure == "" && p.location.MatchString(line) {
			p.failure = p.location.ReplaceAllString(line, "")
		}
		return
	}
	text := p.stamp.ReplaceAllString(line, "")
	partly := ""
	if p.asserted {
		partly = "partly: "
	}
	if strings.Contains(text, "[CU_ASSERT]") {
		p.asserted = true
	} else if _, left, ok := strings.Cut(text, "[CU_PASS] "); ok {
		setOnce(&p.silent, partly+left)
	} else if m := p.skip.FindStringIndex(text); m != nil {
		setOnce(&p.skipped, partly+said(text, m))
	} else if m := p.fail.FindStringIndex(text); m != nil {
		setOnce(&p.failure, said(text, m))
	}
}

// said is what follows a tag such as [SKIPPED], or all of a text whose tag is a sentence.
func said(text string, tag []int) string {
	if text[tag[0]] == '[' {
		return text[tag[1]:]
	}
	return text
}

func setOnce(s *string, value string) {
	if *s == "" {
		*s = value
	}
}

// flush ends the test that is being read.
func (p *parser) flush() {
	if p.test == "" {
		return
	}
	o := outcome{test: p.suite + "." + p.test}
	switch {
	case p.verdict == "FAILED":
		o.verdict, o.reason = failed, p.failure
	case p.verdict == "":
		o.verdict, o.reason = open, p.failure
	case p.skipped != "":
		o.verdict, o.reason = skipped, p.skipped
	case p.silent != "":
		o.verdict, o.reason = skipped, "silent: "+p.silent
	case !p.asserted:
		o.verdict = empty
	default:
		o.verdict = passed
	}
	o.reason = strings.Join(strings.Fields(p.cleanup.ReplaceAllString(o.reason, "")), " ")
	p.outcomes = append(p.outcomes, o)
	p.test, p.verdict, p.asserted, p.skipped, p.silent, p.failure = "", "", false, "", "", ""
}
