package main

import (
	"context"
	"strings"
	"time"

	"github.com/isantarget/isantarget/test/daemon"
)

// A static check passes when the program exits with status 0; with quiet, it must print nothing besides.
type static struct {
	name  string
	quiet bool
	args  []string
}

// check runs what can be said of the tree without running it: as it is shipped, so that it is compiled once for all.
func check(ctx context.Context, r *runner) {
	for _, c := range []static{
		{name: "gofmt", quiet: true, args: []string{"gofmt", "-l", "."}},
		{name: "go vet", args: []string{"go", "vet", "./..."}},
		{name: "staticcheck", args: []string{"go", "tool", "staticcheck", "./..."}},
		{name: "build without cgo", args: []string{"go", "build", "./..."}},
		{name: "shell scripts", args: []string{"bash", "-n", ".ci/run", "configs/debian/build", "test/guest/lab/build", "test/guest/lab/image/init", "test/guest/lab/image/library"}},
	} {
		begun := time.Now()
		out, err := output(ctx, r.root, daemon.Shipped(), c.args[0], c.args[1:]...)
		switch {
		case err != nil:
			r.report.fail(c.name, strings.Join(c.args, " ")+": "+err.Error()+"\n"+out)
		case c.quiet && out != "":
			r.report.fail(c.name, "these files are not formatted, see gofmt -d:\n"+out)
		default:
			r.report.pass()
			r.report.printf("ok   %s (%s)\n", c.name, seconds(time.Since(begun)))
		}
	}
	goTest(ctx, r.report, r.root, daemon.Shipped(), "-timeout=5m", "./test/house")
}
