package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/isantarget/isantarget/admin"
	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/provision"
)

func targetCommand() *cli.Command {
	return noun("target", "make and delete targets, see them and where they are reached",
		listCommand("list the targets", cells("TARGET", "PORTALS", "LUNS", "ADMITS", "SESSIONS"), "no targets",
			func(c *cli.Context, client *admin.Client) ([]provision.TargetStatus, error) {
				return client.Targets(c.Context)
			}, targetRow),
		targetShowCommand(), targetCreateCommand(),
		setCommand(configs.TargetTable, "a target", "IQN", `target set iqn.2026-11.org.example:vmstore alias="disks of the cluster"`), targetDeleteCommand())
}

func targetRow(t provision.TargetStatus) []string {
	var portals, luns []string
	for _, p := range t.Portals {
		portals = append(portals, fmt.Sprintf("%s,%d", p.Address, p.Group))
	}
	for _, n := range sortedNumbers(t.LUNs) {
		luns = append(luns, fmt.Sprintf("%d=%s", n, t.LUNs[n]))
	}
	return []string{cells(t.Name, strings.Join(portals, " "), strings.Join(luns, " "), admits(t), strconv.Itoa(t.Sessions))}
}

// admits says in short who may log in.
func admits(t provision.TargetStatus) string {
	var words []string
	if t.Rules > 0 {
		words = append(words, fmt.Sprintf("%d rules", t.Rules))
	}
	if t.Access != "" {
		words = append(words, t.Access)
	}
	return strings.Join(words, ", ")
}

func sortedNumbers(luns map[int]string) []int { return slices.Sorted(maps.Keys(luns)) }
