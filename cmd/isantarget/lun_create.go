package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/urfave/cli/v2"

	"github.com/isantarget/isantarget/admin"
	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/provision"
)

// lunTexts are the settings of a LUN that are texts, and how a flag explains them.
func lunTexts() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "size", Usage: "make an image of `SIZE`, as 100GiB, if it is missing; one that is there keeps its own"},
		&cli.StringFlag{Name: "store", Usage: "put the image into the store of this `NAME` (default: the only one, or the state directory if there is none)"},
		&cli.StringFlag{Name: "path", Usage: "serve the image or the block device `FILE`; with --store, below it"},
		&cli.StringFlag{Name: "provisioning", Usage: "take space `sparse|fixed`: when it is written, or all at once"},
		&cli.StringFlag{Name: "serial", Usage: "have the identity that is made of `TEXT`, instead of a new one"},
		&cli.StringFlag{Name: "kind", Usage: "keep bytes in a `file|block|memory|null|gotgt`"},
		&cli.StringFlag{Name: "plugin", Usage: "of kind gotgt: the `NAME` of the backing store"},
		&cli.StringFlag{Name: "sanitize-rate", Usage: "let SANITIZE write `SIZE` in a second at most"},
	}
}

func lunNumbers() []cli.Flag {
	return []cli.Flag{
		&cli.IntFlag{Name: "block-size", Usage: "have logical blocks of `512|4096` bytes"},
		&cli.IntFlag{Name: "physical-block-size", Usage: "have initiators align to `BYTES`"},
	}
}

func lunSwitches() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "readonly", Usage: "refuse every write"},
		&cli.BoolFlag{Name: "removable", Usage: "say that the medium can be removed"},
		&cli.BoolFlag{Name: "direct", Usage: "go around the page cache of this host"},
		&cli.BoolFlag{Name: "write-cache", Usage: "tell initiators of a volatile write cache", Value: true},
	}
}

func lunCreateCommand() *cli.Command {
	settings := slices.Concat(lunTexts(), lunNumbers(), lunSwitches())
	return &cli.Command{
		Name: "create", Usage: "make a LUN, and map it to a target", ArgsUsage: "NAME",
		Description: "isantarget lun create vm1 --size 100GiB --target iqn.2026-11.org.example:vmstore\n\n" +
			"The daemon keeps the LUN in its state directory. --set takes any key that a [[lun]] of\n" +
			"the configuration file has.",
		Flags: changeFlags(append(settings,
			&cli.StringSliceFlag{Name: "set", Usage: "give another setting a value, as in the file: `KEY=VALUE`, again for more"},
			&cli.StringFlag{Name: "target", Usage: "map it to the target `IQN`"},
			&cli.IntFlag{Name: "number", Usage: "map it under LUN number `N` (default: the lowest that is free)"})...),
		Action: ask([]string{"NAME"}, lunCreate),
	}
}

func lunCreate(c *cli.Context, client *admin.Client) error {
	lun, err := lunSettings(c)
	if err != nil {
		return err
	}
	batch := admin.Batch{Put: []admin.Put{{Table: configs.LUNTable, Object: lun}}}
	if target := c.String("target"); target != "" {
		batch.Put = append(batch.Put, mapOf(c, c.Args().First(), target))
	} else if c.IsSet("number") {
		return fmt.Errorf("--number is that of the LUN in a target; add --target IQN")
	}
	done, err := change(c, client, batch)
	if err != nil {
		return err
	}
	done.Changes = append(done.Changes, mapped(done)...)
	return printChange(c, done)
}

// lunSettings are the flags as a table of the schema.
func lunSettings(c *cli.Context) (map[string]any, error) {
	lun := map[string]any{"name": c.Args().First()}
	given := func(flags []cli.Flag, get func(string) any) {
		for _, f := range flags {
			if name := f.Names()[0]; c.IsSet(name) {
				lun[name] = get(name)
			}
		}
	}
	given(lunTexts(), func(name string) any { return c.String(name) })
	given(lunNumbers(), func(name string) any { return c.Int(name) })
	given(lunSwitches(), func(name string) any { return c.Bool(name) })
	for _, word := range c.StringSlice("set") {
		key, value, ok := strings.Cut(word, "=")
		if !ok || key == "" {
			return nil, fmt.Errorf("--set %s: wants KEY=VALUE", word)
		}
		lun[key] = valueOf(configs.LUNTable, key, value)
	}
	if path := c.String("path"); path != "" && !c.IsSet("store") {
		var err error
		if lun["path"], err = absolute(c, path); err != nil {
			return nil, err
		}
	}
	return lun, nil
}

// settingOf is a value as the file has it: true, 512, "text", or a word without quotes.
func settingOf(word string) any {
	var v struct{ V any }
	if _, err := toml.Decode("V = "+word, &v); err != nil || v.V == nil {
		return word
	}
	return v.V
}

// mapOf shows a LUN to a target under --number, or the lowest number that is free.
func mapOf(c *cli.Context, lun, target string) admin.Put {
	m := map[string]any{"target": target, "lun": lun}
	if c.IsSet("number") {
		m["number"] = c.Int("number")
	}
	return admin.Put{Table: configs.MapTable, Object: m}
}

// mapped says under which numbers LUNs are found.
func mapped(done admin.Changed) (lines []string) {
	for _, o := range done.Objects {
		if o.Table == configs.MapTable {
			lines = append(lines, fmt.Sprintf("LUN %s is number %v of %s", o.Text("lun"), o.Object["number"], o.Text("target")))
		}
	}
	return lines
}

func lunDeleteCommand() *cli.Command {
	return &cli.Command{
		Name: "delete", Usage: "take a LUN from its initiators, and forget it", ArgsUsage: "NAME",
		Description: "Its image stays where it is, unless --delete-image is given. The name has to be typed in\n" +
			"again. A LUN that stands in the configuration file is taken out there.",
		Flags: changeFlags(
			&cli.BoolFlag{Name: "delete-image", Usage: "remove the image file too: what is in it is lost"}, yesFlag()),
		Action: ask([]string{"NAME"}, lunDelete),
	}
}

func lunDelete(c *cli.Context, client *admin.Client) error {
	name := c.Args().First()
	o, err := client.Object(c.Context, configs.LUNTable, name)
	if err != nil {
		return err
	}
	if o.Made {
		targets, err := client.Targets(c.Context)
		if err != nil {
			return err
		}
		lines := users(name, targets)
		if c.Bool("delete-image") {
			lines = append(lines, "Its image is removed, and what is in it is lost.")
		}
		if err := confirm(c, "LUN", name, lines...); err != nil {
			return err
		}
	} // else the daemon says what to do
	return edit(c, client, admin.Batch{Delete: []provision.Delete{{
		Table: configs.LUNTable, Name: name, Version: o.Version, Image: c.Bool("delete-image"),
	}}})
}

// users says who has sessions that may see a LUN.
func users(lun string, targets []provision.TargetStatus) (lines []string) {
	for _, t := range targets {
		for n, name := range t.LUNs {
			if name == lun && t.Sessions > 0 {
				lines = append(lines, fmt.Sprintf("%d sessions are open with %s, where it is LUN %d.", t.Sessions, t.Name, n))
			}
		}
	}
	return lines
}

func lunMapCommand() *cli.Command {
	return &cli.Command{
		Name: "map", Usage: "show a LUN to the initiators of a target", ArgsUsage: "NAME",
		Flags: changeFlags(
			&cli.StringFlag{Name: "target", Usage: "the target `IQN`", Required: true},
			&cli.IntFlag{Name: "number", Usage: "under LUN number `N` (default: the lowest that is free)"}),
		Action: ask([]string{"NAME"}, func(c *cli.Context, client *admin.Client) error {
			done, err := change(c, client, admin.Batch{Put: []admin.Put{mapOf(c, c.Args().First(), c.String("target"))}})
			if err != nil {
				return err
			}
			done.Changes = append(done.Changes, mapped(done)...)
			return printChange(c, done)
		}),
	}
}

func lunUnmapCommand() *cli.Command {
	return &cli.Command{
		Name: "unmap", Usage: "take a LUN from the initiators of a target", ArgsUsage: "NAME",
		Flags:  changeFlags(&cli.StringFlag{Name: "target", Usage: "the target `IQN`", Required: true}),
		Action: ask([]string{"NAME"}, lunUnmap),
	}
}

func lunUnmap(c *cli.Context, client *admin.Client) error {
	name, target := c.Args().First(), c.String("target")
	maps, err := client.Objects(c.Context, configs.MapTable)
	if err != nil {
		return err
	}
	var batch admin.Batch
	for _, m := range maps {
		if m.Text("lun") == name && strings.EqualFold(m.Text("target"), target) {
			batch.Delete = append(batch.Delete, provision.Delete{Table: configs.MapTable, Name: m.Name, Version: m.Version})
		}
	}
	if len(batch.Delete) > 0 {
		return edit(c, client, batch)
	}
	t, err := client.Object(c.Context, configs.TargetTable, strings.ToLower(target))
	if err != nil {
		return err
	}
	luns, _ := t.Object["luns"].(map[string]any)
	for n, lun := range luns {
		if lun == name {
			return fmt.Errorf("LUN %s is number %s of %s by what is written at %s: change it there, and run isantarget reload", name, n, target, t.Where)
		}
	}
	return fmt.Errorf("target %s does not map LUN %s; see: isantarget target list", target, name)
}
