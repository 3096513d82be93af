package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/isantarget/isantarget/admin"
	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/provision"
)

// showCommand is a verb that prints all that is known of one thing: as JSON, or a fact a line.
func showCommand[T any](usage, word string, get func(*cli.Context, *admin.Client) (T, error), facts func(T) [][2]string) *cli.Command {
	return &cli.Command{
		Name: "show", Usage: usage, ArgsUsage: word, Flags: listFlags(),
		Action: ask([]string{word}, func(c *cli.Context, client *admin.Client) error {
			one, err := get(c, client)
			if err != nil {
				return err
			}
			if c.Bool("json") {
				return printJSON(c, one)
			}
			return printFacts(c, facts(one))
		}),
	}
}

// oneOf is the one of a list that is meant by a name, or an error that says which there are.
func oneOf[T any](all []T, what, name string, nameOf func(T) string) (one T, err error) {
	var known []string
	for _, x := range all {
		if strings.EqualFold(nameOf(x), name) {
			return x, nil
		}
		known = append(known, nameOf(x))
	}
	if len(known) == 0 {
		return one, fmt.Errorf("there is no %s %q; there is none at all", what, name)
	}
	return one, fmt.Errorf("there is no %s %q%s", what, name, configs.DidYouMean(name, known))
}

// A shownTarget is all that is known of a target.
type shownTarget struct {
	provision.TargetStatus
	Where string                    `json:"where"` // it is kept
	Rule  []ruleRow                 `json:"rule"`
	Users []provision.SessionStatus `json:"users"`
}

func targetShowCommand() *cli.Command {
	return showCommand("show all that is known of a target", "IQN", func(c *cli.Context, client *admin.Client) (s shownTarget, err error) {
		all, err := client.Targets(c.Context)
		if err != nil {
			return s, err
		}
		if s.TargetStatus, err = oneOf(all, "target", c.Args().First(), func(t provision.TargetStatus) string { return t.Name }); err != nil {
			return s, err
		}
		o, err := client.Object(c.Context, configs.TargetTable, strings.ToLower(s.Name))
		if err != nil {
			return s, err
		}
		rules, err := allRules(c, client)
		if err != nil {
			return s, err
		}
		sessions, err := client.Sessions(c.Context)
		s.Where = o.Where
		s.Rule = slices.DeleteFunc(rules, func(r ruleRow) bool { return !strings.EqualFold(r.Target, s.Name) })
		s.Users = append([]provision.SessionStatus{}, slices.DeleteFunc(sessions, func(u provision.SessionStatus) bool { return u.Target != s.Name })...)
		return s, err
	}, func(s shownTarget) [][2]string {
		facts := [][2]string{{"name", s.Name}, {"alias", s.Alias}, {"kept in", s.Where}, {"admits", admits(s.TargetStatus)}}
		add := func(what, format string, args ...any) {
			facts = append(facts, [2]string{what, fmt.Sprintf(format, args...)})
		}
		for _, p := range s.Portals {
			add("portal", "%s, portal group %d", p.Address, p.Group)
		}
		for _, n := range sortedNumbers(s.LUNs) {
			add("LUN "+strconv.Itoa(n), "%s", s.LUNs[n])
		}
		for _, r := range s.Rule {
			add("rule "+r.Name, "%s", r.words())
		}
		for _, u := range s.Users {
			add("session "+strconv.Itoa(int(u.TSIH)), "%s, by %s", u.Initiator, u.Rule)
		}
		return facts
	})
}

// A shownPortal is an address that targets are reached at.
type shownPortal struct {
	Address string   `json:"address"`
	Group   string   `json:"portal-group"`
	Where   string   `json:"where"`
	Targets []string `json:"targets"`
}

func portalShowCommand() *cli.Command {
	return showCommand("show which targets are reached at an address", "ADDR:PORT", func(c *cli.Context, client *admin.Client) (s shownPortal, err error) {
		var p configs.Portal
		if err := p.UnmarshalText([]byte(c.Args().First())); err != nil {
			return s, err
		}
		groups, err := client.Objects(c.Context, configs.PortalGroupTable)
		if err != nil {
			return s, err
		}
		var all []shownPortal
		for _, g := range groups {
			for _, address := range listenOf(g) {
				all = append(all, shownPortal{Address: address, Group: g.Name, Where: g.Where, Targets: []string{}})
			}
		}
		if s, err = oneOf(all, "portal", string(p), func(s shownPortal) string { return s.Address }); err != nil {
			return s, err
		}
		targets, err := client.Targets(c.Context)
		for _, t := range targets {
			if slices.ContainsFunc(t.Portals, func(p provision.PortalStatus) bool { return strconv.Itoa(p.Group) == s.Group }) {
				s.Targets = append(s.Targets, t.Name)
			}
		}
		return s, err
	}, func(s shownPortal) [][2]string {
		facts := [][2]string{{"address", s.Address}, {"portal group", s.Group}, {"kept in", s.Where}}
		for _, t := range s.Targets {
			facts = append(facts, [2]string{"target", t})
		}
		return facts
	})
}

func initiatorShowCommand() *cli.Command {
	return showCommand("show an access rule", "NAME", func(c *cli.Context, client *admin.Client) (ruleRow, error) {
		all, err := allRules(c, client)
		if err != nil {
			return ruleRow{}, err
		}
		return oneOf(all, "rule", c.Args().First(), func(r ruleRow) string { return r.Name })
	}, func(r ruleRow) [][2]string {
		return [][2]string{{"name", r.Name}, {"target", r.Target}, {"kept in", r.Where}, {"initiators", wordOf(r.Initiators)}, {"networks", wordOf(r.Networks)},
			{"hosts", wordOf(r.Hosts)}, {"CHAP", r.CHAP}, {"LUNs", lunWords(r.LUNs)}}
	})
}

// words is a rule on one line.
func (r ruleRow) words() string {
	var words []string
	for _, w := range []struct{ what, text string }{{"", wordOf(r.Initiators)}, {"from ", wordOf(r.Networks)}, {"from the hosts ", wordOf(r.Hosts)}, {"by CHAP as ", r.CHAP}, {"sees ", lunWords(r.LUNs)}} {
		if w.text != "" {
			words = append(words, w.what+w.text)
		}
	}
	return strings.Join(words, ", ")
}

func sessionShowCommand() *cli.Command {
	return showCommand("show all that is known of a session", "TSIH", func(c *cli.Context, client *admin.Client) (provision.SessionStatus, error) {
		all, err := client.Sessions(c.Context)
		if err != nil {
			return provision.SessionStatus{}, err
		}
		return oneOf(all, "session", c.Args().First(), func(s provision.SessionStatus) string { return strconv.Itoa(int(s.TSIH)) })
	}, func(s provision.SessionStatus) [][2]string {
		facts := [][2]string{{"TSIH", strconv.Itoa(int(s.TSIH))}, {"initiator", s.Initiator}, {"alias", s.Alias}, {"ISID", s.ISID}, {"target", s.Target},
			{"portal group", strconv.Itoa(s.PortalGroup)}, {"rule", s.Rule}, {"since", s.Since.Local().Format(time.DateTime)}, {"open commands", strconv.Itoa(s.Commands)}}
		for _, x := range s.Connections {
			facts = append(facts, [2]string{"connection " + strconv.Itoa(int(x.CID)),
				fmt.Sprintf("from %s to %s, header digest %s, data digest %s", x.From, x.Portal, onOff(x.HeaderDigest), onOff(x.DataDigest))})
		}
		return facts
	})
}

func reservationShowCommand() *cli.Command {
	return showCommand("show who has registered with a LUN, and reserved it", "LUN", func(c *cli.Context, client *admin.Client) (provision.ReservationStatus, error) {
		return client.Reservation(c.Context, c.Args().First())
	}, func(r provision.ReservationStatus) [][2]string {
		facts := [][2]string{{"LUN", r.LUN}, {"reserved", r.Type}, {"by RESERVE", r.ReservedBy}, {"generation", strconv.Itoa(int(r.Generation))},
			{"through power loss", onOff(r.ThroughLoss)}}
		if r.Lost != "" {
			facts = append(facts, [2]string{"lost", r.Lost})
		}
		for _, x := range r.Registrations {
			text := fmt.Sprintf("%s of %s, %s, portal group %d of %s", x.Key, x.Initiator, x.ISID, x.PortalGroup, x.Target)
			for _, w := range []struct {
				is   bool
				word string
			}{{x.Holder, "holds the reservation"}, {!x.Session, "is not logged in"}, {x.Stale != "", "stale: " + x.Stale}} {
				if w.is {
					text += "; " + w.word
				}
			}
			facts = append(facts, [2]string{"key", text})
		}
		return facts
	})
}
