package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// benchstatProgram compares the results of go test -bench. It is run from the module cache and is no dependency.
const benchstatProgram = "golang.org/x/perf/cmd/benchstat@v0.0.0-20260908200009-22c9c6c9d4da"

// packages are those with benchmarks of the inner pieces.
func packages() []string {
	return []string{"./iscsi", "./scsi", "./scsi/sbc", "./backstore/file", "./target"}
}

// runBenchstat runs the benchmarks of a commit and of the working tree in turn, so that a slow minute of the machine
// falls upon both, and compares them.
func runBenchstat(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("bench benchstat", flag.ContinueOnError)
	base := flags.String("base", "HEAD~1", "`commit` to compare the working tree with")
	pattern := flags.String("bench", ".", "benchmarks to run, a regular expression")
	count := flags.Int("count", 6, "how often")
	length := flags.String("time", "300ms", "how long each, as -benchtime of go test")
	if err := flags.Parse(args); err != nil {
		return err
	}
	directory, err := os.MkdirTemp("", "isantarget-benchstat-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(directory)
	tree := filepath.Join(directory, "tree")
	if err := checkOut(ctx, *base, tree); err != nil {
		return err
	}
	sides := []side{{name: *base, tree: tree}, {name: "tree", tree: "."}}
	for i := range sides {
		sides[i].results = filepath.Join(directory, strconv.Itoa(i))
	}
	for n := range *count {
		for _, s := range sides {
			fmt.Fprintf(os.Stderr, "%d/%d %s\n", n+1, *count, s.name)
			if err := s.measure(ctx, *pattern, *length); err != nil {
				return err
			}
		}
	}
	return command(ctx, ".", os.Stdout, "go", "run", benchstatProgram, "base="+sides[0].results, "tree="+sides[1].results)
}

// A side is one of the two that are compared.
type side struct {
	name, tree, results string
}

func (s side) measure(ctx context.Context, pattern, length string) error {
	f, err := os.OpenFile(s.results, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	args := append([]string{"test", "-run", "^$", "-bench", pattern, "-benchtime", length, "-benchmem"}, packages()...)
	if err := command(ctx, s.tree, f, "go", args...); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// checkOut writes the files of a commit into a new directory, without a trace in the repository.
func checkOut(ctx context.Context, commit, directory string) error {
	if strings.HasPrefix(commit, "-") {
		return fmt.Errorf("%q is no commit", commit)
	}
	if err := os.Mkdir(directory, 0o700); err != nil {
		return err
	}
	archive := directory + ".tar"
	if err := command(ctx, ".", os.Stderr, "git", "archive", "-o", archive, commit); err != nil {
		return err
	}
	return command(ctx, ".", os.Stderr, "tar", "-xf", archive, "-C", directory)
}

func command(ctx context.Context, directory string, out io.Writer, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = directory
	cmd.Stdout, cmd.Stderr = out, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s %s: %w", program, strings.Join(args, " "), err)
	}
	return nil
}
