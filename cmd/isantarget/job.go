package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"github.com/isantarget/isantarget/admin"
	"github.com/isantarget/isantarget/job"
)

func jobCommand() *cli.Command {
	return noun("job", "see what takes long, wait for it, and cancel it",
		listCommand("list the jobs, and those that have ended of late", cells("ID", "KIND", "OBJECT", "STATE", "PHASE", "DONE", "RATE", "LEFT", "BEGAN", "OUTCOME"), "no jobs",
			func(c *cli.Context, client *admin.Client) ([]job.Status, error) {
				return client.Jobs(c.Context)
			}, jobRow),
		&cli.Command{
			Name: "show", Usage: "show all that is known of a job", ArgsUsage: "ID", Flags: listFlags(),
			Action: ask([]string{"ID"}, showJob),
		},
		&cli.Command{
			Name: "wait", Usage: "wait for the end of a job; the status is 0 if it was done", ArgsUsage: "ID",
			Description: "To end this command does not end the job.",
			Flags:       listFlags(),
			Action: ask([]string{"ID"}, func(c *cli.Context, client *admin.Client) error {
				return follow(c, client, c.Args().First())
			}),
		},
		&cli.Command{
			Name: "cancel", Usage: "have a job end, and wait until it has", ArgsUsage: "ID",
			Description: "It ends with everything as it was before. One that is as good as done comes to its end.",
			Flags:       listFlags(),
			Action:      ask([]string{"ID"}, cancelJob),
		})
}

func jobRow(s job.Status) []string {
	return []string{cells(s.ID, s.Kind, s.Object, string(s.State), s.Phase, amount(s), rate(s), left(s), s.Began.Local().Format(time.DateTime), outcomeOf(s))}
}

// amount is what is done, of what.
func amount(s job.Status) string {
	if s.Total <= 0 {
		return humanize.IBytes(uint64(max(s.Done, 0)))
	}
	return fmt.Sprintf("%s of %s", humanize.IBytes(uint64(max(s.Done, 0))), humanize.IBytes(uint64(s.Total)))
}

func rate(s job.Status) string {
	if s.Rate <= 0 {
		return ""
	}
	return humanize.IBytes(uint64(s.Rate)) + "/s"
}

// left is how long s will take; empty: nobody knows.
func left(s job.Status) string {
	if s.Left < 0 || s.State.Final() {
		return ""
	}
	return (time.Duration(s.Left) * time.Second).String()
}

// outcomeOf is the first line of what has become of s.
func outcomeOf(s job.Status) string {
	first, _, _ := strings.Cut(s.Result+s.Error, "\n")
	return first
}

func showJob(c *cli.Context, client *admin.Client) error {
	s, err := client.Job(c.Context, c.Args().First())
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c, s)
	}
	lines := [][2]string{
		{"id", s.ID}, {"kind", s.Kind}, {"object", s.Object}, {"state", string(s.State)}, {"phase", s.Phase},
		{"done", amount(s)}, {"rate", rate(s)}, {"left", left(s)}, {"began", s.Began.Local().Format(time.DateTime)},
	}
	if !s.Ended.IsZero() {
		lines = append(lines, [2]string{"ended", s.Ended.Local().Format(time.DateTime)})
	}
	for _, u := range s.Unreadable {
		lines = append(lines, [2]string{"unreadable", u.String()})
	}
	return printFacts(c, append(lines, [2]string{"result", s.Result}, [2]string{"error", s.Error}))
}

func cancelJob(c *cli.Context, client *admin.Client) error {
	id := c.Args().First()
	if err := client.CancelJob(c.Context, id); err != nil {
		return err
	}
	s, err := client.WaitForJob(c.Context, id, nil)
	if err != nil {
		return err
	}
	if s.State == job.Done {
		return fmt.Errorf("job %s was as good as done, and has come to its end: %s", id, outcomeOf(s))
	}
	if c.Bool("json") {
		return printJSON(c, s)
	}
	_, err = fmt.Fprintf(c.App.Writer, "job %s is %s\n", id, s.State)
	return err
}

// errGoesOn: the command ends, and the job does not.
func errGoesOn(id string) error {
	return fmt.Errorf("job %s goes on; to see it again: isantarget job wait %s; to end it: isantarget job cancel %s", id, id, id)
}

// follow shows a job until it ends, and says what has become of it. For a program that is
// the job as it was in the end, however that came.
func follow(c *cli.Context, client *admin.Client, id string) error {
	ctx, forget := untilInterrupt(c.Context)
	defer forget()
	show := newDisplay(c.App.ErrWriter)
	s, err := client.WaitForJob(ctx, id, show.update)
	show.close()
	switch {
	case ctx.Err() != nil:
		return errGoesOn(id)
	case err != nil:
		return err
	}
	if c.Bool("json") {
		err = printJSON(c, s)
	} else {
		for _, u := range s.Unreadable {
			fmt.Fprintln(c.App.Writer, u)
		}
	}
	switch {
	case s.State != job.Done:
		if s.Result != "" && !c.Bool("json") {
			fmt.Fprintln(c.App.Writer, s.Result)
		}
		return errors.New(s.Kind + " of " + s.Object + ": " + s.Error)
	case s.Result != "" && !c.Bool("json"):
		_, err = fmt.Fprintln(c.App.Writer, s.Result)
	}
	return err
}

// watching shows what jobs run while do waits for the daemon. Interrupted, it says which of
// them goes on.
func watching(c *cli.Context, client *admin.Client, do func() error) error {
	const every = 300 * time.Millisecond
	ctx, forget := untilInterrupt(c.Context)
	defer forget()
	ended := make(chan error, 1)
	go func() { ended <- do() }()
	show, shown := newDisplay(c.App.ErrWriter), ""
	for {
		select {
		case err := <-ended:
			show.close()
			return err
		case <-ctx.Done():
			show.close()
			if shown == "" {
				return errors.New("the daemon goes on with what it was asked to do; to see what runs: isantarget job list")
			}
			return errGoesOn(shown)
		case <-time.After(every):
		}
		jobs, err := client.Jobs(c.Context)
		if err != nil {
			continue // do will say why
		}
		for _, s := range jobs {
			if !s.State.Final() && s.Kind != "sanitize" {
				show.update(s)
				shown = s.ID
				break
			}
		}
	}
}

// jobFlags are planeFlags for what starts a job.
func jobFlags() []cli.Flag {
	return append(listFlags(), &cli.BoolFlag{Name: "detach", Usage: "print the number of the job, and do not wait for it"})
}

// begin starts a job, and follows it unless told not to.
func begin(c *cli.Context, client *admin.Client, start func() (job.Status, error)) error {
	s, err := start()
	if err != nil {
		return err
	}
	if c.Bool("detach") && c.Bool("json") {
		return printJSON(c, s)
	}
	if c.Bool("detach") {
		_, err := fmt.Fprintln(c.App.Writer, s.ID)
		return err
	}
	return follow(c, client, s.ID)
}
