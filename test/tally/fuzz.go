package main

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// How long the fuzz targets run, each and all together, without the time to build them.
const (
	fuzzEach = 3 * time.Second
	fuzzAll  = 40 * time.Second
)

// A fuzzTarget is a FuzzXxx function and its package's test binary, built for fuzzing.
type fuzzTarget struct {
	pkg, name, binary string
}

// fuzz builds every package that has fuzz targets, and runs each target for a moment. It is a smoke test: it finds what
// breaks at once.
func fuzz(ctx context.Context, r *runner) {
	dir, err := os.MkdirTemp("", "isantarget-fuzz-")
	if err != nil {
		r.report.fail("fuzz", err.Error())
		return
	}
	defer os.RemoveAll(dir)
	begun := time.Now()
	targets, err := fuzzTargets(ctx, r, dir)
	if err != nil {
		r.report.fail("fuzz", err.Error())
		return
	}
	if len(targets) == 0 {
		r.report.fail("fuzz", "no fuzz target in the module")
		return
	}
	each := min(fuzzEach, fuzzAll/time.Duration(len(targets)))
	r.report.printf("%d targets, built in %s, %s each\n", len(targets), seconds(time.Since(begun)), seconds(each))
	before := r.report.counts
	for _, t := range targets {
		runFuzz(ctx, r, t, filepath.Join(dir, "cache"), each)
	}
	r.report.packageLine("fuzz", r.report.counts.minus(before), time.Since(begun))
}

// fuzzTargets finds the packages with fuzz targets and builds their test binaries into dir.
func fuzzTargets(ctx context.Context, r *runner, dir string) (targets []fuzzTarget, err error) {
	all, err := declared(ctx, r.root, `Fuzz\w*`)
	if err != nil {
		return nil, err
	}
	for _, pkg := range slices.Sorted(maps.Keys(all)) {
		binary := filepath.Join(dir, strings.ReplaceAll(short(pkg), "/", "-")+".test")
		// -fuzz with -c instruments the code as a fuzz run would.
		if out, err := output(ctx, r.root, nil, "go", "test", "-c", "-fuzz=.", "-o", binary, pkg); err != nil {
			r.report.fail(pkg+" (built for fuzzing)", out)
			continue
		}
		for _, name := range all[pkg] {
			targets = append(targets, fuzzTarget{pkg, name, binary})
		}
	}
	return targets, nil
}

// declared returns, by import path, the functions in the packages' tests whose names match a pattern.
func declared(ctx context.Context, root, name string) (map[string][]string, error) {
	out, err := command(ctx, root, nil, "go", "list", "-f", "{{.Dir}}\t{{.ImportPath}}", "./...").Output()
	if err != nil {
		return nil, err
	}
	all, pattern := make(map[string][]string), regexp.MustCompile(`(?m)^func (`+name+`)\(`)
	for line := range strings.Lines(string(out)) {
		source, pkg, _ := strings.Cut(strings.TrimSpace(line), "\t")
		files, err := filepath.Glob(filepath.Join(source, "*_test.go"))
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				return nil, err
			}
			for _, m := range pattern.FindAllStringSubmatch(string(text), -1) {
				all[pkg] = append(all[pkg], m[1])
			}
		}
	}
	return all, nil
}

// runFuzz runs one target where its package is, as go test -fuzz does: what breaks it stays there in testdata/fuzz, to be
// tried by every unit test from then on, and is shown.
func runFuzz(ctx context.Context, r *runner, t fuzzTarget, cache string, each time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, each+time.Minute)
	defer cancel()
	dir := filepath.Join(r.root, strings.TrimPrefix(t.pkg, module+"/"))
	var out string
	var err error
	for range fuzzTries {
		out, err = output(ctx, dir, nil, t.binary, "-test.run=^$", "-test.fuzz=^"+t.name+"$", "-test.fuzztime="+each.String(),
			"-test.fuzzcachedir="+cache, "-test.parallel=2")
		if err == nil || !endedByClock(out) {
			break
		}
	}
	if err != nil {
		r.report.fail(t.pkg+" "+t.name, out+failingInput(dir, out))
		return
	}
	r.report.pass()
}

// fuzzTries is how often a run is begun that Go's own clock has ended.
const fuzzTries = 3

// endedByClock tells whether a run failed for nothing but the end of its time: on a busy machine the fuzzer now and then
// takes that for a failure of the target, and has no input to show for it.
func endedByClock(out string) bool {
	return strings.Contains(out, "context deadline exceeded") && !strings.Contains(out, "testdata/fuzz/") && !strings.Contains(out, "panic")
}

// failingInput shows the file to which a run says that it wrote what broke the target.
func failingInput(dir, out string) string {
	name := regexp.MustCompile(`testdata/fuzz/\S+`).FindString(out)
	if name == "" {
		return ""
	}
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return err.Error()
	}
	return name + ":\n" + string(text)
}
