package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/isantarget/isantarget/admin"
	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/provision"
)

func portalCommand() *cli.Command {
	return noun("portal", "see, add and take away the addresses that targets are reached at",
		listCommand("list the portals, by portal group", cells("PORTAL", "GROUP", "KEPT IN"), "no portals",
			func(c *cli.Context, client *admin.Client) ([]admin.Object, error) {
				return client.Objects(c.Context, configs.PortalGroupTable)
			}, portalRows),
		portalShowCommand(),
		setCommand(configs.PortalGroupTable, "a portal group", "GROUP", "portal set 2 listen=192.0.2.10,192.0.2.11:3270"),
		&cli.Command{
			Name: "create", Usage: "listen on one more address", ArgsUsage: "ADDR:PORT",
			Description: "Without --group it is a portal group of its own: another path for multipath.",
			Flags:       changeFlags(&cli.IntFlag{Name: "group", Usage: "add it to the portal group of `TAG`, or make that"}),
			Action:      ask([]string{"ADDR:PORT"}, portalCreate),
		},
		&cli.Command{
			Name: "delete", Usage: "listen on an address no more", ArgsUsage: "ADDR:PORT",
			Description: "Connections that are open go on, unless it was the last address of its portal group.",
			Flags:       changeFlags(),
			Action:      ask([]string{"ADDR:PORT"}, portalDelete),
		})
}

// listenOf are the portals of a portal group.
func listenOf(o admin.Object) (portals []string) {
	list, _ := o.Object["listen"].([]any)
	for _, v := range list {
		var p configs.Portal
		if word, ok := v.(string); ok && p.UnmarshalText([]byte(word)) == nil {
			portals = append(portals, string(p))
		}
	}
	return portals
}

func portalRows(o admin.Object) (rows []string) {
	for _, p := range listenOf(o) {
		rows = append(rows, cells(p, o.Name, o.Where))
	}
	return rows
}

func portalCreate(c *cli.Context, client *admin.Client) error {
	var p configs.Portal
	if err := p.UnmarshalText([]byte(c.Args().First())); err != nil {
		return err
	}
	put := admin.Put{Table: configs.PortalGroupTable}
	group := map[string]any{"listen": []string{string(p)}}
	if c.IsSet("group") {
		group["tag"] = c.Int("group")
		groups, err := client.Objects(c.Context, configs.PortalGroupTable)
		if err != nil {
			return err
		}
		if i := slices.IndexFunc(groups, func(o admin.Object) bool { return o.Name == strconv.Itoa(c.Int("group")) }); i >= 0 {
			if g := groups[i]; !g.Made && g.Where != "" {
				return fmt.Errorf("portal group %s is written at %s, which isantarget never changes: add %s there and run isantarget reload, or leave --group out", g.Name, g.Where, p)
			}
			if groups[i].Made {
				group["listen"], put.Version = append(listenOf(groups[i]), string(p)), groups[i].Version
			}
		}
	}
	put.Object = group
	return edit(c, client, admin.Batch{Put: []admin.Put{put}})
}

func portalDelete(c *cli.Context, client *admin.Client) error {
	var p configs.Portal
	if err := p.UnmarshalText([]byte(c.Args().First())); err != nil {
		return err
	}
	groups, err := client.Objects(c.Context, configs.PortalGroupTable)
	if err != nil {
		return err
	}
	var known []string
	for _, g := range groups {
		listen := listenOf(g)
		known = append(known, listen...)
		i := slices.Index(listen, string(p))
		switch {
		case i < 0:
			continue
		case !g.Made:
			return fmt.Errorf("the portal %s is written at %s, which isantarget never changes: take it out there, and run isantarget reload", p, g.Where)
		case len(listen) == 1:
			return edit(c, client, admin.Batch{Delete: []provision.Delete{{Table: g.Table, Name: g.Name, Version: g.Version}}})
		}
		g.Object["listen"] = slices.Delete(listen, i, i+1)
		return edit(c, client, admin.Batch{Put: []admin.Put{{Table: g.Table, Object: g.Object, Version: g.Version}}})
	}
	return fmt.Errorf("there is no portal %s%s", p, configs.DidYouMean(string(p), known))
}

// wordOf is a value of an object for a table.
func wordOf(v any) string {
	switch x := v.(type) {
	case string:
		return x
	case float64:
		return strconv.FormatFloat(x, 'f', -1, 64)
	case []any:
		words := make([]string, len(x))
		for i := range x {
			words[i] = wordOf(x[i])
		}
		return strings.Join(words, " ")
	}
	text, _ := json.Marshal(v)
	return string(text)
}
