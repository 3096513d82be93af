package main

import (
	"strconv"

	"github.com/urfave/cli/v2"

	"github.com/isantarget/isantarget/admin"
	"github.com/isantarget/isantarget/provision"
)

func reservationCommand() *cli.Command {
	return noun("reservation", "see who has reserved what, and clear what is left over",
		listCommand("list registrations and reservations", cells("LUN", "TYPE", "INITIATOR", "ISID", "TARGET", "KEY", "STATE"), "nothing is reserved",
			func(c *cli.Context, client *admin.Client) ([]provision.ReservationStatus, error) {
				return client.Reservations(c.Context)
			}, reservationRows),
		reservationShowCommand(),
		&cli.Command{
			Name: "clear", Usage: "end all registrations and reservations of a LUN", ArgsUsage: "LUN",
			Description: "Whoever is registered loses it, and hears of it: a running cluster may take that for a\n" +
				"failure. A node that has come back under another ISID leaves a registration behind;\n" +
				"`reservation list` calls it stale.",
			Flags: listFlags(),
			Action: ask([]string{"LUN"}, func(c *cli.Context, client *admin.Client) error {
				if err := client.ClearReservations(c.Context, c.Args().First()); err != nil {
					return err
				}
				return printAfter(c, func() (provision.ReservationStatus, error) { return client.Reservation(c.Context, c.Args().First()) })
			}),
		})
}

func reservationRows(r provision.ReservationStatus) (rows []string) {
	if r.Lost != "" {
		rows = append(rows, cells(r.LUN, "", "", "", "", "", "lost: "+r.Lost))
	}
	if r.ReservedBy != "" {
		rows = append(rows, cells(r.LUN, "RESERVE (SPC-2)", r.ReservedBy, "", "", "", "holder"))
	}
	for _, x := range r.Registrations {
		state := "registered"
		kind := ""
		if x.Holder {
			state, kind = "holder", r.Type
		}
		if !x.Session {
			state += ", no session"
		}
		if x.Stale != "" {
			state += ", stale: " + x.Stale
		}
		rows = append(rows, cells(r.LUN, kind, x.Initiator, x.ISID, x.Target+","+strconv.Itoa(x.PortalGroup), x.Key, state))
	}
	return rows
}
