package conformance

import (
	"errors"
	"strings"
	"testing"
)

func TestJudge(t *testing.T) {
	shapes := []string{"thin", "removable"}
	result := func(s Status) Result { return Result{Status: s, Reason: "because"} }
	for _, c := range []struct {
		name, test string
		results    map[string]Result
		want       Status
	}{
		{"passes in both", "Read10.Simple", map[string]Result{"thin": result(Pass), "removable": result(Pass)}, Pass},
		{"passes in one, skips in the other", "PreventAllow.Simple", map[string]Result{"thin": result(Skip), "removable": result(Pass)}, Pass},
		{"passes in one, fails in the other", "Read10.Simple", map[string]Result{"thin": result(Pass), "removable": result(Fail)}, Fail},
		{"passes in one, hangs in the other", "Read10.Simple", map[string]Result{"thin": result(Hang), "removable": result(Pass)}, Fail},
		{"skips everywhere", "Read10.Simple", map[string]Result{"thin": result(Skip), "removable": result(Skip)}, Fail},
		{"should skip and skips", "ExtendedCopy.ValidTgtDescr", map[string]Result{"thin": result(Skip), "removable": result(Skip)}, Skip},
		{"should skip and fails", "ExtendedCopy.ValidTgtDescr", map[string]Result{"thin": result(Skip), "removable": result(Fail)}, Fail},
		{"should skip and passes", "ExtendedCopy.ValidTgtDescr", map[string]Result{"thin": result(Pass)}, Fail},
		{"is wrong itself and fails", "PreventAllow.Eject", map[string]Result{"thin": result(Skip), "removable": result(Fail)}, Skip},
		{"is wrong itself and passes", "PreventAllow.Eject", map[string]Result{"removable": result(Pass)}, Fail},
	} {
		if got := judge(c.test, shapes, c.results); got.Status != c.want {
			t.Errorf("a test that %s is %s (%s), want %s", c.name, got.Status, got.Reason, c.want)
		}
	}
}

func TestSpliceReplacesOnlyTheTable(t *testing.T) {
	report := Report{Tool: "tool 1", Shapes: []string{"thin"}, Tests: []Verdict{
		{Test: "A.B", Status: Skip, Reason: "a | b", Results: map[string]Result{"thin": {Status: Skip}}},
		{Test: "A.C", Status: Pass, Results: map[string]Result{}},
	}}
	got, err := splice("before\n"+tableBegin+"\nold\n"+tableEnd+"\nafter\n", report.Markdown())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"before\n", "\nafter\n", "| A.B | skip | **skip** | a \\| b |\n", "| A.C | – | **pass** |  |\n",
		"2 tests, 1 passed, 1 skipped for the reason given, 0 failed"} {
		if !strings.Contains(got, want) {
			t.Errorf("the document lacks %q:\n%s", want, got)
		}
	}
	if strings.Contains(got, "\nold\n") {
		t.Error("the old table is still there")
	}
	again, err := splice(got, report.Markdown())
	if err != nil || again != got {
		t.Errorf("a second splice changes the document (%v)", err)
	}
	if _, err := splice("no marks", "table"); !errors.Is(err, errNoMarks) {
		t.Errorf("splice without marks = %v, want errNoMarks", err)
	}
}

// An expectation that matches no test of the suite is dead, and hides that a test was renamed.
func TestExpectationsMatchTests(t *testing.T) {
	tests, err := List()
	if err != nil {
		t.Skipf("needs iscsi-test-cu: %v", err)
	}
	for _, e := range append(TestBugs(), Skips()...) {
		matches := 0
		for _, test := range tests {
			if e.Tests.MatchString(test) {
				matches++
			}
		}
		if matches == 0 {
			t.Errorf("%v matches no test of the suite", e.Tests)
		}
	}
}
