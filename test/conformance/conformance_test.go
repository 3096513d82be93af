package conformance

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/isantarget/isantarget/test/daemon"
	"github.com/isantarget/isantarget/test/peer"
)

func TestMain(m *testing.M) {
	flag.String("shapes", "", "run only these shapes, comma separated; nothing is judged then but what failed")
	flag.String("suites", "", "run only these suites, comma separated; likewise")
	flag.String("result", "", "write the machine-readable result to this file")
	flag.String("logs", "", "keep the tool's raw output in this directory")
	flag.Bool("update", false, "write the table into CONFORMANCE.md")
	// The tool mostly sleeps, and each shape has a daemon of its own.
	if err := flag.Set("test.parallel", "4"); err != nil {
		panic(err)
	}
	flag.Parse()
	os.Exit(daemon.Main(m))
}

// option returns the value of a flag of TestMain.
func option(name string) string { return flag.Lookup(name).Value.String() }

// chosen tells whether a name is among those of a comma separated list, or the list is empty.
func chosen(list, name string) bool {
	return list == "" || slices.Contains(strings.Split(list, ","), name)
}

// TestLibiscsi runs the whole suite in every shape, and then has a subtest for each of its tests.
func TestLibiscsi(t *testing.T) {
	peer.Need(t, "libiscsi-bin", "gcc", "libc6-dev")
	tests, err := List()
	if err != nil {
		t.Fatal(err)
	}
	whole := option("shapes") == "" && option("suites") == ""
	report := Report{Tool: version(t)}
	results := make(map[string]map[string]Result)
	for _, test := range tests {
		results[test] = make(map[string]Result)
	}
	shapes := slices.DeleteFunc(Shapes(), func(s Shape) bool { return !chosen(option("shapes"), s.Name) })
	found := make([][]Result, len(shapes))
	t.Run("shapes", func(t *testing.T) {
		for i, shape := range shapes {
			t.Run(shape.Name, func(t *testing.T) {
				t.Parallel()
				found[i] = runShape(t, shape, tests)
			})
		}
	})
	for i, shape := range shapes {
		report.Shapes = append(report.Shapes, shape.Name)
		for _, r := range found[i] {
			results[r.Test][shape.Name] = r
		}
	}
	for _, test := range tests {
		if len(results[test]) == 0 {
			continue
		}
		v := judge(test, report.Shapes, results[test])
		report.Tests = append(report.Tests, v)
		t.Run(test, func(t *testing.T) {
			switch v.Status {
			case Skip:
				t.Skip(v.Reason)
			case Fail:
				t.Error(v.Reason)
			}
		})
	}
	write(t, report, whole)
}

// runShape starts a daemon with a unit of one shape and runs the suites against it, all with the same unit.
func runShape(t *testing.T, shape Shape, tests []string) (results []Result) {
	image := filepath.Join(t.TempDir(), shape.Name+".img")
	if strings.Contains(shape.Options, "readonly") {
		image = daemon.Image(t, shape.Name+".img", 256<<20)
	}
	if strings.Contains(shape.Options, "kind=memory") {
		image = ""
	}
	config := daemon.Config{LUNs: []string{"disk=" + image + shape.Options}}
	if shape.TwoPaths {
		config.Portals = []string{fmt.Sprintf("127.0.0.1:%d", daemon.FreePort(t)), fmt.Sprintf("127.0.0.1:%d", daemon.FreePort(t))}
	}
	if shape.Sanitize {
		config = daemon.Config{File: patientFile(t, image, shape.Options)}
	}
	d := daemon.Start(t, config)
	runner, err := NewRunner(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if dir := option("logs"); dir != "" {
		runner.LogDir = filepath.Join(dir, shape.Name)
		if err := os.MkdirAll(runner.LogDir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if shape.Sanitize {
		runner.Options, runner.Suite, runner.Test = []string{"-S"}, 5*time.Minute, 3*time.Minute
	}
	runner.URLs = d.URLs() // one for each path
	runner.Alive = d.Accepts
	runner.Revive = func() error {
		if d.Running() {
			return fmt.Errorf("it runs, but refuses connections")
		}
		d.Restart()
		return nil
	}
	for suite := range slices.Values(suites(tests)) {
		if !chosen(option("suites"), suite) {
			continue
		}
		todo := slices.DeleteFunc(slices.Clone(tests), func(test string) bool {
			return !strings.HasPrefix(test, suite+".") || shape.Only != nil && !shape.Only.MatchString(test) ||
				shape.Leave != nil && shape.Leave.MatchString(test)
		})
		if len(todo) == 0 {
			continue
		}
		got, err := runner.Run(todo)
		if err != nil {
			t.Fatal(err)
		}
		results = append(results, got...)
	}
	d.Stop()
	return results
}

// patientFile is a configuration with one unit and no NOP-In: while the tool waits for a sanitize operation it sleeps a
// minute at a time, answers nothing, and takes a session that was lost meanwhile for one that is not finished.
func patientFile(t *testing.T, image, options string) string {
	t.Helper()
	text := fmt.Sprintf("state = %q\n[limits]\nnop-interval = \"1h\"\n[[portal-group]]\ntag = 1\nlisten = [\"127.0.0.1:%d\"]\n"+
		"[[lun]]\nname = \"disk\"\npath = %q\n", t.TempDir(), daemon.FreePort(t), image)
	for _, option := range strings.Split(strings.TrimPrefix(options, ","), ",") {
		key, value, _ := strings.Cut(option, "=")
		if _, err := strconv.Atoi(value); err != nil {
			value = strconv.Quote(value)
		}
		text += fmt.Sprintf("%s = %s\n", key, value)
	}
	text += fmt.Sprintf("[[target]]\nname = %q\naccess = \"loopback\"\nluns = { 0 = \"disk\" }\n", daemon.Target)
	file := filepath.Join(t.TempDir(), "sanitize.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// suites returns the suites of tests, in their order.
func suites(tests []string) (names []string) {
	for _, test := range tests {
		suite, _, _ := strings.Cut(test, ".")
		if !slices.Contains(names, suite) {
			names = append(names, suite)
		}
	}
	return names
}

func version(t *testing.T) string {
	out, err := exec.Command("dpkg-query", "-W", "-f", "${Version}", "libiscsi-bin").Output()
	if err != nil {
		t.Logf("dpkg-query: %v", err)
	}
	return toolVersion(string(out))
}

// write keeps the report where the flags say, and holds CONFORMANCE.md to it.
func write(t *testing.T, report Report, whole bool) {
	if file := option("result"); file != "" {
		text, err := json.MarshalIndent(report, "", "\t")
		if err == nil {
			err = os.WriteFile(file, append(text, '\n'), 0o644)
		}
		if err != nil {
			t.Error(err)
		}
	}
	if !whole {
		return
	}
	t.Run("CONFORMANCE.md", func(t *testing.T) {
		const file = "../../CONFORMANCE.md"
		old, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		document, err := splice(string(old), report.Markdown())
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		switch {
		case document == string(old):
		case option("update") == "true":
			if err := os.WriteFile(file, []byte(document), 0o644); err != nil {
				t.Fatal(err)
			}
		case !strings.Contains(string(old), report.Tool):
			t.Skipf("the table is of another version of the suite than this machine's %s", report.Tool)
		default:
			t.Errorf("the table of iscsi-test-cu is not what this run gave; make conformance UPDATE=1 writes it")
		}
	})
}
