package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/isantarget/isantarget/admin"
	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/provision"
)

func initiatorCommand() *cli.Command {
	return noun("initiator", "say which initiators may use a target: its access rules",
		&cli.Command{
			Name: "list", Usage: "list the access rules, in the order in which they decide", Flags: listFlags(),
			Action: ask(nil, initiatorList),
		},
		initiatorShowCommand(),
		setCommand(configs.RuleTable, "an access rule", "NAME", "initiator set pve1 networks=192.0.2.0/24,198.51.100.7"),
		&cli.Command{
			Name: "create", Usage: "admit initiators to a target", ArgsUsage: "NAME",
			Description: "isantarget initiator create pve1 --target iqn.2026-11.org.example:vmstore \\\n" +
				"    --initiator iqn.1993-08.org.debian:01:host-a\n\n" +
				"NAME is what the log calls the rule. Whoever is logged in and is not admitted any more is\n" +
				"logged out: a target with a rule admits nobody else, unless its access says so.",
			Flags: changeFlags(append(proofFlags(),
				&cli.StringFlag{Name: "target", Usage: "the target `IQN`", Required: true},
				&cli.StringSliceFlag{Name: "initiator", Usage: "admit the initiator `IQN`, again for more (default: any)"},
				&cli.StringSliceFlag{Name: "network", Usage: "admit who comes from `NET`, as 192.0.2.0/24, again for more (default: anywhere)"},
				&cli.StringSliceFlag{Name: "host", Usage: "admit who comes from an address of the host `NAME`, by DNS, again for more"},
				&cli.StringSliceFlag{Name: "lun", Usage: "have them see only these LUNs: `N=NAME`, again for more (default: those of the target)"})...),
			Action: ask([]string{"NAME"}, initiatorCreate),
		},
		&cli.Command{
			Name: "delete", Usage: "take an access rule away", ArgsUsage: "NAME", Flags: changeFlags(),
			Action: ask([]string{"NAME"}, func(c *cli.Context, client *admin.Client) error {
				o, err := client.Object(c.Context, configs.RuleTable, c.Args().First())
				if err != nil {
					return err
				}
				return edit(c, client, admin.Batch{Delete: []provision.Delete{{Table: o.Table, Name: o.Name, Version: o.Version}}})
			}),
		})
}

func initiatorCreate(c *cli.Context, client *admin.Client) error {
	rule := map[string]any{"name": c.Args().First(), "target": c.String("target")}
	for flag, key := range map[string]string{"initiator": "initiators", "network": "networks", "host": "hosts"} {
		if c.IsSet(flag) {
			rule[key] = c.StringSlice(flag)
		}
	}
	if c.IsSet("lun") {
		luns := map[string]string{}
		for _, word := range c.StringSlice("lun") {
			n, name, ok := strings.Cut(word, "=")
			if !ok {
				return fmt.Errorf("--lun %s: wants N=NAME, a LUN number and the name of a LUN", word)
			}
			luns[n] = name
		}
		rule["luns"] = luns
	}
	if err := proofs(c, rule); err != nil {
		return err
	}
	return edit(c, client, admin.Batch{Put: []admin.Put{{Table: configs.RuleTable, Object: rule}}})
}

// A ruleRow is an access rule, wherever it is written.
type ruleRow struct {
	Name       string         `json:"name"`
	Target     string         `json:"target"`
	Initiators []any          `json:"initiators"`
	Networks   []any          `json:"networks"`
	Hosts      []any          `json:"hosts"`
	CHAP       string         `json:"chap"` // user
	LUNs       map[string]any `json:"luns"` // null: those of the target
	Where      string         `json:"where"`
}

// allRules are the access rules of all targets, wherever they are written.
func allRules(c *cli.Context, client *admin.Client) ([]ruleRow, error) {
	targets, err := client.Objects(c.Context, configs.TargetTable)
	if err != nil {
		return nil, err
	}
	own, err := client.Objects(c.Context, configs.RuleTable)
	if err != nil {
		return nil, err
	}
	rules := []ruleRow{}
	for _, t := range targets {
		list, _ := t.Object["rule"].([]any)
		for i, v := range list {
			r, _ := v.(map[string]any)
			row := rowOf(r, t.Name, t.Where)
			row.Name = cmp.Or(row.Name, fmt.Sprintf("rule %d", i+1))
			if !slices.ContainsFunc(own, func(o admin.Object) bool { return o.Name == row.Name && strings.EqualFold(o.Text("target"), t.Name) }) {
				rules = append(rules, row)
			}
		}
		for _, o := range own {
			if strings.EqualFold(o.Text("target"), t.Name) {
				rules = append(rules, rowOf(o.Object, t.Name, o.Where))
			}
		}
	}
	return rules, nil
}

func initiatorList(c *cli.Context, client *admin.Client) error {
	rules, err := allRules(c, client)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c, rules)
	}
	var rows []string
	for _, r := range rules {
		rows = append(rows, cells(r.Target, r.Name, wordOf(r.Initiators), wordOf(r.Networks), wordOf(r.Hosts), r.CHAP, lunWords(r.LUNs), r.Where))
	}
	return printTable(c, cells("TARGET", "NAME", "INITIATORS", "NETWORKS", "HOSTS", "CHAP", "LUNS", "KEPT IN"), "no access rules", rows)
}

func rowOf(r map[string]any, target, where string) ruleRow {
	row := ruleRow{Target: target, Where: where}
	row.Name, _ = cmp.Or(r["name"], r["label"]).(string)
	row.Initiators, _ = r["initiators"].([]any)
	row.Networks, _ = r["networks"].([]any)
	row.Hosts, _ = r["hosts"].([]any)
	row.LUNs, _ = r["luns"].(map[string]any)
	if chap, ok := r["chap"].(map[string]any); ok {
		row.CHAP, _ = chap["user"].(string)
	}
	return row
}

func lunWords(luns map[string]any) string {
	var words []string
	for _, n := range slices.Sorted(maps.Keys(luns)) {
		words = append(words, n+"="+wordOf(luns[n]))
	}
	return strings.Join(words, " ")
}
