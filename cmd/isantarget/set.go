package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/isantarget/isantarget/admin"
	"github.com/isantarget/isantarget/configs"
)

// setCommand changes the settings of an object that was made at run time.
func setCommand(table configs.Table, what, word, example string) *cli.Command {
	return &cli.Command{
		Name: "set", Usage: "change settings of " + what + " that was made while the daemon runs", ArgsUsage: word + " KEY=VALUE...",
		Description: "isantarget " + example + "\n\n" +
			"KEY is one of [[" + string(table) + "]] in the configuration file, and VALUE is written as there; quotes may be left\n" +
			"out, and a list may be written with commas. Without a VALUE the key has its default again.\n" +
			"What stands in the configuration file is changed there.",
		Flags: changeFlags(),
		Action: func(c *cli.Context) error {
			if c.NArg() < 2 {
				return fmt.Errorf("wants %s and a setting: %s %s KEY=VALUE", word, c.Command.HelpName, word)
			}
			client, err := clientOf(c)
			if err != nil {
				return err
			}
			defer client.Close()
			return set(c, client, table)
		},
	}
}

func set(c *cli.Context, client *admin.Client, table configs.Table) error {
	name := c.Args().First()
	if table == configs.TargetTable {
		name = strings.ToLower(name)
	}
	o, err := client.Object(c.Context, table, name)
	if err != nil {
		return err
	}
	if !o.Made {
		return writtenElsewhere(o)
	}
	for _, word := range c.Args().Tail() {
		if err := setOne(c, o, word); err != nil {
			return err
		}
	}
	return edit(c, client, admin.Batch{Put: []admin.Put{{Table: table, Object: o.Object, Version: o.Version}}})
}

// writtenElsewhere says where an object is to be changed that a person wrote.
func writtenElsewhere(o admin.Object) error {
	file, _, isLine := strings.Cut(o.Where, ":")
	switch {
	case o.Where == "":
		return fmt.Errorf("%s %s is there because nothing else is written; make one: isantarget portal create ADDR:PORT", o.Table, o.Name)
	case strings.HasPrefix(o.Where, "-") || !isLine:
		return fmt.Errorf("%s %s was given to the daemon by %s: change it there, and start the daemon anew", o.Table, o.Name, o.Where)
	}
	return fmt.Errorf("%s %s is in the file, at %s: edit it there, and run isantarget apply %s", o.Table, o.Name, o.Where, file)
}

// setOne gives one key of an object another value.
func setOne(c *cli.Context, o admin.Object, word string) error {
	key, value, ok := strings.Cut(word, "=")
	if !ok || key == "" {
		return fmt.Errorf("%q wants to be KEY=VALUE", word)
	}
	known := propertiesOf(o.Table)
	if _, ok := known[key]; !ok {
		return fmt.Errorf("%s: unknown key%s", key, configs.DidYouMean(key, slices.Sorted(maps.Keys(known))))
	}
	switch {
	case key == "name" || key == "tag":
		return fmt.Errorf("%s %s keeps its %s: that is what it is known by; make another one", o.Table, o.Name, key)
	case key == "size" && o.Table == configs.LUNTable:
		return fmt.Errorf("a LUN has its size from its image; to change it: isantarget lun grow %s %s, or lun shrink", o.Name, value)
	case value == "":
		delete(o.Object, key)
		return nil
	case key == "chap" || key == "mutual-chap":
		if strings.HasPrefix(value, "{") {
			break
		}
		proof, err := credential(c, key, value)
		o.Object[key] = proof
		return err
	case key == "path":
		path, err := absolute(c, value)
		if o.Text("store") != "" {
			path, err = value, nil // below the store
		}
		o.Object[key] = path
		return err
	}
	o.Object[key] = valueOf(o.Table, key, value)
	return nil
}

// propertiesOf are the schemas of the keys of a table.
func propertiesOf(table configs.Table) map[string]any {
	properties, _ := table.Schema()["properties"].(map[string]any)
	return properties
}

// valueOf is a value of a key as the file has it, though its quotes or brackets may be missing.
func valueOf(table configs.Table, key, word string) any {
	schema, _ := propertiesOf(table)[key].(map[string]any)
	v := settingOf(word)
	_, isText := v.(string)
	switch schema["type"] {
	case "string":
		if !isText {
			return word // a serial of digits is a text
		}
	case "array":
		if _, isList := v.([]any); isList {
			return v
		}
		items, _ := schema["items"].(map[string]any)
		var list []any
		for one := range strings.SplitSeq(word, ",") {
			one = strings.TrimSpace(one)
			if item := settingOf(one); items["type"] != "string" {
				list = append(list, item)
			} else if text, ok := item.(string); ok {
				list = append(list, text)
			} else {
				list = append(list, one)
			}
		}
		return list
	}
	return v
}
