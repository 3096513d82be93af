package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/provision"
)

func checkCommand() *cli.Command {
	return &cli.Command{
		Name:      "check",
		Usage:     "say what is wrong with a configuration file, or what it would serve",
		ArgsUsage: "FILE",
		Description: "Opens no image and no port. Errors are on standard error with their line, and the\n" +
			"exit status is 1; what is probably not meant, or not there on this host, is a warning.",
		Flags:  []cli.Flag{jsonFlag()},
		Action: check,
	}
}

func check(c *cli.Context) error {
	if c.NArg() != 1 {
		return errors.New("check wants one FILE: isantarget check /etc/isantarget/isantarget.toml")
	}
	config, err := configs.Load(c.Args().First())
	if err != nil {
		return err
	}
	warnings, err := provision.Check(config)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c, struct {
			Config   configs.Config `json:"config"`
			Warnings []string       `json:"warnings"`
		}{config, append([]string{}, warnings...)})
	}
	for _, w := range warnings {
		fmt.Fprintf(c.App.ErrWriter, "isantarget: warning: %s\n", w)
	}
	_, err = fmt.Fprint(c.App.Writer, summary(config))
	return err
}

// summary is what a configuration would serve.
func summary(c configs.Config) string {
	var b strings.Builder
	fmt.Fprintf(&b, "state in %s\n", c.State)
	for _, g := range c.PortalGroups {
		words := make([]string, len(g.Listen))
		for i, p := range g.Listen {
			words[i] = string(p)
		}
		fmt.Fprintf(&b, "portal group %d on %s\n", g.Tag, strings.Join(words, ", "))
	}
	if a := c.Admin; a.Listen != "" {
		scheme := "http"
		if a.Secure() {
			scheme = "https"
		}
		fmt.Fprintf(&b, "admin plane at %s://%s\n", scheme, a.Listen)
	}
	luns := map[string]configs.LUN{}
	for _, l := range c.LUNs {
		luns[l.Name] = l
	}
	for _, t := range c.Targets {
		fmt.Fprintf(&b, "\n%s\n", t.Name)
		lunMap(&b, "  ", t.LUNs, luns)
		for _, r := range t.Rules {
			fmt.Fprintf(&b, "  for %s\n", conditions(r, first(r.CHAP, t.CHAP)))
			if r.LUNs != nil {
				lunMap(&b, "    ", r.LUNs, luns)
			}
		}
		if a := t.Effective(); a != configs.AccessDefault {
			who := "everybody"
			if a == configs.Loopback {
				who = "this host"
			}
			fmt.Fprintf(&b, "  for %s%s\n", who, proof(t.CHAP))
		}
	}
	return b.String()
}

func first(c, other *configs.Credential) *configs.Credential {
	if c != nil {
		return c
	}
	return other
}

// lunMap lists a LUN map, a LUN a line.
func lunMap(b *strings.Builder, indent string, numbers map[int]string, luns map[string]configs.LUN) {
	for _, n := range slices.Sorted(maps.Keys(numbers)) {
		l := luns[numbers[n]]
		words := []string{l.Name}
		if l.Size > 0 {
			words = append(words, l.Size.String())
		}
		if l.Provisioning != "" {
			words = append(words, string(l.Provisioning))
		}
		if l.Kind != configs.AnyKind {
			words = append(words, string(l.Kind))
		}
		if l.Path != "" {
			words = append(words, l.Path)
		}
		for _, on := range []struct {
			is   bool
			word string
		}{{l.ReadOnly, "read-only"}, {l.Removable, "removable"}, {l.Direct, "direct"}, {!l.WriteCache, "no write cache"}} {
			if on.is {
				words = append(words, on.word)
			}
		}
		fmt.Fprintf(b, "%sLUN %d: %s\n", indent, n, strings.Join(words, ", "))
	}
}

// conditions are those of a rule, in words.
func conditions(r configs.Rule, chap *configs.Credential) string {
	who := "everybody"
	if len(r.Initiators) > 0 {
		who = strings.Join(r.Initiators, ", ")
	}
	var words []string
	for _, n := range r.Networks {
		words = append(words, n.String())
	}
	for _, h := range r.Hosts {
		words = append(words, string(h))
	}
	if len(words) > 0 {
		who += " from " + strings.Join(words, ", ")
	}
	return who + proof(chap)
}

func proof(chap *configs.Credential) string {
	if chap == nil {
		return ""
	}
	return " by CHAP as " + chap.User
}
