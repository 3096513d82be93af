package chart

import (
	"fmt"

	"github.com/go-analyze/charts"

	"github.com/isantarget/isantarget/bench/load"
	"github.com/isantarget/isantarget/bench/table"
)

// A Series is the bars of one target.
type Series struct {
	Name   string
	Values []float64 // one for each label; 0: none
}

// Bars is a chart of horizontal bars in groups.
type Bars struct {
	Title  string
	Labels []string // of the groups, from the top
	Series []Series
}

// unit is the target whose rate is 1.
const unit = "tgt"

// Of is the chart of a run: the rates of all targets in every case that has one, in multiples of tgt's. It is empty
// when tgt was not measured.
func Of(r *table.Run) Bars {
	b := Bars{Title: "Rate, in multiples of tgt's"}
	for _, t := range r.Targets {
		b.Series = append(b.Series, Series{Name: t.Name})
	}
	for _, c := range r.Cases {
		one := rate(r, c.Name, unit)
		if one == 0 || c.Mode == load.Idle {
			continue
		}
		b.Labels = append(b.Labels, c.Name)
		for i := range b.Series {
			b.Series[i].Values = append(b.Series[i].Values, rate(r, c.Name, b.Series[i].Name)/one)
		}
	}
	return b
}

func rate(r *table.Run, name, target string) float64 {
	var values []float64
	for _, result := range r.Results(name, target) {
		values = append(values, result.PerSecond)
	}
	return table.SpreadOf(values).Median
}

// SVG draws b.
func SVG(b Bars) ([]byte, error) { return draw(b, charts.ChartOutputSVG) }

func draw(b Bars, format string) ([]byte, error) {
	if len(b.Labels) == 0 {
		b.Labels = []string{"nothing to compare"}
		b.Series = []Series{{Name: unit, Values: []float64{0}}}
	}
	var values [][]float64
	var names []string
	for _, s := range b.Series { // the groups are drawn from the bottom, the bars of a group from the top
		values = append(values, reversed(s.Values))
		names = append(names, s.Name)
	}
	o := charts.NewBarChartOptionWithData(values)
	o.Horizontal = true
	o.Padding = charts.NewBox(20, 20, 60, 20)
	o.Title.Text = b.Title
	o.Legend.SeriesNames = names
	o.CategoryAxis = charts.CategoryAxisOption{Labels: reversed(b.Labels)}
	o.ValueAxis = []charts.ValueAxisOption{{Min: charts.Ptr(0.0), ValueFormatter: func(v float64) string { return fmt.Sprintf("%.0f", v) }}}
	for i := range o.SeriesList {
		o.SeriesList[i].Label = charts.SeriesLabel{
			Show:           charts.Ptr(true),
			ValueFormatter: func(v float64) string { return fmt.Sprintf("%.1f", v) },
			FontStyle:      charts.FontStyle{FontSize: 8},
		}
	}
	p := charts.NewPainter(charts.PainterOptions{OutputFormat: format, Width: 900, Height: 100 + 20*len(b.Labels)*(len(b.Series)+1)})
	if err := p.BarChart(o); err != nil {
		return nil, err
	}
	return p.Bytes()
}

func reversed[T any](s []T) []T {
	r := make([]T, 0, len(s))
	for i := len(s) - 1; i >= 0; i-- {
		r = append(r, s[i])
	}
	return r
}
