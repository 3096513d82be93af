package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/isantarget/isantarget/admin"
	"github.com/isantarget/isantarget/provision"
)

func sessionCommand() *cli.Command {
	return noun("session", "see who is logged in, and log initiators out",
		listCommand("list the sessions", cells("TSIH", "INITIATOR", "ISID", "TARGET", "FROM", "RULE", "SINCE", "COMMANDS"), "no sessions",
			func(c *cli.Context, client *admin.Client) ([]provision.SessionStatus, error) {
				return client.Sessions(c.Context)
			}, sessionRow),
		sessionShowCommand(),
		&cli.Command{
			Name: "logout", Usage: "ask an initiator to log out, and close the session if it does not", ArgsUsage: "TSIH",
			Description: "TSIH is the number of the session in `session list`. An initiator may log in again at\n" +
				"once; an access rule is what keeps it out.",
			Flags:  listFlags(),
			Action: ask([]string{"TSIH"}, logout),
		})
}

func sessionRow(s provision.SessionStatus) []string {
	var from []string
	for _, c := range s.Connections {
		from = append(from, c.From)
	}
	target := s.Target
	if target == "" {
		target = "(discovery)"
	}
	return []string{cells(strconv.Itoa(int(s.TSIH)), s.Initiator, s.ISID, target, strings.Join(from, ","), s.Rule, s.Since.Format(time.DateTime), strconv.Itoa(s.Commands))}
}

func logout(c *cli.Context, client *admin.Client) error {
	tsih, err := strconv.ParseUint(c.Args().First(), 10, 16)
	if err != nil {
		return fmt.Errorf("%q is not the number of a session; see: isantarget session list", c.Args().First())
	}
	if err := client.Logout(c.Context, uint16(tsih)); err != nil {
		return err
	}
	return printAfter(c, func() ([]provision.SessionStatus, error) { return client.Sessions(c.Context) })
}
