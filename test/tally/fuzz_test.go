package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The input that breaks a fuzz target is counted as one failure and shown.
func TestFuzzShowsWhatBreaks(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod": "module " + module + "\n\ngo 1.26\n",
		"a/a_test.go": `package a
import "testing"
func FuzzBreaks(f *testing.F) {
	f.Add("fine")
	f.Fuzz(func(t *testing.T, s string) { if len(s) > 4 { t.Fatal("too long") } })
}
func FuzzHolds(f *testing.F) {
	f.Add("fine")
	f.Fuzz(func(*testing.T, string) {})
}
`,
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("GOWORK", "off")
	var printed strings.Builder
	r := &runner{root: dir, report: newReport(&printed)}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	fuzz(ctx, r)
	if want := (counts{passed: 1, failed: 1}); r.report.counts != want {
		t.Errorf("counted %v, want %v", r.report.counts, want)
	}
	for _, want := range []string{"FAIL a FuzzBreaks", "too long", "go test fuzz v1", "string("} {
		if !strings.Contains(printed.String(), want) {
			t.Errorf("the report does not show %q", want)
		}
	}
	if t.Failed() {
		t.Log(printed.String())
	}
}
