package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/isantarget/isantarget/admin"
	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/provision"
)

func targetCreateCommand() *cli.Command {
	return &cli.Command{
		Name: "create", Usage: "make a target", ArgsUsage: "IQN",
		Description: "The daemon keeps the target in its state directory. Without --access, and without a rule\n" +
			"(isantarget initiator create), it admits initiators on this host only.",
		Flags: changeFlags(append(proofFlags(),
			&cli.StringFlag{Name: "alias", Usage: "show initiators a `TEXT` for people"},
			&cli.StringFlag{Name: "access", Usage: "admit `open|loopback` where no rule decides: everybody, or this host only"},
			&cli.IntSliceFlag{Name: "portal-group", Usage: "be reached through the portal group of `TAG`, again for more (default: all)"})...),
		Action: ask([]string{"IQN"}, targetCreate),
	}
}

func targetCreate(c *cli.Context, client *admin.Client) error {
	target := map[string]any{"name": c.Args().First()}
	for _, key := range []string{"alias", "access"} {
		if c.IsSet(key) {
			target[key] = c.String(key)
		}
	}
	if c.IsSet("portal-group") {
		target["portal-groups"] = c.IntSlice("portal-group")
	}
	if err := proofs(c, target); err != nil {
		return err
	}
	return edit(c, client, admin.Batch{Put: []admin.Put{{Table: configs.TargetTable, Object: target}}})
}

func targetDeleteCommand() *cli.Command {
	return &cli.Command{
		Name: "delete", Usage: "end a target: its initiators are logged out", ArgsUsage: "IQN",
		Description: "Its LUNs stay; its maps and rules go with it. The name has to be typed in again. A target\n" +
			"that stands in the configuration file is taken out there.",
		Flags:  changeFlags(yesFlag()),
		Action: ask([]string{"IQN"}, targetDelete),
	}
}

func targetDelete(c *cli.Context, client *admin.Client) error {
	o, err := client.Object(c.Context, configs.TargetTable, strings.ToLower(c.Args().First()))
	if err != nil {
		return err
	}
	if o.Made {
		targets, err := client.Targets(c.Context)
		if err != nil {
			return err
		}
		var lines []string
		for _, t := range targets {
			if t.Name == o.Name && t.Sessions > 0 {
				lines = append(lines, fmt.Sprintf("%d sessions are open with it.", t.Sessions))
			}
		}
		if err := confirm(c, "target", o.Name, lines...); err != nil {
			return err
		}
	} // else the daemon says what to do
	return edit(c, client, admin.Batch{Delete: []provision.Delete{{Table: configs.TargetTable, Name: o.Name, Version: o.Version}}})
}
