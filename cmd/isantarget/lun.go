package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"github.com/isantarget/isantarget/admin"
	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/job"
	"github.com/isantarget/isantarget/provision"
)

func lunCommand() *cli.Command {
	return noun("lun", "make and delete LUNs, see them, and by which paths they are reached",
		listCommand("list the LUNs", cells("NAME", "SIZE", "KIND", "PATH", "SERIAL", "ACCESS STATES", "STATE"), "no LUNs",
			func(c *cli.Context, client *admin.Client) ([]provision.LUNStatus, error) {
				return client.LUNs(c.Context)
			}, lunRow),
		lunCreateCommand(), setCommand(configs.LUNTable, "a LUN", "NAME", "lun set vm1 readonly=true space-threshold=90"), lunDeleteCommand(), lunMapCommand(), lunUnmapCommand(),
		lunSnapshotCommand(), lunRollbackCommand(), lunCloneCommand(), lunCopyCommand(),
		&cli.Command{
			Name: "access-state", Usage: "change the state of a path to a LUN (ALUA)", ArgsUsage: "NAME GROUP optimized|non-optimized|standby|unavailable",
			Description: "GROUP is the number of the target port group in `lun list`. It lasts until the daemon is\n" +
				"started anew, or the configuration file says another state than before.",
			Flags:  listFlags(),
			Action: ask([]string{"NAME", "GROUP", "STATE"}, setAccessState),
		},
		lunShowCommand(), growCommand(), shrinkCommand(), defragmentCommand(), verifyCommand(), recoverCommand(), faultCommand())
}

func growCommand() *cli.Command {
	return &cli.Command{
		Name: "grow", Usage: "make a LUN bigger while it is used", ArgsUsage: "NAME SIZE",
		Description: "SIZE is the new size (20GiB), or what comes to it (+10GiB); the word device takes the size\n" +
			"that a device below the LUN has been given. Initiators hear of it; when they have rescanned\n" +
			"their file systems can grow. An image keeps its size, whatever the configuration file says.\n" +
			"A fixed image takes the space first; cancelled meanwhile, it has the old size.",
		Flags: jobFlags(),
		Action: ask([]string{"NAME", "SIZE"}, func(c *cli.Context, client *admin.Client) error {
			size := c.Args().Get(1)
			if size == "device" {
				size = ""
			}
			return begin(c, client, func() (job.Status, error) { return client.Grow(c.Context, c.Args().First(), size) })
		}),
	}
}

func shrinkCommand() *cli.Command {
	return &cli.Command{
		Name: "shrink", Usage: "make the image of a LUN smaller, while nobody uses it", ArgsUsage: "NAME SIZE",
		Description: "What the LUN holds behind SIZE (20GiB) is lost, and its space is given back: make the file\n" +
			"systems in it smaller first, and say --allow-data-loss. It is refused while an initiator is\n" +
			"logged in that sees the LUN, and while it has snapshots. Killed meanwhile, the image has the\n" +
			"old size or the new one, which it keeps, whatever the configuration file says.",
		Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: "allow-data-loss", Usage: "do it, although what lies behind the new size is lost"},
		}, jobFlags()...),
		Action: ask([]string{"NAME", "SIZE"}, func(c *cli.Context, client *admin.Client) error {
			return begin(c, client, func() (job.Status, error) {
				return client.Shrink(c.Context, c.Args().First(), c.Args().Get(1), c.Bool("allow-data-loss"))
			})
		}),
	}
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
	if err := client.SetAccessState(c.Context, c.Args().First(), uint16(group), c.Args().Get(2)); err != nil {
		return err
	}
	return printLUNAfter(c, client, c.Args().First())
}

// printLUNAfter is printAfter for a LUN.
func printLUNAfter(c *cli.Context, client *admin.Client, name string) error {
	return printAfter(c, func() (provision.LUNDetail, error) { return client.LUN(c.Context, name) })
}
