package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/isantarget/isantarget/admin"
)

func reloadCommand() *cli.Command {
	return &cli.Command{
		Name:  "reload",
		Usage: "have the daemon apply its configuration file again",
		Description: "What has not changed goes on undisturbed. One wrong entry, and nothing is changed.\n" +
			"The state directory and the limits cannot change while the daemon runs. Where the space of\n" +
			"a fixed image has to be taken that is a job; it goes on when this command is ended.",
		Flags: planeFlags(),
		Action: ask(nil, func(c *cli.Context, client *admin.Client) error {
			var change admin.Change
			err := watching(c, client, func() (err error) {
				change, err = client.Reload(c.Context)
				return err
			})
			if err != nil {
				return err
			}
			for _, w := range change.Warnings {
				fmt.Fprintf(c.App.ErrWriter, "isantarget: warning: %s\n", w)
			}
			if len(change.Changes) == 0 {
				change.Changes = []string{"nothing has changed"}
			}
			for _, line := range change.Changes {
				fmt.Fprintln(c.App.Writer, line)
			}
			return nil
		}),
	}
}
