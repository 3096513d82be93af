package daemon

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The environment of the end to end tests.
const (
	// BinaryVariable names the isantarget binary to test; without it [Main] builds one.
	BinaryVariable = "ISANTARGET_TEST_BINARY"
	// RaceVariable, when it is 1, makes [Main] build with the race detector.
	RaceVariable = "ISANTARGET_TEST_RACE"
)

// Main is the TestMain of a package that starts daemons: it builds the binary, unless [BinaryVariable] names one,
// runs the tests and returns their exit status.
func Main(m *testing.M) int {
	if os.Getenv(BinaryVariable) != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "isantarget-binary-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "isantarget")
	if err := build(binary); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	os.Setenv(BinaryVariable, binary)
	return m.Run()
}

// Binary returns the path of the binary to test.
func Binary() string { return os.Getenv(BinaryVariable) }

// environment is this process's without the variables that stand for the binary's flags.
func environment() []string {
	return slices.DeleteFunc(os.Environ(), func(pair string) bool { return strings.HasPrefix(pair, "ISANTARGET_") })
}

// build compiles cmd/isantarget to the file at path.
func build(path string) error {
	args := []string{"build", "-o", path}
	if os.Getenv(RaceVariable) == "1" {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, "github.com/isantarget/isantarget/cmd/isantarget")...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return nil
}
