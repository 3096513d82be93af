package table

import (
	"strings"
	"testing"
	"time"

	"github.com/isantarget/isantarget/bench/load"
)

func TestSpreadOf(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   Spread
	}{
		{nil, Spread{}},
		{[]float64{3}, Spread{3, 3, 3, 1}},
		{[]float64{9, 1}, Spread{5, 1, 9, 2}},
		{[]float64{9, 1, 2}, Spread{2, 1, 9, 3}},
		{[]float64{4, 1, 3, 2}, Spread{2.5, 1, 4, 4}},
	} {
		if got := SpreadOf(c.values); got != c.want {
			t.Errorf("%v: %+v, want %+v", c.values, got, c.want)
		}
	}
	if w := (Spread{Median: 4, Min: 3, Max: 5}).Width(); w != 0.5 {
		t.Errorf("width %v, want 0.5", w)
	}
}

func TestOver(t *testing.T) {
	ratio, ok := Spread{Median: 6, Min: 4, Max: 8, N: 3}.Over(Spread{Median: 2, Min: 1, Max: 4, N: 5})
	if want := (Spread{Median: 3, Min: 1, Max: 8, N: 3}); !ok || ratio != want {
		t.Errorf("%+v, %v; want %+v: the worst of ours over the best of theirs, and the other way", ratio, ok, want)
	}
	for _, base := range []Spread{{}, {Median: 1, Max: 2, N: 2}} {
		if _, ok := (Spread{Median: 6, Min: 4, Max: 8, N: 3}).Over(base); ok {
			t.Errorf("there is a ratio to %+v", base)
		}
	}
}

// rounds makes a run of one case with the rates of the subject and of the rival.
func rounds(ours, theirs []float64, other float64) *Run {
	c := Case{Name: read32}
	r := &Run{Cases: []Case{c}, Targets: []Target{{Name: subject, Version: "v1"}, {Name: rival, Version: "v2"}, {Name: limit}}}
	for _, v := range ours {
		r.Add(c, subject, load.Result{PerSecond: v, OtherCPU: other, P50: 12, TargetResident: 3 << 20})
	}
	for _, v := range theirs {
		r.Add(c, rival, load.Result{PerSecond: v, OtherCPU: other})
	}
	return r
}

func TestJudge(t *testing.T) {
	least := Floor{Case: read32, measure: perSecond, against: rival, bound: 5}
	most := Floor{Case: read32, measure: perSecond, against: rival, bound: 5, most: true}
	alone := Floor{Case: read32, measure: perSecond, bound: 5}
	itself := Floor{Case: read32, measure: perSecond, base: read32, bound: 0.7}
	for name, c := range map[string]struct {
		floor        Floor
		ours, theirs []float64
		other        float64
		want         Verdict
	}{
		"far above, though noisy":       {least, []float64{90, 100, 110}, []float64{9, 10, 11}, 1.5, Met},
		"far below, though noisy":       {least, []float64{30, 31, 32}, []float64{9, 10, 11}, 1.5, NotMet},
		"close and quiet":               {least, []float64{50, 51, 52}, []float64{9.9, 10, 10.1}, 0.01, Met},
		"close below and quiet":         {least, []float64{48, 49, 52}, []float64{9.9, 10, 10.1}, 0.01, NotMet},
		"close, others at work":         {least, []float64{50, 51, 52}, []float64{9.9, 10, 10.1}, 0.5, Unclear},
		"close, our rounds far apart":   {least, []float64{40, 51, 70}, []float64{9.9, 10, 10.1}, 0, Unclear},
		"close, their rounds far apart": {least, []float64{50, 51, 52}, []float64{8, 10, 13}, 0, Unclear},
		"one round, others at work":     {least, []float64{90}, []float64{10}, 0.5, Unclear},
		"one round, quiet":              {least, []float64{90}, []float64{10}, 0, Met},
		"at most, below":                {most, []float64{30, 31, 32}, []float64{9, 10, 11}, 1.5, Met},
		"at most, above":                {most, []float64{90, 100, 110}, []float64{9, 10, 11}, 1.5, NotMet},
		"a value alone":                 {alone, []float64{6, 7, 8}, nil, 0, Met},
		"itself":                        {itself, []float64{6, 7, 8}, nil, 0, Met},
		"no rival":                      {least, []float64{6}, nil, 0, Unmeasured},
		"nothing":                       {alone, nil, nil, 0, Unmeasured},
	} {
		if value, got := rounds(c.ours, c.theirs, c.other).Judge(c.floor); got != c.want {
			t.Errorf("%s: %s (%+v), want %s", name, got, value, c.want)
		}
	}
}

// Every floor is about a case that is measured, and compares with one.
func TestFloorsHaveCases(t *testing.T) {
	cases := make(map[string]Case)
	for _, c := range Cases() {
		if _, twice := cases[c.Name]; twice {
			t.Errorf("two cases are called %q", c.Name)
		}
		cases[c.Name] = c
	}
	for _, f := range Floors() {
		c, ok := cases[f.Case]
		if _, base := cases[f.base]; !ok || f.base != "" && !base {
			t.Errorf("floor %+v has no case", f)
		}
		if f.against != "" && c.Only != "" {
			t.Errorf("%s: %s is not measured", f.Case, f.against)
		}
	}
}

func TestMarkdown(t *testing.T) {
	r := rounds([]float64{50000, 51000, 52000}, []float64{10000, 10100, 10200}, 0.01)
	r.Notes = []string{"istgt is left out: istgt is not installed (apt-get install istgt)"}
	page := Report{Run: r, When: time.Unix(0, 0), Rounds: 3, Time: time.Second, Size: 1 << 29, Chart: "x.svg"}.Markdown()
	for _, want := range []string{
		"1970-01-01", "3 interleaved rounds of 1s", "512 MiB", "- isantarget: v1", "(x.svg)", "apt-get install istgt",
		"| 51.0 k/s | 50.0 to 52.0 |  5.05 |", "|    5.05 | 4.9 to 5.2 |          met |", "not measured",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the report lacks %q:\n%s", want, page)
		}
	}
}

func TestGridLinesUp(t *testing.T) {
	lines := strings.Split(strings.TrimSpace(grid([][]string{{"a", "number"}, {"µ long", "1"}, {"x", "1000000"}}, 1)), "\n")
	for _, line := range lines {
		if len([]rune(line)) != len([]rune(lines[0])) {
			t.Errorf("%q is not as long as %q", line, lines[0])
		}
	}
	if lines[2] != "| µ long |       1 |" {
		t.Errorf("%q: text stands left, numbers right", lines[2])
	}
}
