package conformance

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// A Report is what became of every test in every shape, and what that means. Its JSON is the machine-readable result.
type Report struct {
	Tool   string    `json:"tool"`   // the suite's version
	Shapes []string  `json:"shapes"` // the names, in the order of the columns
	Tests  []Verdict `json:"tests"`
}

// A Verdict is what the results of one test in all shapes mean together.
type Verdict struct {
	Test    string            `json:"test"`
	Status  Status            `json:"status"`           // Pass, Fail or Skip
	Reason  string            `json:"reason,omitempty"` // of a failure, or of a skip that is right
	Results map[string]Result `json:"results"`          // by shape; a shape that left the test out has none
}

// judge says what the results of a test mean: it passes when it passed in at least one shape and failed in none, or it
// is one of the expectations, and still true.
func judge(test string, shapes []string, results map[string]Result) Verdict {
	v := Verdict{Test: test, Results: results}
	var passed, skipped, failed []string
	for _, shape := range shapes {
		r, ran := results[shape]
		switch {
		case !ran:
		case r.Status == Pass:
			passed = append(passed, shape)
		case r.Status == Skip:
			skipped = append(skipped, fmt.Sprintf("%s: SKIP %s", shape, r.Reason))
		default:
			failed = append(failed, fmt.Sprintf("%s: %s %s", shape, r.Status, r.Reason))
		}
	}
	bug, isBug := find(TestBugs(), test)
	skip, isSkip := find(Skips(), test)
	switch {
	case isBug && len(failed)+len(skipped) > 0:
		v.Status, v.Reason = Skip, "the test is wrong: "+bug.Reason
	case isBug:
		v.Status, v.Reason = Fail, "passes, but TestBugs says that it cannot: "+bug.Reason
	case len(failed) > 0:
		v.Status, v.Reason = Fail, strings.Join(failed, "\n")
	case isSkip && len(skipped) > 0:
		v.Status, v.Reason = Skip, skip.Reason
	case isSkip:
		v.Status, v.Reason = Fail, "passes, but Skips says that it skips: "+skip.Reason
	case len(passed) > 0:
		v.Status = Pass
	default:
		v.Status, v.Reason = Fail, "skips in every shape:\n"+strings.Join(skipped, "\n")
	}
	return v
}

// The marks between which CONFORMANCE.md holds the table.
const (
	tableBegin = "<!-- iscsi-test-cu: begin (written by make conformance UPDATE=1) -->"
	tableEnd   = "<!-- iscsi-test-cu: end -->"
)

// Markdown returns the table of CONFORMANCE.md, marks included: a row for each test, a column for each shape.
func (r Report) Markdown() string {
	var b strings.Builder
	count := make(map[Status]int)
	for _, v := range r.Tests {
		count[v.Status]++
	}
	fmt.Fprintf(&b, "%s\n\n", tableBegin)
	fmt.Fprintf(&b, "%s: %d tests, %d passed, %d skipped for the reason given, %d failed.\n\n",
		r.Tool, len(r.Tests), count[Pass], count[Skip], count[Fail])
	for _, s := range Shapes() {
		fmt.Fprintf(&b, "- `%s` (`--lun disk=IMAGE%s`): %s.\n", s.Name, s.Options, s.Why)
	}
	fmt.Fprintf(&b, "\n| test | %s | result | why |\n|---|%s\n", strings.Join(r.Shapes, " | "), strings.Repeat("---|", len(r.Shapes)+2))
	for _, v := range r.Tests {
		fmt.Fprintf(&b, "| %s |", v.Test)
		_, isBug := find(TestBugs(), v.Test)
		for _, shape := range r.Shapes {
			cell := strings.ToLower(string(v.Results[shape].Status))
			switch {
			case cell == "":
				cell = "–"
			case isBug:
				cell = "wrong" // how it does not pass is a matter of chance
			}
			fmt.Fprintf(&b, " %s |", cell)
		}
		why := v.Reason
		if v.Status == Fail {
			why = "" // a committed table has none, and the words of a failure differ from run to run
		}
		fmt.Fprintf(&b, " **%s** | %s |\n", strings.ToLower(string(v.Status)), strings.ReplaceAll(why, "|", `\|`))
	}
	fmt.Fprintf(&b, "\n%s\n", tableEnd)
	return b.String()
}

// errNoMarks says that a document has no place for the table.
var errNoMarks = errors.New("no place for the table of iscsi-test-cu: the two marks are missing")

// splice returns document with the table between the marks replaced.
func splice(document, table string) (string, error) {
	begin, end := strings.Index(document, tableBegin), strings.Index(document, tableEnd)
	if begin < 0 || end < begin {
		return "", fmt.Errorf("%w: %s ... %s", errNoMarks, tableBegin, tableEnd)
	}
	return document[:begin] + strings.TrimSuffix(table, "\n") + document[end+len(tableEnd):], nil
}

// toolVersion finds the version in what dpkg-query or the package manager says; it is part of the table.
func toolVersion(dpkg string) string {
	if m := regexp.MustCompile(`\d[\w.+~-]*`).FindString(dpkg); m != "" {
		return "iscsi-test-cu of libiscsi " + m
	}
	return "iscsi-test-cu of libiscsi, version unknown"
}
