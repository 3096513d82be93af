package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/isantarget/isantarget/admin"
	"github.com/isantarget/isantarget/provision"
)

func targetCommand() *cli.Command {
	return noun("target", "make and delete targets, see them and where they are reached",
		listCommand("list the targets", cells("TARGET", "PORTALS", "LUNS", "ADMITS", "SESSIONS"), "no targets",
			func(c *cli.Context, client *admin.Client) ([]provision.TargetStatus, error) {
				return client.Targets(c.Context)
			}, targetRow),
		targetCreateCommand(), targetDeleteCommand())
}

func targetRow(t provision.TargetStatus) []string {
	var portals, luns, admits []string
	for _, p := range t.Portals {
		portals = append(portals, fmt.Sprintf("%s,%d", p.Address, p.Group))
	}
	for _, n := range slices.Sorted(maps.Keys(t.LUNs)) {
		luns = append(luns, fmt.Sprintf("%d=%s", n, t.LUNs[n]))
	}
	if t.Rules > 0 {
		admits = append(admits, fmt.Sprintf("%d rules", t.Rules))
	}
	if t.Access != "" {
		admits = append(admits, t.Access)
	}
	return []string{cells(t.Name, strings.Join(portals, " "), strings.Join(luns, " "), strings.Join(admits, ", "), strconv.Itoa(t.Sessions))}
}
