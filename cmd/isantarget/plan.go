package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/isantarget/isantarget/admin"
	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/provision"
)

func planCommand() *cli.Command {
	return &cli.Command{
		Name: "plan", Usage: "say what a configuration file would change of what the daemon serves", ArgsUsage: "FILE",
		Description: "Changes nothing. What was made at run time stays. Errors are those that apply would give,\n" +
			"but for what only opening an image or a port can show.",
		Flags:  listFlags(),
		Action: ask([]string{"FILE"}, plan),
	}
}

func plan(c *cli.Context, client *admin.Client) error {
	f, err := forecast(c, client)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c, f)
	}
	for _, w := range f.Warnings {
		fmt.Fprintf(c.App.ErrWriter, "isantarget: warning: %s\n", w)
	}
	_, err = fmt.Fprint(c.App.Writer, describeForecast(f))
	return err
}

// forecast asks what FILE would change.
func forecast(c *cli.Context, client *admin.Client) (provision.Forecast, error) {
	name := c.Args().First()
	text, err := os.ReadFile(name)
	if err != nil {
		return provision.Forecast{}, fmt.Errorf("cannot read the configuration: %w", err)
	}
	dir, err := filepath.Abs(filepath.Dir(name))
	if err != nil {
		return provision.Forecast{}, fmt.Errorf("cannot find the directory of %s: %w", name, err)
	}
	return client.Forecast(c.Context, name, dir, string(text))
}

// describeForecast is a forecast for a person.
func describeForecast(f provision.Forecast) string {
	if len(f.Differences) == 0 {
		return "nothing would change\n"
	}
	var b strings.Builder
	for _, d := range f.Differences {
		fmt.Fprintf(&b, "%s %s\n", map[configs.How]string{configs.Added: "+", configs.Changed: "~", configs.Removed: "-"}[d.How], d)
	}
	if len(f.Sessions) == 0 {
		b.WriteString("\nno session would notice\n")
		return b.String()
	}
	b.WriteString("\nsessions that would notice:\n")
	for _, s := range f.Sessions {
		fmt.Fprintf(&b, "  %d: %s with %s\n", s.TSIH, s.Initiator, s.Target)
		for _, e := range s.Effects {
			fmt.Fprintf(&b, "     %s\n", e)
		}
	}
	return b.String()
}

func applyCommand() *cli.Command {
	return &cli.Command{
		Name: "apply", Usage: "have the daemon serve what its configuration file says now", ArgsUsage: "FILE",
		Description: "FILE is the one that the daemon was started with. Every entry is checked and made ready\n" +
			"first: one wrong entry, and nothing changes. What has not changed goes on undisturbed.",
		Flags: changeFlags(),
		Action: ask([]string{"FILE"}, func(c *cli.Context, client *admin.Client) error {
			file, err := absolute(c, c.Args().First())
			if err != nil {
				return err
			}
			if _, err := os.Stat(file); err != nil && !isRemote(c) {
				return fmt.Errorf("cannot read the configuration: %w", err)
			}
			var done admin.Changed
			err = watching(c, client, func() (err error) {
				done, err = client.Apply(c.Context, file)
				return err
			})
			if err != nil {
				return err
			}
			return printChange(c, done)
		}),
	}
}

func exportCommand() *cli.Command {
	return &cli.Command{
		Name: "export", Usage: "write the whole configuration that runs as one file",
		Description: "isantarget export > isantarget.toml\n\n" +
			"What was made at run time stands beside what the configuration file says, and serials are\n" +
			"written out: served elsewhere, it is the same disks. Secrets are named by their files.",
		Flags: listFlags(),
		Action: ask(nil, func(c *cli.Context, client *admin.Client) error {
			if c.Bool("json") {
				text, err := client.ExportJSON(c.Context)
				if err != nil {
					return err
				}
				return printJSON(c, text)
			}
			text, err := client.Export(c.Context)
			if err == nil && text == "" {
				err = errors.New("the daemon exports nothing")
			}
			if err != nil {
				return err
			}
			_, err = fmt.Fprint(c.App.Writer, text)
			return err
		}),
	}
}
