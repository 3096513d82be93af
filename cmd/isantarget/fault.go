package main

import (
	"fmt"
	"strconv"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"github.com/isantarget/isantarget/admin"
	"github.com/isantarget/isantarget/provision"
)

func faultCommand() *cli.Command {
	return noun("fault", "let a LUN break on purpose, for tests of what uses it",
		&cli.Command{
			Name: "list", Usage: "list the faults in force, and how often they struck", ArgsUsage: "NAME", Flags: listFlags(),
			Action: ask([]string{"NAME"}, listFaults),
		},
		&cli.Command{
			Name: "set", Usage: "replace the faults in force", ArgsUsage: "NAME FAULT...",
			Description: "For a LUN that has a layer of kind \"fault\", or the option \"fault\" of --lun. A FAULT is one\n" +
				"argument; first what happens, then to what:\n" +
				"  error=EIO  delay=500ms  short  torn  lost-sync  power-cut  power-cut=50%\n" +
				"  on=read+write+sync+unmap+zero+map  lba=100-199  at=1MiB+64KiB  after=1000  rate=1%  count=3\n" +
				"as in: isantarget lun fault set disk \"error=EIO on=read lba=2048-4095\" \"delay=1s rate=1%\"",
			Flags: listFlags(),
			Action: func(c *cli.Context) error {
				if c.NArg() < 2 {
					return fmt.Errorf("wants NAME FAULT...: %s NAME \"error=EIO on=read\"", c.Command.HelpName)
				}
				client, err := clientOf(c)
				if err != nil {
					return err
				}
				defer client.Close()
				return setFaults(c, client, c.Args().Tail())
			},
		},
		&cli.Command{
			Name: "clear", Usage: "let a LUN be sound again; calls that are delayed go on", ArgsUsage: "NAME", Flags: listFlags(),
			Action: ask([]string{"NAME"}, func(c *cli.Context, client *admin.Client) error { return setFaults(c, client, nil) }),
		})
}

func setFaults(c *cli.Context, client *admin.Client, faults []string) error {
	if err := client.SetFaults(c.Context, c.Args().First(), faults); err != nil {
		return err
	}
	return printAfter(c, func() ([]provision.FaultStatus, error) { return client.Faults(c.Context, c.Args().First()) })
}

func listFaults(c *cli.Context, client *admin.Client) error {
	list, err := client.Faults(c.Context, c.Args().First())
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c, list)
	}
	if len(list) == 0 {
		_, err := fmt.Fprintln(c.App.Writer, "no faults")
		return err
	}
	w := tabwriter.NewWriter(c.App.Writer, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, cells("FAULT", "MET", "STRUCK"))
	for _, f := range list {
		fmt.Fprintln(w, cells(f.Fault, strconv.FormatInt(f.Met, 10), strconv.FormatInt(f.Struck, 10)))
	}
	return w.Flush()
}
