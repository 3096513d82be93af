package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/isantarget/isantarget/admin"
	"github.com/isantarget/isantarget/configs"
)

// completeBound is how long a person waits who has pressed a key.
const completeBound = 5 * time.Second

// completing has a command offer what may come next, a line each: the word, a tab, and what it
// is. The last argument is the word that is begun, and may be empty; the shell takes what fits.
func completing(noun string, c *cli.Command) cli.BashCompleteFunc {
	words := strings.Fields(c.ArgsUsage)
	return func(cc *cli.Context) {
		word, before := begun()
		ofFlag := strings.HasPrefix(before, "-") && takesValue(c.Flags, before)
		switch {
		case ofFlag && hasFlag(c, "socket") && slices.Contains([]string{"target", "store"}, strings.TrimLeft(before, "-")):
			offerNames(cc, strings.TrimLeft(before, "-"), "NAME", "")
		case ofFlag: // if it is a file the shell knows more
		case strings.HasPrefix(word, "-") || len(c.Subcommands) == 0 && len(words) == 0:
			offerFlags(cc, c.Flags)
		case len(c.Subcommands) > 0:
			offerCommands(cc, c.Subcommands)
		default:
			offerWord(cc, noun, c, words[min(max(0, cc.NArg()-1), len(words)-1)])
		}
	}
}

// begun is the word that somebody has begun, and the one before it.
func begun() (word, before string) {
	if n := len(os.Args); n > 3 {
		return os.Args[n-2], os.Args[n-3]
	} else if n > 2 {
		return os.Args[n-2], ""
	}
	return "", ""
}

func offerCommands(c *cli.Context, commands []*cli.Command) {
	for _, command := range commands {
		if !command.Hidden {
			fmt.Fprintf(c.App.Writer, "%s\t%s\n", command.Name, command.Usage)
		}
	}
}

// offerFlags offers those that are not there yet, and those that may be there again.
func offerFlags(c *cli.Context, flags []cli.Flag) {
	for _, f := range flags {
		d, ok := f.(cli.DocGenerationFlag)
		_, again := f.(*cli.StringSliceFlag)
		name := "--" + f.Names()[0]
		if v, hides := f.(cli.VisibleFlag); !ok || hides && !v.IsVisible() || !again && slices.Contains(os.Args[:len(os.Args)-2], name) {
			continue
		}
		fmt.Fprintf(c.App.Writer, "%s\t%s\n", name, strings.ReplaceAll(d.GetUsage(), "`", ""))
	}
}

// offerWord offers what a command may have for a word that its usage names.
func offerWord(cc *cli.Context, noun string, c *cli.Command, word string) {
	switch {
	case strings.Contains(word, "|") && word == strings.ToLower(word): // one of these
		fmt.Fprintln(cc.App.Writer, strings.ReplaceAll(word, "|", "\n"))
	case hasFlag(c, "socket") && (c.Name != "create" || strings.HasPrefix(word, "LUN")): // it asks a daemon for what is there; a name to create is not
		offerNames(cc, noun, word, cc.Args().First())
	}
}

// offerNames offers what a word of a command may be by what the daemon has.
func offerNames(c *cli.Context, noun, word, first string) {
	client, err := clientOf(c)
	if err != nil {
		return
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(c.Context, completeBound)
	defer cancel()
	for _, name := range slices.Sorted(slices.Values(candidates(ctx, client, noun, word, first))) {
		fmt.Fprintln(c.App.Writer, name)
	}
}

// candidates are what a word of a command stands for; of a daemon that does not answer there
// are none. first is the word before it.
func candidates(ctx context.Context, client *admin.Client, noun, word, first string) (names []string) {
	switch strings.TrimRight(strings.Trim(word, "[]"), ".") {
	case "KEY=VALUE":
		for key := range propertiesOf(tableOf(noun)) {
			names = append(names, key+"=")
		}
	case "TSIH":
		all, _ := client.Sessions(ctx)
		for _, s := range all {
			names = append(names, strconv.Itoa(int(s.TSIH)))
		}
	case "ID":
		all, _ := client.Jobs(ctx)
		for _, j := range all {
			names = append(names, j.ID)
		}
	case "SNAPSHOT":
		all, _ := client.Snapshots(ctx, first)
		for _, s := range all {
			names = append(names, s.Name)
		}
	case "ADDR:PORT":
		all, _ := client.Objects(ctx, configs.PortalGroupTable)
		for _, g := range all {
			names = append(names, listenOf(g)...)
		}
	case "GROUP":
		names = objectNames(ctx, client, configs.PortalGroupTable)
	case "LUN", "NAME|NAME@SNAPSHOT":
		names = objectNames(ctx, client, configs.LUNTable)
	case "NAME", "IQN":
		names = objectNames(ctx, client, tableOf(noun))
	}
	return names
}

func objectNames(ctx context.Context, client *admin.Client, table configs.Table) (names []string) {
	all, _ := client.Objects(ctx, table)
	for _, o := range all {
		names = append(names, o.Name)
	}
	return names
}

// tableOf is the table of what a noun stands for.
func tableOf(noun string) configs.Table {
	switch noun {
	case "target":
		return configs.TargetTable
	case "portal":
		return configs.PortalGroupTable
	case "initiator":
		return configs.RuleTable
	case "store":
		return configs.StoreTable
	}
	return configs.LUNTable
}
