package main

import (
	"fmt"
	"runtime/debug"

	"github.com/urfave/cli/v2"
)

// release is the version that the linker was told:
// -ldflags "-X main.release=1.2.3".
var release string

// version is what this binary is: the release, else the module's version, else
// the commit that it was built from.
func version() string {
	if release != "" {
		return release
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	revision, dirty := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "+changes"
		}
	}
	if revision == "" {
		return "devel"
	}
	return "devel-" + revision[:min(12, len(revision))] + dirty
}

func versionCommand() *cli.Command {
	return &cli.Command{
		Name:  "version",
		Usage: "say which version this is",
		Flags: []cli.Flag{jsonFlag()},
		Action: func(c *cli.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			if c.Bool("json") {
				return printJSON(c, struct {
					Version string `json:"version"`
				}{version()})
			}
			_, err := fmt.Fprintln(c.App.Writer, "isantarget", version())
			return err
		},
	}
}
