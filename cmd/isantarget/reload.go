package main

import (
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
		Flags: listFlags(),
		Action: ask(nil, func(c *cli.Context, client *admin.Client) error {
			var done admin.Changed
			err := watching(c, client, func() (err error) {
				done, err = client.Reload(c.Context)
				return err
			})
			if err != nil {
				return err
			}
			return printChange(c, done)
		}),
	}
}
