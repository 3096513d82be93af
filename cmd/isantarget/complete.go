package main

import (
	"context"
	"fmt"
	"maps"
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
const completeBound = 2 * time.Second

// completeWords has a verb offer what its words may be: names of what the daemon has.
func completeWords(noun string, c *cli.Command) cli.BashCompleteFunc {
	words := strings.Fields(c.ArgsUsage)
	return func(cc *cli.Context) {
		last := ""
		if len(os.Args) > 2 {
			last = os.Args[len(os.Args)-2]
		}
		if strings.HasPrefix(last, "-") || c.Name == "create" || len(words) == 0 {
			cli.DefaultCompleteWithFlags(c)(cc)
			return
		}
		client, err := clientOf(cc)
		if err != nil {
			return
		}
		defer client.Close()
		ctx, cancel := context.WithTimeout(cc.Context, completeBound)
		defer cancel()
		// The last argument may be there already, or be begun: the shell takes what fits.
		found := map[string]bool{}
		for i := max(0, cc.NArg()-1); i <= cc.NArg(); i++ {
			for _, name := range candidates(ctx, client, noun, words[min(i, len(words)-1)], cc.Args().First()) {
				found[name] = true
			}
		}
		for _, name := range slices.Sorted(maps.Keys(found)) {
			fmt.Fprintln(cc.App.Writer, name)
		}
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
	case "LUN":
		names = objectNames(ctx, client, configs.LUNTable)
	case "NAME", "IQN":
		names = objectNames(ctx, client, tableOf(noun))
	default:
		if strings.Contains(word, "|") { // one of these
			names = strings.Split(word, "|")
		}
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
