package chart

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/isantarget/isantarget/bench/load"
	"github.com/isantarget/isantarget/bench/table"
)

func run() *table.Run {
	r := &table.Run{Cases: table.Cases(), Targets: []table.Target{{Name: "isantarget"}, {Name: "tgt"}, {Name: "gotgt"}}}
	for _, c := range r.Cases[:2] {
		for target, rate := range map[string]float64{"isantarget": 300, "tgt": 100} {
			for _, luck := range []float64{0.5, 1, 2} {
				r.Add(c, target, load.Result{PerSecond: rate * luck})
			}
		}
	}
	return r
}

func TestOf(t *testing.T) {
	r := run()
	b := Of(r)
	if want := []string{r.Cases[0].Name, r.Cases[1].Name}; !slices.Equal(b.Labels, want) {
		t.Errorf("labels %q, want the cases that were measured, %q", b.Labels, want)
	}
	for i, want := range [][]float64{{3, 3}, {1, 1}, {0, 0}} {
		if !slices.Equal(b.Series[i].Values, want) {
			t.Errorf("%s: %v, want %v", b.Series[i].Name, b.Series[i].Values, want)
		}
	}
}

// The picture is well-formed, and names every case and target.
func TestSVG(t *testing.T) {
	b := Of(run())
	picture, err := SVG(b)
	if err != nil {
		t.Fatal(err)
	}
	var text []byte
	for d := xml.NewDecoder(bytes.NewReader(picture)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if chars, ok := token.(xml.CharData); ok {
			text = append(append(text, chars...), '\n')
		}
	}
	for _, want := range append(slices.Clone(b.Labels), "isantarget", "tgt", "gotgt", "3.0", b.Title) {
		if !bytes.Contains(text, []byte(want)) {
			t.Errorf("the chart does not say %q", want)
		}
	}
}

func TestSVGOfNothing(t *testing.T) {
	if picture, err := SVG(Of(&table.Run{Targets: []table.Target{{Name: "isantarget"}}})); err != nil || !bytes.Contains(picture, []byte("nothing to compare")) {
		t.Errorf("%v\n%s", err, picture)
	}
}
