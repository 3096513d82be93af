package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"github.com/isantarget/isantarget/admin"
	"github.com/isantarget/isantarget/provision"
)

func lunCommand() *cli.Command {
	return noun("lun", "make and delete LUNs, see them, and by which paths they are reached",
		listCommand("list the LUNs", cells("NAME", "SIZE", "KIND", "PATH", "SERIAL", "ACCESS STATES", "STATE"), "no LUNs",
			func(c *cli.Context, client *admin.Client) ([]provision.LUNStatus, error) {
				return client.LUNs(c.Context)
			}, lunRow),
		lunCreateCommand(), lunDeleteCommand(), lunMapCommand(), lunUnmapCommand(),
		&cli.Command{
			Name: "access-state", Usage: "change the state of a path to a LUN (ALUA)", ArgsUsage: "NAME GROUP optimized|non-optimized|standby|unavailable",
			Description: "GROUP is the number of the target port group in `lun list`. It lasts until the daemon is\n" +
				"started anew, or the configuration file says another state than before.",
			Flags:  planeFlags(),
			Action: ask([]string{"NAME", "GROUP", "STATE"}, setAccessState),
		},
		recoverCommand(),
		faultCommand())
}

func lunRow(l provision.LUNStatus) []string {
	var paths []string
	for _, p := range l.Paths {
		paths = append(paths, fmt.Sprintf("%d:%s", p.Group, p.State))
	}
	state := "ready"
	if l.NotReady != "" {
		state = "not ready: " + l.NotReady
	}
	for _, alert := range l.Alerts {
		state += "; " + alert
	}
	if len(l.Faults) > 0 {
		state += ", breaks on purpose: " + strings.Join(l.Faults, ", ")
	}
	return []string{cells(l.Name, humanize.IBytes(uint64(l.Size)), l.Kind, l.Path, l.Serial, strings.Join(paths, " "), state)}
}

func setAccessState(c *cli.Context, client *admin.Client) error {
	group, err := strconv.ParseUint(c.Args().Get(1), 10, 16)
	if err != nil {
		return fmt.Errorf("%q is not the number of a target port group; see: isantarget lun list", c.Args().Get(1))
	}
	return client.SetAccessState(c.Context, c.Args().First(), uint16(group), c.Args().Get(2))
}
