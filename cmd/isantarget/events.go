package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/isantarget/isantarget/admin"
)

func eventsCommand() *cli.Command {
	return &cli.Command{
		Name: "events", Usage: "print what happens, as it happens, until interrupted",
		Description: "Logins, logouts, changes, warnings and errors, whatever level is logged. With --json a line\n" +
			"is an object; its id, given to --after, goes on behind it.",
		Flags: append(listFlags(), &cli.Int64Flag{Name: "after", Value: -1, DefaultText: "the newest", Usage: "begin behind the event `ID`, as far as they are kept; 0 for all (default: behind the newest)"}),
		Action: ask(nil, func(c *cli.Context, client *admin.Client) error {
			ctx, stop := untilInterrupt(c.Context)
			defer stop()
			err := client.Events(ctx, c.Int64("after"), func(e admin.Event) error { return printEvent(c, e) })
			if ctx.Err() != nil {
				return nil
			}
			return err
		}),
	}
}

func printEvent(c *cli.Context, e admin.Event) error {
	if c.Bool("json") {
		return json.NewEncoder(c.App.Writer).Encode(e)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s: %s", e.Time.Local().Format(time.DateTime), e.Kind, e.Message)
	for _, key := range slices.Sorted(maps.Keys(e.Fields)) {
		fmt.Fprintf(&b, " %s=%s", key, quote(e.Fields[key]))
	}
	_, err := fmt.Fprintln(c.App.Writer, b.String())
	return err
}
