package main

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// How long the fuzz targets run, each and all together, without the time to build them.
const (
	fuzzEach = 3 * time.Second
	fuzzAll  = 100 * time.Second
)

// A fuzzTarget is a FuzzXxx function and its package's test binary, built for fuzzing.
type fuzzTarget struct {
	pkg, name, binary string
}

// fuzz builds every package that has fuzz targets, and runs each target for a moment. It is a smoke test: it finds what
// breaks at once. What a run found before lies in testdata/fuzz and is tried by the unit tests.
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
		runFuzz(ctx, r, t, dir, each)
	}
	r.report.packageLine("fuzz", r.report.counts.minus(before), time.Since(begun))
}

// fuzzTargets finds the packages with fuzz targets and builds their test binaries into dir.
func fuzzTargets(ctx context.Context, r *runner, dir string) (targets []fuzzTarget, err error) {
	cmd := command(ctx, r.root, nil, "go", "list", "-f", "{{.Dir}}\t{{.ImportPath}}", "./...")
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	declared := regexp.MustCompile(`(?m)^func (Fuzz\w*)\(`)
	for line := range strings.Lines(string(out)) {
		source, pkg, _ := strings.Cut(strings.TrimSpace(line), "\t")
		files, err := filepath.Glob(filepath.Join(source, "*_test.go"))
		if err != nil {
			return nil, err
		}
		binary := ""
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				return nil, err
			}
			for _, m := range declared.FindAllStringSubmatch(string(text), -1) {
				if binary == "" {
					binary = filepath.Join(dir, strings.ReplaceAll(short(pkg), "/", "-")+".test")
					// -fuzz with -c instruments the code as a fuzz run would.
					if out, err := output(ctx, r.root, nil, "go", "test", "-c", "-fuzz=.", "-o", binary, pkg); err != nil {
						r.report.fail(pkg+" (built for fuzzing)", out)
						break
					}
				}
				targets = append(targets, fuzzTarget{pkg, m[1], binary})
			}
		}
	}
	return targets, nil
}

// runFuzz runs one target; it fails when an input breaks it, which is then shown.
func runFuzz(ctx context.Context, r *runner, t fuzzTarget, dir string, each time.Duration) {
	name := t.pkg + " " + t.name
	// The corpus of the run is thrown away, and what breaks goes to the working directory's testdata: an own one.
	work := filepath.Join(dir, t.name)
	if err := os.MkdirAll(work, 0o700); err != nil {
		r.report.fail(name, err.Error())
		return
	}
	seeds := filepath.Join(r.root, strings.TrimPrefix(t.pkg, module+"/"), "testdata")
	if err := os.CopyFS(filepath.Join(work, "testdata"), os.DirFS(seeds)); err != nil && !os.IsNotExist(err) {
		r.report.fail(name, err.Error())
		return
	}
	ctx, cancel := context.WithTimeout(ctx, each+time.Minute)
	defer cancel()
	out, err := output(ctx, work, nil, t.binary, "-test.run=^$", "-test.fuzz=^"+t.name+"$", "-test.fuzztime="+each.String(),
		"-test.fuzzcachedir="+filepath.Join(work, "cache"), "-test.parallel=2")
	if err != nil {
		r.report.fail(name, out+crashers(work))
		return
	}
	r.report.pass()
}

// crashers shows the inputs that a run wrote down as breaking.
func crashers(work string) string {
	var b strings.Builder
	files, _ := filepath.Glob(filepath.Join(work, "testdata", "fuzz", "*", "*"))
	for _, file := range files {
		if text, err := os.ReadFile(file); err == nil && strings.Contains(string(text), "go test fuzz v1") {
			b.WriteString(filepath.Base(filepath.Dir(file)) + "/" + filepath.Base(file) + ":\n" + string(text))
		}
	}
	return b.String()
}
