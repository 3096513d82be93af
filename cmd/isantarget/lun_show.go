package main

import (
	"fmt"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"github.com/isantarget/isantarget/admin"
	"github.com/isantarget/isantarget/job"
	"github.com/isantarget/isantarget/provision"
)

func lunShowCommand() *cli.Command {
	return &cli.Command{
		Name: "show", Usage: "show all that is known of a LUN", ArgsUsage: "NAME", Flags: listFlags(),
		Action: ask([]string{"NAME"}, func(c *cli.Context, client *admin.Client) error {
			d, err := client.LUN(c.Context, c.Args().First())
			if err != nil {
				return err
			}
			if c.Bool("json") {
				return printJSON(c, d)
			}
			return printFacts(c, lunFacts(d))
		}),
	}
}

// lunFacts are what is known of a LUN, a fact each.
func lunFacts(d provision.LUNDetail) [][2]string {
	state := "ready"
	if d.NotReady != "" {
		state = "not ready: " + d.NotReady
	}
	facts := [][2]string{
		{"name", d.Name}, {"state", state}, {"kind", d.Kind}, {"path", d.Path}, {"size", bytesOf(d.Size)},
		{"allocated", bytesOf(d.Allocated)}, {"shared", bytesOf(d.Shared)}, {"free below", bytesOf(d.Free)}, {"extents", countOf(d.Extents)},
		{"provisioning", d.Provisioning}, {"block size", fmt.Sprint(d.BlockSize)}, {"physical block size", fmt.Sprint(d.PhysicalBlockSize)},
		{"write cache", onOff(d.WriteCache)}, {"read-only", onOff(d.ReadOnly)}, {"features", d.Features}, {"serial", d.Serial}, {"NAA", d.NAA},
	}
	add := func(what, text string) { facts = append(facts, [2]string{what, text}) }
	for _, alert := range d.Alerts {
		add("alert", alert)
	}
	for _, f := range d.Faults {
		add("breaks on purpose", f)
	}
	for _, m := range d.Maps {
		add("mapped", fmt.Sprintf("as LUN %d of %s", m.Number, m.Target))
	}
	for _, p := range d.Paths {
		add("path", fmt.Sprintf("group %d, portal group %d of %s: %s", p.Group, p.PortalGroup, p.Target, p.State))
	}
	for _, s := range d.Sessions {
		add("session", fmt.Sprintf("%d: %s with %s", s.TSIH, s.Initiator, s.Target))
	}
	if d.Job != nil {
		add("job", strings.TrimSpace(d.Job.ID+": "+line(*d.Job)))
	}
	return facts
}

// bytesOf is an amount for a person, and exactly; empty: it is not known.
func bytesOf(n int64) string {
	if n < 0 {
		return ""
	}
	return fmt.Sprintf("%s (%d bytes)", humanize.IBytes(uint64(n)), n)
}

func countOf(n int) string {
	if n < 0 {
		return ""
	}
	return fmt.Sprint(n)
}

func onOff(is bool) string {
	if is {
		return "yes"
	}
	return "no"
}

func defragmentCommand() *cli.Command {
	return &cli.Command{
		Name: "defragment", Usage: "lay the image of a LUN together on its file system", ArgsUsage: "NAME",
		Description: "On ext4 and XFS. Nobody may be logged in to a target that shows the LUN; who logs in\n" +
			"meanwhile is told BUSY until it is over. Whatever ends it, the image holds what it held.\n" +
			"`lun show` tells in how many extents it lies.",
		Flags: jobFlags(),
		Action: ask([]string{"NAME"}, func(c *cli.Context, client *admin.Client) error {
			return begin(c, client, func() (job.Status, error) { return client.Defragment(c.Context, c.Args().First()) })
		}),
	}
}

func verifyCommand() *cli.Command {
	return &cli.Command{
		Name: "verify", Usage: "read all that is allocated of a LUN, to find what cannot be read", ArgsUsage: "NAME",
		Description: "While initiators use it, which go before: it rests as long as it reads. Nothing is changed. What\n" +
			"is read comes from the disk, not out of the memory of the host. In the end it says how much was\n" +
			"read, and each range of blocks that cannot be; the status is 0 if there is none.",
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "rate", Usage: "read at most `SIZE` a second (50MiB)"},
		}, jobFlags()...),
		Action: ask([]string{"NAME"}, func(c *cli.Context, client *admin.Client) error {
			return begin(c, client, func() (job.Status, error) { return client.Verify(c.Context, c.Args().First(), c.String("rate")) })
		}),
	}
}
