package daemon

import (
	"cmp"
	"context"
	"errors"
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
	// ClientVariable names the binary of which tests run what only asks a daemon; without it that is the one to test.
	ClientVariable = "ISANTARGET_TEST_CLIENT"
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
	pairs, err := Build(context.Background(), dir, os.Getenv(RaceVariable) == "1")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for _, pair := range pairs {
		name, value, _ := strings.Cut(pair, "=")
		os.Setenv(name, value)
	}
	return m.Run()
}

// Binary returns the path of the binary to test.
func Binary() string { return os.Getenv(BinaryVariable) }

// Client returns the path of the binary for what only asks a daemon, or ends before there is one. It begins
// much sooner than a [Binary] with the race detector in it.
func Client() string { return cmp.Or(os.Getenv(ClientVariable), Binary()) }

// environment is this process's without the variables that stand for the binary's flags.
func environment() []string {
	return slices.DeleteFunc(os.Environ(), func(pair string) bool { return strings.HasPrefix(pair, "ISANTARGET_") })
}

// Shipped is the environment in which the binary is built that users get: without cgo and the paths of this machine.
func Shipped() []string {
	return []string{"CGO_ENABLED=0", "GOFLAGS=" + strings.TrimSpace(os.Getenv("GOFLAGS")+" -trimpath")}
}

// Build compiles cmd/isantarget into dir, with the race detector or as it is shipped, and returns the environment by which
// [Main] finds it, "NAME=value".
func Build(ctx context.Context, dir string, race bool) ([]string, error) {
	binary := filepath.Join(dir, "isantarget")
	if !race {
		return []string{BinaryVariable + "=" + binary}, build(ctx, binary, Shipped())
	}
	client := filepath.Join(dir, "client")
	return []string{BinaryVariable + "=" + binary, ClientVariable + "=" + client}, errors.Join(build(ctx, binary, nil, "-race"), build(ctx, client, Shipped()))
}

// build compiles cmd/isantarget to the file at path, without what only debuggers read.
func build(ctx context.Context, path string, env []string, flags ...string) error {
	args := append([]string{"build", "-ldflags=-w", "-o", path}, flags...)
	cmd := exec.CommandContext(ctx, "go", append(args, "github.com/isantarget/isantarget/cmd/isantarget")...)
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return nil
}
