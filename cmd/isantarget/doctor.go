package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/isantarget/isantarget/admin"
	"github.com/isantarget/isantarget/doctor"
)

// secretVariable has the CHAP secret where no file has it.
const secretVariable = "ISANTARGET_CHAP_SECRET"

// The exit statuses of doctor, beside 0.
const (
	exitFails     = 1 // something is not as it should be
	exitUnchecked = 2 // it could not be examined
)

// initiatorFlags say as whom the verbs log in that are initiators themselves.
func initiatorFlags() []cli.Flag {
	return []cli.Flag{
		text("user", "log in by CHAP as `USER` (default: the one in the URL, or the initiator name)"),
		text("secret-file", "take the CHAP secret from `FILE`; without it $"+secretVariable+" is taken, if there is one"),
		&cli.StringFlag{Name: "initiator", Usage: "log in under the iSCSI name `IQN`, where access rules want one", Value: doctor.DefaultInitiator},
		&cli.DurationFlag{Name: "timeout", Usage: "wait `TIME` for each answer", Value: 10 * time.Second},
	}
}

func doctorCommand() *cli.Command {
	return &cli.Command{
		Name: "doctor", Usage: "check an iSCSI target against what its users need", ArgsUsage: "[URL]",
		Description: "isantarget doctor iscsi://192.0.2.10/iqn.2026-11.org.example:vmstore/0\n\n" +
			"Any target will do. Without LUN, or target, all are checked; without URL, the daemon of this\n" +
			"host. By itself it only reads. --destructive also checks what writes, reserves and resets:\n" +
			"everything is put back as it was, but nobody else should use the disk meanwhile. The exit\n" +
			"status is 0 when nothing fails, 1 when something does, 2 when nothing could be checked.",
		Flags: slices.Concat(initiatorFlags(), []cli.Flag{
			&cli.BoolFlag{Name: "destructive", Usage: "also write to blocks near the end of the disk, take reservations, and reset the unit"},
			&cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "do not ask whether --destructive is meant"},
			&cli.BoolFlag{Name: "list", Usage: "list the checks there are, and check nothing"},
		}, listFlags()),
		Action: runDoctor,
		OnUsageError: func(c *cli.Context, err error, within bool) error {
			return &exitError{exitUnchecked, usageError(c, err, within)}
		},
	}
}

func runDoctor(c *cli.Context) error {
	if c.Bool("list") {
		return listChecks(c)
	}
	if c.NArg() > 1 {
		return &exitError{exitUnchecked, fmt.Errorf("wants one URL: isantarget doctor iscsi://HOST/IQN/LUN")}
	}
	ctx, cancel := untilInterrupt(c.Context)
	defer cancel()
	report, err := examine(ctx, c)
	if report == nil {
		return &exitError{exitUnchecked, err}
	}
	if c.Bool("json") {
		if printErr := printJSON(c, report); printErr != nil {
			return printErr
		}
	} else {
		if isTerminal(c.App.ErrWriter) {
			fmt.Fprint(c.App.ErrWriter, "\r\x1b[K")
		}
		printReport(c.App.Writer, report, c.Bool("destructive"))
	}
	switch {
	case err != nil:
		return &exitError{exitUnchecked, err}
	case len(report.Left) > 0:
		return &exitError{exitFails, errors.New("the disk is not as it was: " + strings.Join(report.Left, "; "))}
	case report.Count(doctor.Fail) > 0:
		return &exitError{exitFails, errLogged}
	}
	return nil
}

// examine examines what the command line says.
func examine(ctx context.Context, c *cli.Context) (*doctor.Report, error) {
	place := doctor.Place{}
	if c.Args().Present() {
		var err error
		if place, err = doctor.ParsePlace(c.Args().First()); err != nil {
			return nil, err
		}
	}
	o, err := doctorOptions(c, place)
	if err != nil {
		return nil, err
	}
	if !c.Args().Present() {
		if o.Destructive {
			return nil, errors.New("--destructive wants the URL of one LUN: isantarget doctor --destructive iscsi://HOST/IQN/LUN")
		}
		socket, err := socketOf(c)
		if err != nil {
			return nil, err
		}
		if admin.IsURL(socket) {
			return nil, errors.New("without the URL of a target doctor examines the host of the daemon: run it there, or give the URL of one")
		}
		return doctor.ExamineHost(ctx, socket, o)
	}
	if o.Destructive {
		if place.LUN == doctor.AnyLUN {
			return nil, errors.New("--destructive wants the URL of one LUN: iscsi://HOST/IQN/LUN")
		}
		err := confirmTo(c, "LUN", place.String(), "write to it, reserve and reset it", "checked",
			"Blocks near the end of the disk are written and put back, reservations are taken and given back,",
			"and the unit is reset. Nobody else should use the disk meanwhile.")
		if err != nil {
			return nil, err
		}
	}
	return doctor.Examine(ctx, place, o)
}

// initiatorOptions say as whom to log in to a place: the flags, see initiatorFlags.
func initiatorOptions(c *cli.Context, place doctor.Place) (o doctor.Options, err error) {
	o = doctor.Options{Initiator: c.String("initiator"), Timeout: c.Duration("timeout")}
	o.User = cmp.Or(c.String("user"), place.User, o.Initiator)
	if o.Timeout <= 0 {
		return o, fmt.Errorf("--timeout %v: wants more than nothing", o.Timeout)
	}
	o.Secret, err = chapSecret(c)
	return o, err
}

// doctorOptions are the flags.
func doctorOptions(c *cli.Context, place doctor.Place) (doctor.Options, error) {
	o, err := initiatorOptions(c, place)
	if err != nil {
		return o, err
	}
	o.Destructive = c.Bool("destructive")
	if w := c.App.ErrWriter; isTerminal(w) && !c.Bool("json") {
		o.Progress = func(subject, check string) { fmt.Fprintf(w, "\r\x1b[K%s: %s ", subject, check) }
	}
	return o, nil
}

// chapSecret is the secret of --secret-file, or of the environment; empty: none.
func chapSecret(c *cli.Context) (string, error) {
	file := c.String("secret-file")
	if file == "" {
		return os.Getenv(secretVariable), nil
	}
	info, err := os.Stat(file)
	if err != nil {
		return "", fmt.Errorf("cannot read the secret: %w", err)
	}
	const most = 4096
	switch others := info.Mode().Perm() & 0o077; {
	case info.Mode().IsRegular() && info.Size() > most:
		return "", fmt.Errorf("%s has %d bytes: that is no secret", file, info.Size())
	case info.Mode().IsRegular() && others != 0:
		return "", fmt.Errorf("others can read the secret: chmod 600 %s", file)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("cannot read the secret: %w", err)
	}
	secret := strings.TrimRight(string(data), "\r\n")
	if secret == "" {
		return "", fmt.Errorf("%s: the secret is empty", file)
	}
	return secret, nil
}

// printReport prints findings, grouped by whom they are for: what fails in full, and of
// the destructive checks that were not asked for only how many they are.
func printReport(w io.Writer, r *doctor.Report, destructive bool) {
	spared := 0
	for _, e := range r.Examinations {
		if len(e.Findings) == 0 {
			continue
		}
		fmt.Fprintf(w, "%s\n", e.Subject)
		for _, consumer := range doctor.Consumers() {
			heading := false
			for _, f := range e.Findings {
				if f.For[0] != consumer {
					continue
				}
				if f.Verdict == doctor.NotChecked && f.Destructive && !destructive {
					spared++
					continue
				}
				if !heading {
					heading = true
					fmt.Fprintf(w, "  %s\n", consumer)
				}
				printFinding(w, f)
			}
		}
		fmt.Fprintln(w)
	}
	for _, left := range r.Left {
		fmt.Fprintf(w, "LEFT BEHIND  %s\n", left)
	}
	fmt.Fprintf(w, "%d pass, %d fail, %d not checked", r.Count(doctor.Pass), r.Count(doctor.Fail), r.Count(doctor.NotChecked))
	if spared > 0 {
		fmt.Fprintf(w, " (%d of them because they write, reserve or reset: --destructive)", spared)
	}
	fmt.Fprintln(w)
}

func printFinding(w io.Writer, f doctor.Finding) {
	found := ""
	if f.Found != "" && f.Verdict != doctor.Fail {
		found = " (" + f.Found + ")"
	}
	fmt.Fprintf(w, "    %-11s  %-21s  %s%s\n", f.Verdict, f.Check, f.Title, found)
	if f.Verdict != doctor.Fail {
		return
	}
	const indent = "                                          "
	fmt.Fprintf(w, "%sfound:   %s\n%sbreaks:  %s\n%sremedy:  %s\n", indent, f.Found, indent, f.Breaks, indent, f.Remedy)
	if len(f.For) > 1 {
		var others []string
		for _, other := range f.For[1:] {
			others = append(others, string(other))
		}
		fmt.Fprintf(w, "%salso:    %s\n", indent, strings.Join(others, ", "))
	}
}

// listChecks prints the table of checks.
func listChecks(c *cli.Context) error {
	var rows []string
	for _, check := range append(doctor.HostChecks(), doctor.Checks()...) {
		var consumers []string
		for _, consumer := range check.For {
			consumers = append(consumers, string(consumer))
		}
		needs := ""
		if check.Destructive() {
			needs = "yes"
		}
		rows = append(rows, cells(check.ID, strings.Join(consumers, ", "), needs, check.Title))
	}
	return printTable(c, cells("CHECK", "FOR", "DESTRUCTIVE", "WHAT MUST BE TRUE"), "", rows)
}
