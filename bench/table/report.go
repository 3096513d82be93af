package table

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/isantarget/isantarget/bench/load"
	"github.com/isantarget/isantarget/bench/machine"
)

// A Report is a run with its circumstances.
type Report struct {
	*Run
	When    time.Time
	Machine machine.Description
	Rounds  int
	Time    time.Duration // of each measurement
	Size    int64         // of each image, bytes
	Chart   string        // file name of the chart beside the report; empty: none
}

// Markdown is the report as a page.
func (r Report) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Measured %s\n\n", r.When.UTC().Format("2006-01-02 15:04 UTC"))
	fmt.Fprintf(&b, "By `make bench`; [performance.md](../performance.md) says how to read it.\n\n")
	fmt.Fprintf(&b, "- Machine: %s\n- %d interleaved rounds of %v for each case and target, loopback, images of %d MiB in the page cache\n", r.Machine, r.Rounds, r.Time, r.Size>>20)
	for _, t := range r.Targets {
		fmt.Fprintf(&b, "- %s: %s\n", t.Name, t.Version)
	}
	if r.Chart != "" {
		fmt.Fprintf(&b, "\n![Rates of all targets, in multiples of tgt's](%s)\n", r.Chart)
	}
	b.WriteString("\n## Floors\n\n")
	b.WriteString(r.Floors())
	b.WriteString("\n## Results\n\n")
	b.WriteString(r.Table())
	if len(r.Notes) > 0 {
		b.WriteString("\n## What did not run\n\n")
		for _, n := range r.Notes {
			fmt.Fprintf(&b, "- %s\n", strings.ReplaceAll(strings.TrimSpace(n), "\n", "\n  "))
		}
	}
	return b.String()
}

// Floors is a table of the floors: the ratio of medians, the least and the most that the ranges allow, the verdict.
func (r Report) Floors() string {
	rows := [][]string{{"case", "of isantarget", "against", "floor", "reached", "range", "verdict"}}
	for _, f := range Floors() {
		value, v := r.Judge(f)
		reached, between := "", ""
		if v != Unmeasured {
			reached = fmt.Sprintf("%.3g", value.Median)
			between = fmt.Sprintf("%.3g to %.3g", value.Min, value.Max)
		}
		rows = append(rows, []string{f.Case, f.What, f.Base(), f.Bound(), reached, between, string(v)})
	}
	return grid(rows, 3)
}

// Table is one row for each case and target.
func (r Report) Table() string {
	rows := [][]string{{"case", "target", "rate", "range", "x tgt", "x bare", "p50 us", "p99 us", "p999 us", "CPU us/cmd", "load CPU", "other CPU", "RSS MiB", "errors", ""}}
	for _, c := range r.Cases {
		for _, t := range r.Targets {
			if row := r.row(c, t.Name); row != nil {
				rows = append(rows, row)
			}
		}
	}
	return grid(rows, 2)
}

func (r Report) row(c Case, target string) []string {
	rate := r.spread(c.Name, target, perSecond)
	if rate.N == 0 {
		return nil
	}
	median := func(m measure) float64 { return r.spread(c.Name, target, m).Median }
	over := func(base string) string {
		ratio, ok := rate.Over(r.spread(c.Name, base, perSecond))
		if !ok {
			return ""
		}
		return fmt.Sprintf("%.2f", ratio.Median)
	}
	unit, number := "k/s", func(v float64) string { return fmt.Sprintf("%.1f", v/1e3) }
	if c.Bandwidth() {
		unit, number = "MB/s", func(v float64) string { return fmt.Sprintf("%.0f", v*float64(c.Block)/1e6) }
	}
	var errors uint64
	for _, result := range r.Results(c.Name, target) {
		errors += result.Errors
	}
	notes := ""
	if r.noisy(c.Name, target) {
		notes = "noisy"
	}
	if c.Mode == load.Idle {
		return []string{c.Name, target, "", "", "", "", "", "", "", "", "", fmt.Sprintf("%.2f", median(func(r load.Result) float64 { return r.OtherCPU })),
			fmt.Sprintf("%.0f", median(resident)), fmt.Sprint(errors), notes}
	}
	if c.Connections > 4 {
		notes = strings.TrimPrefix(notes+fmt.Sprintf(", slowest %.2f", median(slowest)), ", ")
	}
	return []string{
		c.Name, target, number(rate.Median) + " " + unit, number(rate.Min) + " to " + number(rate.Max), over(rival), over(limit),
		fmt.Sprintf("%.0f", median(func(r load.Result) float64 { return r.P50 })), fmt.Sprintf("%.0f", median(p99)),
		fmt.Sprintf("%.0f", median(func(r load.Result) float64 { return r.P999 })), fmt.Sprintf("%.1f", median(micros)),
		fmt.Sprintf("%.2f", median(func(r load.Result) float64 { return r.LoadCPU })), fmt.Sprintf("%.2f", median(func(r load.Result) float64 { return r.OtherCPU })),
		fmt.Sprintf("%.0f", median(resident)), fmt.Sprint(errors), notes,
	}
}

// grid is a Markdown table whose columns line up; those from the column right on hold numbers.
func grid(rows [][]string, right int) string {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, s := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(s), 3)
		}
	}
	var b strings.Builder
	for n, row := range rows {
		for i, s := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(s))
			if i >= right {
				s = pad + s
			} else {
				s += pad
			}
			fmt.Fprintf(&b, "| %s ", s)
		}
		b.WriteString("|\n")
		if n > 0 {
			continue
		}
		for i, w := range widths {
			line := strings.Repeat("-", w)
			if i >= right {
				line = line[1:] + ":"
			}
			fmt.Fprintf(&b, "| %s ", line)
		}
		b.WriteString("|\n")
	}
	return b.String()
}
