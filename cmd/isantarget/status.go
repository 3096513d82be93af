package main

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/isantarget/isantarget/admin"
	"github.com/isantarget/isantarget/job"
	"github.com/isantarget/isantarget/provision"
)

func statusCommand() *cli.Command {
	return &cli.Command{
		Name: "status", Usage: "say what runs, at one glance", Flags: listFlags(),
		Action: ask(nil, func(c *cli.Context, client *admin.Client) error {
			s, err := client.Status(c.Context)
			if err != nil {
				return err
			}
			if c.Bool("json") {
				return printJSON(c, s)
			}
			return printStatus(c, s)
		}),
	}
}

func printStatus(c *cli.Context, s admin.Status) error {
	w := c.App.Writer
	fmt.Fprintf(w, "isantarget %s: targets: %d, LUNs: %d, sessions: %d\n", s.Version, len(s.Targets), len(s.LUNs), len(s.Sessions))
	for _, text := range s.Warnings {
		fmt.Fprintf(w, "warning: %s\n", text)
	}
	for _, l := range s.LUNs {
		if l.NotReady != "" {
			fmt.Fprintf(w, "warning: LUN %s is not ready: %s\n", l.Name, l.NotReady)
		}
		for _, alert := range l.Alerts {
			fmt.Fprintf(w, "warning: LUN %s: %s\n", l.Name, alert)
		}
	}
	for _, line := range isnsLines(s.ISNS) {
		fmt.Fprintln(w, line)
	}
	sections := []struct {
		heading, none string
		rows          []string
	}{
		{cells("TARGET", "PORTALS", "LUNS", "ADMITS", "SESSIONS"), "no targets; make one: isantarget target create IQN", rowsOf(s.Targets, targetRow)},
		{cells("LUN", "SIZE", "KIND", "PATH", "SERIAL", "ACCESS STATES", "STATE"), "no LUNs; make one: isantarget lun create NAME --size 100GiB --target IQN", rowsOf(s.LUNs, lunRow)},
		{cells("SESSION", "INITIATOR", "TARGET", "FROM", "COMMANDS"), "nobody is logged in", rowsOf(s.Sessions, sessionLine)},
	}
	for _, one := range sections {
		fmt.Fprintln(w)
		if err := printTable(c, one.heading, one.none, one.rows); err != nil {
			return err
		}
	}
	if len(s.Stores) > 0 {
		fmt.Fprintln(w)
		if err := printTable(c, cells("STORE", "CAPACITY", "AVAILABLE", "USED", "PROMISED", "STATE"), "", rowsOf(s.Stores, storeLine)); err != nil {
			return err
		}
	}
	var running []job.Status
	for _, j := range s.Jobs {
		if !j.State.Final() {
			running = append(running, j)
		}
	}
	for i, j := range running {
		if i == 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "job %s: %s\n", j.ID, line(j))
	}
	return nil
}

// isnsLines say how the iSNS server is.
func isnsLines(s *provision.ISNSStatus) []string {
	if s == nil {
		return nil
	}
	line := fmt.Sprintf("iSNS server %s: %s since %s", s.Server, s.State, s.Since.Local().Format(time.DateTime))
	if len(s.Targets) > 0 {
		line += fmt.Sprintf(", targets: %d, portals: %d", len(s.Targets), len(s.Portals))
	}
	lines := []string{line}
	if s.Problem != "" {
		lines = append(lines, fmt.Sprintf("warning: iSNS server %s: %s", s.Server, s.Problem))
	}
	return lines
}

// rowsOf are the rows of a table.
func rowsOf[T any](all []T, row func(T) []string) (rows []string) {
	for _, one := range all {
		rows = append(rows, row(one)...)
	}
	return rows
}

func storeLine(s provision.StoreStatus) []string {
	state := "good"
	if len(s.Conditions) > 0 {
		state = strings.Join(s.Conditions, "; ")
	}
	f := s.FileSystem
	return []string{cells(cmp.Or(s.Name, s.Path), size(f.Capacity), size(f.Available), used(f), size(s.Promised), state)}
}

func sessionLine(s provision.SessionStatus) []string {
	from := ""
	if len(s.Connections) > 0 {
		from = s.Connections[0].From
	}
	target := s.Target
	if target == "" {
		target = "(discovery)"
	}
	return []string{cells(strconv.Itoa(int(s.TSIH)), s.Initiator, target, from, strconv.Itoa(s.Commands))}
}
