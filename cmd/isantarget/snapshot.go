package main

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"github.com/isantarget/isantarget/admin"
	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/job"
	"github.com/isantarget/isantarget/provision"
)

func snapshotCommand() *cli.Command {
	return noun("snapshot", "take, see and delete the snapshots of LUNs",
		&cli.Command{
			Name: "list", Usage: "list the snapshots of all LUNs, or of one", ArgsUsage: "[LUN]", Flags: listFlags(),
			Description: "OWN is what the file system takes for the snapshot alone, SHARED what it takes for it and\n" +
				"other files together.",
			Action: listSnapshots,
		},
		&cli.Command{
			Name: "show", Usage: "show all that is known of a snapshot", ArgsUsage: "LUN SNAPSHOT", Flags: listFlags(),
			Action: ask([]string{"LUN", "SNAPSHOT"}, showSnapshot),
		},
		takeSnapshotsCommand("create", "isantarget snapshot create", "LUN..."),
		&cli.Command{
			Name: "delete", Usage: "delete a snapshot of a LUN, which is served meanwhile", ArgsUsage: "LUN SNAPSHOT",
			Description: "Where the file system cannot share blocks, what was written since has to be merged: a job,\n" +
				"which goes on when this command is ended. Cancelled, it can be begun again.",
			Flags: listFlags(),
			Action: ask([]string{"LUN", "SNAPSHOT"}, func(c *cli.Context, client *admin.Client) error {
				s, err := client.DeleteSnapshot(c.Context, c.Args().First(), c.Args().Get(1))
				if err != nil {
					return err
				}
				return follow(c, client, s.ID)
			}),
		})
}

func listSnapshots(c *cli.Context) error {
	if c.NArg() > 1 {
		return fmt.Errorf("wants one LUN, or none for all: %s [LUN]", c.Command.HelpName)
	}
	client, err := clientOf(c)
	if err != nil {
		return err
	}
	defer client.Close()
	list, err := client.Snapshots(c.Context, c.Args().First())
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c, list)
	}
	if len(list) == 0 {
		_, err := fmt.Fprintln(c.App.Writer, "no snapshots")
		return err
	}
	w := tabwriter.NewWriter(c.App.Writer, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, cells("LUN", "NAME", "TAKEN", "SIZE", "OWN", "SHARED", "STATE"))
	for _, s := range list {
		fmt.Fprintln(w, cells(s.LUN, s.Name, s.Taken.Local().Format(time.DateTime), humanize.IBytes(uint64(s.Size)),
			humanize.IBytes(uint64(s.Own)), atMost(humanize.IBytes(uint64(s.Shared)), s.Estimated), snapshotState(s)))
	}
	return w.Flush()
}

func snapshotState(s provision.SnapshotStatus) string {
	if s.Deleting {
		return "being deleted"
	}
	return "ready"
}

func showSnapshot(c *cli.Context, client *admin.Client) error {
	s, err := client.Snapshot(c.Context, c.Args().First(), c.Args().Get(1))
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c, s)
	}
	kind := "whole"
	if s.Overlay {
		kind = "what was written since the snapshot before"
	}
	return printFacts(c, [][2]string{
		{"LUN", s.LUN}, {"name", s.Name}, {"taken", s.Taken.Local().Format(time.DateTime)}, {"size", humanize.IBytes(uint64(s.Size))},
		{"own", fmt.Sprintf("%s (%d bytes)", humanize.IBytes(uint64(s.Own)), s.Own)},
		{"shared", atMost(fmt.Sprintf("%s (%d bytes)", humanize.IBytes(uint64(s.Shared)), s.Shared), s.Estimated)},
		{"file", s.File}, {"holds", kind}, {"state", snapshotState(s)},
	})
}

func lunSnapshotCommand() *cli.Command {
	return takeSnapshotsCommand("snapshot", "isantarget lun snapshot", "NAME...")
}

// takeSnapshotsCommand is the one by which they are taken, wherever it is looked for.
func takeSnapshotsCommand(name, written, args string) *cli.Command {
	return &cli.Command{
		Name: name, Usage: "take a snapshot of LUNs, of all at one point in time", ArgsUsage: args,
		Description: written + " data log --name before-upgrade\n\n" +
			"It is there at once. Where the file system shares blocks (XFS, btrfs) it costs nothing but\n" +
			"what is written over later; elsewhere (ext4) the LUN goes on in a new, sparse file above it.",
		Flags: append([]cli.Flag{&cli.StringFlag{Name: "name", Usage: "call it `NAME` (default: date and time)"}}, listFlags()...),
		Action: func(c *cli.Context) error {
			if c.NArg() == 0 {
				return fmt.Errorf("wants %s: %s data log", args, c.Command.HelpName)
			}
			client, err := clientOf(c)
			if err != nil {
				return err
			}
			defer client.Close()
			taken, err := client.TakeSnapshots(c.Context, c.Args().Slice(), c.String("name"))
			if err != nil {
				return err
			}
			warn(c, taken.Warnings)
			if c.Bool("json") {
				return printJSON(c, taken)
			}
			_, err = fmt.Fprintf(c.App.Writer, "snapshot %s of %s\n", taken.Name, strings.Join(taken.LUNs, ", "))
			return err
		},
	}
}

func lunRollbackCommand() *cli.Command {
	return &cli.Command{
		Name: "rollback", Usage: "make a LUN what it was when a snapshot was taken", ArgsUsage: "NAME SNAPSHOT",
		Description: "What was written since is lost, but for what other snapshots hold. It is refused while an\n" +
			"initiator is logged in that sees the LUN: a file system that is in use does not bear it.\n" +
			"The name has to be typed in again.",
		Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: "force", Usage: "do it although initiators are logged in; they hear that the medium may have changed"}, yesFlag(),
		}, listFlags()...),
		Action: ask([]string{"NAME", "SNAPSHOT"}, func(c *cli.Context, client *admin.Client) error {
			lun, name := c.Args().First(), c.Args().Get(1)
			s, err := client.Snapshot(c.Context, lun, name)
			if err != nil {
				return err
			}
			since := fmt.Sprintf("What was written to %s since %s is lost.", lun, s.Taken.Local().Format(time.DateTime))
			if err := confirmTo(c, "LUN", lun, "roll it back", "rolled back", since); err != nil {
				return err
			}
			if err := client.Rollback(c.Context, lun, name, c.Bool("force")); err != nil {
				return err
			}
			if !c.Bool("json") {
				_, err = fmt.Fprintf(c.App.Writer, "LUN %s is what it was at the snapshot %s\n", lun, name)
				return err
			}
			return printLUNAfter(c, client, lun)
		}),
	}
}

func lunCloneCommand() *cli.Command {
	return &cli.Command{
		Name: "clone", Usage: "make a LUN that holds what another one holds, or a snapshot of it", ArgsUsage: "NAME|NAME@SNAPSHOT NEW",
		Description: "isantarget lun clone vm1@before-upgrade vm1-test --target iqn.2026-11.org.example:vmstore\n\n" +
			"It is there at once, can be written, and is another disk, with a serial of its own. Where the\n" +
			"file system cannot share blocks (ext4) its snapshot has to stay as long as the clone.",
		Flags: changeFlags(
			&cli.StringFlag{Name: "path", Usage: "put its image at `FILE` (default: NEW.img beside the other)"},
			&cli.StringFlag{Name: "target", Usage: "map it to the target `IQN`"},
			&cli.IntFlag{Name: "number", Usage: "map it under LUN number `N` (default: the lowest that is free)"}),
		Action: ask([]string{"NAME", "NEW"}, lunClone),
	}
}

func lunClone(c *cli.Context, client *admin.Client) error {
	name := c.Args().Get(1)
	lun, snapshot, path, err := fromAndTo(c)
	if err != nil {
		return err
	}
	made, err := client.Clone(c.Context, lun, snapshot, name, path)
	if err != nil {
		return err
	}
	batch := admin.Batch{Put: []admin.Put{{Table: configs.LUNTable, Object: made.LUN}}}
	if target := c.String("target"); target != "" {
		batch.Put = append(batch.Put, mapOf(c, name, target))
	}
	done, err := client.Edit(c.Context, batch)
	if err != nil {
		return fmt.Errorf("the image of the clone is made, %s, and no LUN of it: %w; mend that and run: isantarget lun create %s --path %s", made.Path, err, name, made.Path)
	}
	done.Warnings = append(made.Warnings, done.Warnings...)
	done.Changes = append(done.Changes, mapped(done)...)
	if made.Below != "" {
		done.Changes = append(done.Changes, fmt.Sprintf("the snapshot %s of %s has to stay as long as the clone", made.Below, lun))
	}
	return printChange(c, done)
}

func lunCopyCommand() *cli.Command {
	return &cli.Command{
		Name: "copy", Usage: "make a LUN that holds what another one holds, or a snapshot of it, and shares nothing with it", ArgsUsage: "NAME|NAME@SNAPSHOT NEW",
		Description: "isantarget lun copy vm1@nightly vm1-spare --store tank2 --provisioning fixed\n\n" +
			"Every block is copied, to another store perhaps. The new LUN is another disk, with a serial of\n" +
			"its own. Of a LUN without a snapshot nobody may be logged in; who logs in meanwhile is told BUSY\n" +
			"until it is over. Whatever ends it, there is the whole LUN or nothing.",
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "store", Usage: "put its image into this store: `NAME`"},
			&cli.StringFlag{Name: "path", Usage: "put its image at `FILE` (default: NEW.img in the store of the other, or beside it)"},
			&cli.StringFlag{Name: "provisioning", Usage: "`KIND` sparse or fixed (default: as the other)"},
			&cli.StringFlag{Name: "target", Usage: "map it to the target `IQN`"},
			&cli.IntFlag{Name: "number", Usage: "map it under LUN number `N` (default: the lowest that is free)"},
		}, jobFlags()...),
		Action: ask([]string{"NAME", "NEW"}, lunCopy),
	}
}

func lunCopy(c *cli.Context, client *admin.Client) error {
	lun, snapshot, path, err := fromAndTo(c)
	if err != nil {
		return err
	}
	want := provision.Copying{
		Name: c.Args().Get(1), Snapshot: snapshot, Store: c.String("store"), Path: path,
		Provisioning: c.String("provisioning"), Target: c.String("target"),
	}
	if c.IsSet("number") {
		n := c.Int("number")
		want.Number = &n
	}
	return begin(c, client, func() (job.Status, error) { return client.Copy(c.Context, lun, want) })
}

// fromAndTo reads of what, NAME or NAME@SNAPSHOT, another LUN is made, and where its image is to be.
func fromAndTo(c *cli.Context) (lun, snapshot, path string, err error) {
	from := c.Args().First()
	lun, snapshot, _ = strings.Cut(from, "@")
	if strings.HasSuffix(from, "@") {
		return "", "", "", fmt.Errorf("%q names no snapshot behind the @; for those there are: isantarget snapshot list %s", from, lun)
	}
	path, err = absolute(c, c.String("path"))
	return lun, snapshot, path, err
}

// warn prints warnings on standard error.
func warn(c *cli.Context, warnings []string) {
	for _, w := range warnings {
		fmt.Fprintf(c.App.ErrWriter, "isantarget: warning: %s\n", w)
	}
}
