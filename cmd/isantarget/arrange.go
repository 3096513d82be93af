package main

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// completionFlag is the last word when a shell asks what may come next.
const completionFlag = "--generate-bash-completion"

// arrange puts the flags of a command line before its other words, where package cli
// looks for them: people write `lun create vm1 --size 1GiB`. What stands behind "--" is
// left alone.
func arrange(app *cli.App, args []string) []string {
	if len(args) == 0 {
		return args
	}
	if before := args[:len(args)-1]; args[len(args)-1] == completionFlag {
		// With a "--" package cli would take this for the command itself.
		before = slices.DeleteFunc(slices.Clone(before), func(arg string) bool { return arg == "--" })
		return append(arrange(app, before), completionFlag)
	}
	commands, flags, n := app.Commands, app.Flags, 1
	for n < len(args) {
		i := slices.IndexFunc(commands, func(c *cli.Command) bool { return c.HasName(args[n]) })
		if i < 0 {
			break
		}
		flags, commands = commands[i].Flags, commands[i].Subcommands
		n++
	}
	if n == 1 || len(commands) > 0 {
		return args // no verb
	}
	var first, rest []string
	for i := n; i < len(args); i++ {
		arg := args[i]
		switch {
		case arg == "--":
			rest = append(rest, args[i:]...)
			i = len(args)
		case !strings.HasPrefix(arg, "-") || arg == "-":
			rest = append(rest, arg)
		default:
			first = append(first, arg)
			if takesValue(flags, arg) && i+1 < len(args) {
				i++
				first = append(first, args[i])
			}
		}
	}
	return slices.Concat(args[:n], first, rest)
}

// takesValue tells whether the word behind a flag belongs to it.
func takesValue(flags []cli.Flag, arg string) bool {
	if strings.Contains(arg, "=") {
		return false
	}
	name := strings.TrimLeft(arg, "-")
	for _, f := range flags {
		if slices.Contains(f.Names(), name) {
			_, isSwitch := f.(*cli.BoolFlag)
			return !isSwitch
		}
	}
	return false
}
