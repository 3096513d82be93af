package table

import "slices"

// A Spread is what the rounds gave.
type Spread struct {
	Median, Min, Max float64
	N                int
}

// SpreadOf summarizes values; of none it is zero.
func SpreadOf(values []float64) Spread {
	if len(values) == 0 {
		return Spread{}
	}
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	return Spread{Median: (v[(n-1)/2] + v[n/2]) / 2, Min: v[0], Max: v[n-1], N: n}
}

// Width is how far the rounds were apart, as a share of the median.
func (s Spread) Width() float64 {
	if s.Median == 0 {
		return 0
	}
	return (s.Max - s.Min) / s.Median
}

// Over is the ratio of the medians, and the least and most that the ranges allow. ok is false when there is none.
func (s Spread) Over(base Spread) (ratio Spread, ok bool) {
	if s.N == 0 || base.N == 0 || base.Min <= 0 || base.Median <= 0 {
		return Spread{}, false
	}
	return Spread{Median: s.Median / base.Median, Min: s.Min / base.Max, Max: s.Max / base.Min, N: min(s.N, base.N)}, true
}
