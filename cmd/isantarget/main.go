// Isantarget is an iSCSI target: it serves disks to the network.
//
//	isantarget serve                      a disk of 10 GiB on 127.0.0.1:3260
//	isantarget serve --config FILE        what the file says
//	isantarget check FILE                 what is wrong with it, or what it would serve
//	isantarget import FILE                what another target's configuration becomes here
//	isantarget plan|apply FILE            what an edited file would change; have the daemon serve it
//	isantarget lun create NAME --size 100GiB --target IQN
//	isantarget status                     what runs, at one glance
//	isantarget export                     all of it as one file
//	isantarget doctor [URL]               what is wrong with a target, ours or another's
//	isantarget bench URL                  how fast it is
//
// And more nouns with their verbs: target, store, portal, initiator, snapshot, session, reservation, job.
// Errors are one line each on standard error, and the exit status is 1; doctor has its own.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/isantarget/isantarget/configs"
)

func main() {
	os.Exit(run(os.Args, os.Stdout, os.Stderr))
}

// run is main with its surroundings; its result is the exit status.
func run(args []string, stdout, stderr io.Writer) int {
	app := application(stdout, stderr)
	err := app.Run(arrange(app, args))
	if err == nil {
		return 0
	}
	if !errors.Is(err, errLogged) {
		for line := range strings.Lines(err.Error()) {
			fmt.Fprintf(stderr, "isantarget: %s\n", strings.TrimSuffix(line, "\n"))
		}
	}
	var exit *exitError
	if errors.As(err, &exit) {
		return exit.status
	}
	return 1
}

// An exitError ends the program with another status than 1.
type exitError struct {
	status int
	error
}

func (e *exitError) Unwrap() error { return e.error }

// errLogged is a failure of which the log, or what was printed, has told all.
var errLogged = errors.New("see the log")

func application(stdout, stderr io.Writer) *cli.App {
	app := &cli.App{
		Name:                      "isantarget",
		Usage:                     "serve disks over iSCSI",
		Version:                   version(),
		Writer:                    stdout,
		ErrWriter:                 stderr,
		DisableSliceFlagSeparator: true, // commas belong to --lun
		HideHelpCommand:           true,
		EnableBashCompletion:      true,
		ExitErrHandler:            func(*cli.Context, error) {}, // run does it
		Commands: []*cli.Command{
			serveCommand(), checkCommand(), importCommand(), planCommand(), applyCommand(), reloadCommand(), exportCommand(), statusCommand(), eventsCommand(),
			targetCommand(), lunCommand(), storeCommand(), portalCommand(), initiatorCommand(), sessionCommand(), reservationCommand(), snapshotCommand(), jobCommand(),
			doctorCommand(), benchCommand(), healthcheckCommand(), completionCommand(), manCommand(), versionCommand(),
		},
	}
	app.OnUsageError = usageError
	app.BashComplete = completing("", &cli.Command{Subcommands: app.Commands})
	for _, c := range app.Commands {
		prepare(c, c.Name)
	}
	app.Action = func(c *cli.Context) error {
		if !c.Args().Present() {
			return cli.ShowAppHelp(c)
		}
		var verbs []string
		for _, command := range app.Commands {
			verbs = append(verbs, command.Name)
		}
		return fmt.Errorf("unknown command %q%s", c.Args().First(), configs.DidYouMean(c.Args().First(), verbs))
	}
	return app
}

// prepare gives a command, and those below it, our errors and our help.
func prepare(c *cli.Command, noun string) {
	if c.OnUsageError == nil {
		c.OnUsageError = usageError
	}
	c.HideHelpCommand = true
	c.BashComplete = completing(noun, c)
	if len(c.Subcommands) == 0 {
		c.CustomHelpTemplate = helpTemplate(c.Flags)
		c.Action = required(c)
	}
	for _, verb := range c.Subcommands {
		prepare(verb, noun)
	}
}

// required is the action of c, but for the flags that it cannot do without: package cli would
// print its help instead.
func required(c *cli.Command) cli.ActionFunc {
	var flags []*cli.StringFlag
	for _, f := range c.Flags {
		if f, ok := f.(*cli.StringFlag); ok && f.Required {
			f.Required = false
			flags = append(flags, f)
		}
	}
	action := c.Action
	return func(c *cli.Context) error {
		for _, f := range flags {
			if !c.IsSet(f.Name) {
				_, what, _ := strings.Cut(f.Usage, "`")
				what, _, _ = strings.Cut(what, "`")
				return fmt.Errorf("wants --%[2]s %[3]s: %[1]s --%[2]s %[3]s", c.Command.HelpName, f.Name, what)
			}
		}
		return action(c)
	}
}

func hasFlag(c *cli.Command, name string) bool {
	return slices.ContainsFunc(c.Flags, func(f cli.Flag) bool { return f.Names()[0] == name })
}

// usageError words what package flag has found, without its help text.
func usageError(c *cli.Context, err error, _ bool) error {
	if name, ok := strings.CutPrefix(err.Error(), "flag provided but not defined: -"); ok {
		name = "--" + strings.TrimPrefix(name, "-")
		var flags []string
		for _, f := range c.Command.Flags {
			flags = append(flags, "--"+f.Names()[0])
		}
		return fmt.Errorf("unknown flag %s%s", name, configs.DidYouMean(name, flags))
	}
	if name, ok := strings.CutPrefix(err.Error(), "flag needs an argument: -"); ok {
		return fmt.Errorf("--%s wants a value", strings.TrimPrefix(name, "-"))
	}
	// As in: invalid value "x" for flag -depth: parse error.
	if value, rest, ok := strings.Cut(strings.TrimPrefix(err.Error(), "invalid value "), " for flag -"); ok {
		name, why, _ := strings.Cut(rest, ": ")
		if i := slices.IndexFunc(c.Command.Flags, func(f cli.Flag) bool { return f.Names()[0] == name }); i >= 0 {
			switch c.Command.Flags[i].(type) {
			case *cli.IntFlag, *cli.Int64Flag:
				why = "write a whole number"
			case *cli.DurationFlag:
				why = "write a time and its unit, as 30s or 2m"
			}
		}
		return fmt.Errorf("--%s %s: %s", name, strings.Trim(value, `"`), why)
	}
	return err
}

// noArguments refuses words that no flag takes.
func noArguments(c *cli.Context) error {
	if c.Args().Present() {
		return fmt.Errorf("%s takes no arguments, and %q is one", c.Command.Name, c.Args().First())
	}
	return nil
}
