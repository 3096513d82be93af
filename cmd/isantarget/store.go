package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"github.com/isantarget/isantarget/admin"
	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/provision"
)

func storeCommand() *cli.Command {
	return noun("store", "name directories for images, see what the stores have, have given, and have promised",
		listCommand("list the stores, and the folders of images that are in none",
			cells("NAME", "PATH", "CAPACITY", "AVAILABLE", "USED", "IMAGES", "ALLOCATED", "PROMISED", "RATIO", "OVERCOMMIT", "STATE"), "no stores",
			func(c *cli.Context, client *admin.Client) ([]provision.StoreStatus, error) {
				return client.Stores(c.Context)
			}, storeRow),
		&cli.Command{
			Name: "show", Usage: "show a store, its images, its file system, and what has happened to them", ArgsUsage: "NAME",
			Description: "NAME is that of a store, or the path of a folder of images. Images that lie in one file\n" +
				"system share its space, whatever stores they are in: RATIO is what is promised to all of\n" +
				"them, as a part of what they have and what is left. SHARED is what other files have too,\n" +
				"snapshots for instance: writing over it takes new space, so it is owed once more.",
			Flags:  listFlags(),
			Action: ask([]string{"NAME"}, showStore),
		},
		storeCreateCommand(), setCommand(configs.StoreTable, "a store", "NAME", "store set tank overcommit=allow space-threshold=90"), storeDeleteCommand())
}

func storeRow(s provision.StoreStatus) []string {
	f := s.FileSystem
	state := "good"
	if len(s.Conditions) > 0 {
		state = strings.Join(s.Conditions, "; ")
	}
	if s.Unknown != "" {
		return []string{cells(s.Name, s.Path, "", "", "", fmt.Sprint(len(s.Images)), "", "", "", s.Overcommit, state)}
	}
	return []string{cells(s.Name, s.Path, size(f.Capacity), size(f.Available), used(f), fmt.Sprint(len(s.Images)), size(s.Allocated), size(s.Promised),
		ratio(f.Ratio), s.Overcommit, state)}
}

func size(bytes int64) string { return humanize.IBytes(uint64(max(bytes, 0))) }

func used(f provision.FileSystemStatus) string {
	if f.Capacity <= 0 {
		return ""
	}
	return fmt.Sprintf("%.0f%%", 100*float64(f.Capacity-f.Available)/float64(f.Capacity))
}

func ratio(r float64) string { return fmt.Sprintf("%.2f", r) }

func showStore(c *cli.Context, client *admin.Client) error {
	all, err := client.Stores(c.Context)
	if err != nil {
		return err
	}
	name := c.Args().First()
	var known []string
	for _, s := range all {
		if s.Name == name || s.Name == "" && s.Path == name {
			if c.Bool("json") {
				return printJSON(c, s)
			}
			return printStore(c.App.Writer, s)
		}
		known = append(known, cmp.Or(s.Name, s.Path))
	}
	return fmt.Errorf("there is no store %q%s", name, configs.DidYouMean(name, known))
}

func printStore(out io.Writer, s provision.StoreStatus) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(key, format string, args ...any) { fmt.Fprintf(w, "%s\t%s\n", key, fmt.Sprintf(format, args...)) }
	if s.Name != "" {
		line("store", "%s", s.Name)
	}
	line("path", "%s", s.Path)
	if s.Name != "" {
		line("overcommit", "%s", s.Overcommit)
		line("space threshold", "%s", threshold(s.SpaceThreshold))
	}
	if s.Unknown == "" {
		f := s.FileSystem
		line("file system", "%s, %s of %s used, %s available", f.ID, used(f), size(f.Capacity), size(f.Available))
		line("its images", "%s promised, %s allocated, %s owed: %s times what there is", size(f.Promised), size(f.Allocated), atMost(size(f.Owed), f.Estimated), ratio(f.Ratio))
	}
	for _, condition := range s.Conditions {
		line("condition", "%s", condition)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if len(s.Images) > 0 {
		fmt.Fprintln(w, "\n"+cells("LUN", "SIZE", "ALLOCATED", "SHARED", "PATH"))
		for _, i := range s.Images {
			fmt.Fprintln(w, cells(i.LUN, size(i.Size), size(i.Allocated), atMost(size(i.Shared), i.Estimated), i.Path))
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for i, e := range s.Events {
		if i == 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintln(w, cells(e.Time.Local().Format(time.DateTime), e.LUN, e.Text))
	}
	return w.Flush()
}

// atMost marks an amount that may be less.
func atMost(amount string, estimated bool) string {
	if estimated {
		return "at most " + amount
	}
	return amount
}

func threshold(percent int) string {
	if percent == 0 {
		return "none"
	}
	return fmt.Sprintf("%d%%", percent)
}
