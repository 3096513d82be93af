package table

import (
	"github.com/isantarget/isantarget/bench/load"
)

// What makes a measurement too noisy to decide a close call: other processes used more than this much of a processor, or
// the rounds were further apart than this share of their median.
const (
	noisyCPU   = 0.25
	noisyWidth = 0.4
	// So few rounds do not show how far apart they are.
	fewRounds = 3
)

// A Target is one that was measured.
type Target struct {
	Name, Version string
}

type cell struct{ name, target string }

// A Run is all results of a benchmark.
type Run struct {
	Cases   []Case
	Targets []Target
	Notes   []string // what did not run, and why
	results map[cell][]load.Result
}

// Add books the result of a round.
func (r *Run) Add(c Case, target string, result load.Result) {
	if r.results == nil {
		r.results = make(map[cell][]load.Result)
	}
	k := cell{c.Name, target}
	r.results[k] = append(r.results[k], result)
}

// Results are those of a case and a target, a round each.
func (r *Run) Results(name, target string) []load.Result { return r.results[cell{name, target}] }

func (r *Run) spread(name, target string, m measure) Spread {
	var values []float64
	for _, result := range r.Results(name, target) {
		values = append(values, m(result))
	}
	return SpreadOf(values)
}

// noisy tells whether the results of a cell are not to be trusted closely. An idle case has no rate.
func (r *Run) noisy(name, target string) bool {
	other := r.spread(name, target, func(r load.Result) float64 { return r.OtherCPU + r.Stolen })
	return other.Median > noisyCPU || r.spread(name, target, perSecond).Width() > noisyWidth
}

// A Verdict says whether a floor was reached.
type Verdict string

// The verdicts.
const (
	Met        Verdict = "met"
	NotMet     Verdict = "**not met**"
	Unclear    Verdict = "too noisy to tell"
	Unmeasured Verdict = "not measured"
)

// Judge compares with a floor.
func (r *Run) Judge(f Floor) (value Spread, v Verdict) {
	value = r.spread(f.Case, subject, f.measure)
	noisy := r.noisy(f.Case, subject)
	if f.against != "" || f.base != "" {
		name, target := f.Case, f.against
		if f.base != "" {
			name, target = f.base, subject
		}
		var ok bool
		if value, ok = value.Over(r.spread(name, target, f.measure)); !ok {
			return Spread{}, Unmeasured
		}
		noisy = noisy || r.noisy(name, target)
	}
	if value.N == 0 {
		return value, Unmeasured
	}
	reached := func(x float64) bool { return x >= f.bound }
	if f.most {
		reached = func(x float64) bool { return x <= f.bound }
	}
	if noisy && value.N < fewRounds {
		return value, Unclear
	}
	least, most, middle := reached(value.Min), reached(value.Max), reached(value.Median)
	switch {
	case least && most:
		return value, Met
	case !least && !most:
		return value, NotMet
	case noisy:
		return value, Unclear
	case middle:
		return value, Met
	}
	return value, NotMet
}
