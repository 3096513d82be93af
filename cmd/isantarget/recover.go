package main

import (
	"errors"

	"github.com/urfave/cli/v2"

	"github.com/isantarget/isantarget/admin"
	"github.com/isantarget/isantarget/provision"
)

func recoverCommand() *cli.Command {
	return &cli.Command{
		Name: "recover", Usage: "serve a LUN again that lost writes, or its image", ArgsUsage: "NAME",
		Description: "`lun list` says what is wrong with it, and since when. What is lost stays lost: this says\n" +
			"that you know. A LUN whose store comes back whole is served again by itself.",
		Flags: append(listFlags(),
			&cli.BoolFlag{Name: "accept-loss", Usage: "a flush has failed: go on with what the disk has; check the file systems on it"},
			&cli.BoolFlag{Name: "take-image", Usage: "the image was replaced: serve the file that is there now"},
			&cli.BoolFlag{Name: "new-image", Usage: "the image is missing: make a new, empty one"}),
		Action: ask([]string{"NAME"}, func(c *cli.Context, client *admin.Client) error {
			allowed := provision.Recovery{AcceptLoss: c.Bool("accept-loss"), TakeImage: c.Bool("take-image"), NewImage: c.Bool("new-image")}
			n := 0
			for _, yes := range []bool{allowed.AcceptLoss, allowed.TakeImage, allowed.NewImage} {
				if yes {
					n++
				}
			}
			if n != 1 {
				return errors.New("say what you allow: one of --accept-loss, --take-image and --new-image")
			}
			if err := client.Recover(c.Context, c.Args().First(), allowed); err != nil {
				return err
			}
			return printLUNAfter(c, client, c.Args().First())
		}),
	}
}
