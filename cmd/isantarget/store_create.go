package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/isantarget/isantarget/admin"
	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/provision"
)

func storeCreateCommand() *cli.Command {
	return &cli.Command{
		Name: "create", Usage: "give a directory for images a name", ArgsUsage: "NAME",
		Description: "isantarget store create tank --path /srv/isantarget\n\n" +
			"The directory has to be there. LUNs are put into it with `lun create --store NAME`.",
		Flags: changeFlags(
			&cli.StringFlag{Name: "path", Usage: "the directory `DIR`", Required: true},
			&cli.StringFlag{Name: "overcommit", Usage: "`refuse|warn|allow` images that promise more than the file system has (default: refuse)"},
			&cli.IntFlag{Name: "space-threshold", Usage: "tell when `PERCENT` of its file system are in use; 0: never"}),
		Action: ask([]string{"NAME"}, storeCreate),
	}
}

func storeCreate(c *cli.Context, client *admin.Client) error {
	path, err := absolute(c, c.String("path"))
	if err != nil {
		return err
	}
	store := map[string]any{"name": c.Args().First(), "path": path}
	if c.IsSet("overcommit") {
		store["overcommit"] = c.String("overcommit")
	}
	if c.IsSet("space-threshold") {
		store["space-threshold"] = c.Int("space-threshold")
	}
	done, err := change(c, client, admin.Batch{Put: []admin.Put{{Table: configs.StoreTable, Object: store}}})
	if err != nil {
		return err
	}
	done.Changes = append(done.Changes, fmt.Sprintf("store %s is %s", c.Args().First(), path))
	return printChange(c, done)
}

func storeDeleteCommand() *cli.Command {
	return &cli.Command{
		Name: "delete", Usage: "forget the name of a directory; what is in it stays", ArgsUsage: "NAME",
		Description: "LUNs that are in it have to be deleted before.",
		Flags:       changeFlags(),
		Action: ask([]string{"NAME"}, func(c *cli.Context, client *admin.Client) error {
			o, err := client.Object(c.Context, configs.StoreTable, c.Args().First())
			if err != nil {
				return err
			}
			done, err := change(c, client, admin.Batch{Delete: []provision.Delete{{Table: o.Table, Name: o.Name, Version: o.Version}}})
			if err != nil {
				return err
			}
			done.Changes = append(done.Changes, fmt.Sprintf("store %s is forgotten", o.Name))
			return printChange(c, done)
		}),
	}
}
