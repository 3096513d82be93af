package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"github.com/isantarget/isantarget/admin"
	"github.com/isantarget/isantarget/configs"
)

// planeFlags say which daemon is meant.
func planeFlags() []cli.Flag {
	return []cli.Flag{
		text("socket", "ask the daemon at `FILE` (default: "+admin.SocketName+" in the state directory), or over the network at https://HOST:PORT"),
		text("token-file", "over the network, show the token in `FILE` (default: that in $"+tokenVariable+")"),
		text("ca", "over the network, trust the certificates in `FILE`"),
		text("state", "ask the daemon with its state in `DIR` (default: that of the configuration, or ./"+configs.DefaultFlagsState+" if a daemon has it)"),
		text("config", "ask the daemon of the configuration `FILE` (default: "+defaultConfig+")"),
	}
}

// defaultConfig is where a configuration is if nobody says.
const defaultConfig = "/etc/isantarget/isantarget.toml"

// jsonFlag has a verb print what a program reads.
func jsonFlag() cli.Flag { return &cli.BoolFlag{Name: "json", Usage: "print JSON, for programs"} }

// listFlags are planeFlags for what prints something.
func listFlags() []cli.Flag { return append(planeFlags(), jsonFlag()) }

// socketOf is the socket of the daemon that is meant.
func socketOf(c *cli.Context) (string, error) {
	if socket := c.String("socket"); socket != "" {
		return socket, nil
	}
	if state := c.String("state"); state != "" {
		return filepath.Join(state, admin.SocketName), nil
	}
	if file := c.String("config"); file != "" {
		config, err := configs.Load(file)
		if config.State == "" {
			return "", err
		}
		return filepath.Join(config.State, admin.SocketName), nil
	}
	here := filepath.Join(configs.DefaultFlagsState, admin.SocketName)
	if _, err := os.Stat(here); err == nil {
		return here, nil
	}
	config, _ := configs.Load(defaultConfig) // what is wrong with it is for others to say
	return filepath.Join(cmp.Or(config.State, configs.DefaultState), admin.SocketName), nil
}

// clientOf is a client of the daemon that is meant.
func clientOf(c *cli.Context) (*admin.Client, error) {
	socket, err := socketOf(c)
	if err != nil {
		return nil, err
	}
	if !admin.IsURL(socket) {
		return admin.NewClient(socket), nil
	}
	remote := admin.Remote{URL: socket}
	if remote.Token, err = tokenOf(c); err != nil {
		return nil, err
	}
	if file := c.String("ca"); file != "" {
		if remote.CA, err = os.ReadFile(file); err != nil {
			return nil, fmt.Errorf("cannot read the certificates: %w", err)
		}
	}
	return admin.NewRemoteClient(remote)
}

// isRemote tells whether the daemon that is meant has another host's files.
func isRemote(c *cli.Context) bool {
	socket, err := socketOf(c)
	return err == nil && admin.IsURL(socket)
}

// tokenOf is the token that is shown to a daemon over the network.
func tokenOf(c *cli.Context) (string, error) {
	file := c.String("token-file")
	if file == "" {
		return os.Getenv(tokenVariable), nil
	}
	f, err := os.Open(file)
	if err != nil {
		return "", fmt.Errorf("cannot read the token: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", fmt.Errorf("cannot read the token: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("others may read the token in %s (mode %04o); run: chmod 600 %s", file, info.Mode().Perm(), file)
	}
	secret, err := io.ReadAll(io.LimitReader(f, 1<<10))
	if err != nil {
		return "", fmt.Errorf("cannot read the token: %w", err)
	}
	return strings.TrimSpace(string(secret)), nil
}

// ask is an action that asks the daemon. It wants words behind the verb, no more and
// no less.
func ask(words []string, do func(*cli.Context, *admin.Client) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		if c.NArg() != len(words) {
			usage := strings.Join(append([]string{c.Command.HelpName}, words...), " ")
			return fmt.Errorf("wants %s: %s", number(len(words)), usage)
		}
		client, err := clientOf(c)
		if err != nil {
			return err
		}
		defer client.Close()
		return do(c, client)
	}
}

func number(words int) string {
	switch words {
	case 0:
		return "no arguments"
	case 1:
		return "one argument"
	}
	return fmt.Sprintf("%d arguments", words)
}

// listCommand is a verb that prints what the daemon says: as JSON, or as rows of columns
// with a heading, cells parted by tabs.
func listCommand[T any](usage, heading, none string, get func(*cli.Context, *admin.Client) ([]T, error), row func(T) []string) *cli.Command {
	return &cli.Command{
		Name: "list", Usage: usage, Flags: listFlags(),
		Action: ask(nil, func(c *cli.Context, client *admin.Client) error {
			all, err := get(c, client)
			if err != nil {
				return err
			}
			if c.Bool("json") {
				return printJSON(c, all)
			}
			var rows []string
			for _, one := range all {
				rows = append(rows, row(one)...)
			}
			return printTable(c, heading, none, rows)
		}),
	}
}

// printFacts prints a fact a line: what it is, and how.
func printFacts(c *cli.Context, facts [][2]string) error {
	w := tabwriter.NewWriter(c.App.Writer, 0, 0, 2, ' ', 0)
	for _, f := range facts {
		fmt.Fprintln(w, cells(f[0], f[1]))
	}
	return w.Flush()
}

// printTable prints rows below a heading, or that there are none.
func printTable(c *cli.Context, heading, none string, rows []string) error {
	if len(rows) == 0 {
		_, err := fmt.Fprintln(c.App.Writer, none)
		return err
	}
	w := tabwriter.NewWriter(c.App.Writer, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, heading)
	for _, r := range rows {
		fmt.Fprintln(w, r)
	}
	return w.Flush()
}

func printJSON(c *cli.Context, v any) error {
	e := json.NewEncoder(c.App.Writer)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// printAfter prints as JSON, where a program asks for it, how what was changed is now. People
// are told nothing of what went well.
func printAfter[T any](c *cli.Context, now func() (T, error)) error {
	if !c.Bool("json") {
		return nil
	}
	v, err := now()
	if err != nil {
		return err
	}
	return printJSON(c, v)
}

// cells is a row; an empty cell is a dash.
func cells(words ...string) string {
	for i, w := range words {
		if w == "" {
			words[i] = "-"
		}
	}
	return strings.Join(words, "\t")
}

// noun is a command that only has verbs.
func noun(name, usage string, verbs ...*cli.Command) *cli.Command {
	return &cli.Command{
		Name: name, Usage: usage, Subcommands: verbs,
		Action: func(c *cli.Context) error {
			if !c.Args().Present() {
				return cli.ShowSubcommandHelp(c)
			}
			var names []string
			for _, v := range verbs {
				names = append(names, v.Name)
			}
			return fmt.Errorf("%s has no verb %q%s", name, c.Args().First(), configs.DidYouMean(c.Args().First(), names))
		},
	}
}
