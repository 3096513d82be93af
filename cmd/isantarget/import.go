package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/isantarget/isantarget/admin"
	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/importer"
	"github.com/isantarget/isantarget/provision"
)

// defaultSecrets is where secrets are expected that nobody has written yet.
const defaultSecrets = "/etc/isantarget/secrets"

func importCommand() *cli.Command {
	var kinds []string
	for _, k := range importer.Kinds() {
		kinds = append(kinds, string(k))
	}
	return &cli.Command{
		Name:      "import",
		Usage:     "make a configuration of that of another target",
		ArgsUsage: "FILE|-",
		Description: "Prints the equal configuration, and on standard error, with its line, whatever has no equal.\n" +
			"Disks keep the serial, NAA and T10 names that they had, so that initiators find them again.\n" +
			"Of images and devices only the paths are taken over. Secrets are never printed. Nothing is\n" +
			"served or changed, unless --apply has the daemon make it all, as if by `target create` and\n" +
			"its like: everything, or nothing.",
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "from", Usage: "what FILE is of: `KIND` is " + strings.Join(kinds, ", ") + " (default: as it looks)"},
			&cli.StringFlag{Name: "secrets", Usage: "write CHAP secrets into files in `DIR`, readable by their owner alone (default: none are written, and " + defaultSecrets + " is where they are expected)"},
			&cli.BoolFlag{Name: "check", Usage: "check the result, as isantarget check does"},
			&cli.BoolFlag{Name: "apply", Usage: "have the running daemon serve it, and print what has changed"},
		}, listFlags()...),
		Action: importFile,
	}
}

func importFile(c *cli.Context) error {
	if c.NArg() != 1 {
		return errors.New("import wants one FILE, or - for standard input: isantarget import /etc/target/saveconfig.json > isantarget.toml")
	}
	file := c.Args().First()
	name, text, err := readForeign(c, file)
	if err != nil {
		return err
	}
	secrets := defaultSecrets
	if c.IsSet("secrets") {
		if secrets, err = filepath.Abs(c.String("secrets")); err != nil {
			return err
		}
	}
	result, err := importer.Read(text, importer.Options{Name: name, Kind: importer.Kind(c.String("from")), Secrets: secrets})
	if err != nil {
		return err
	}
	if c.IsSet("secrets") {
		if err := writeSecrets(secrets, result.Secrets); err != nil {
			return err
		}
	}
	for _, r := range result.Remarks {
		fmt.Fprintf(c.App.ErrWriter, "isantarget: %s\n", r)
	}
	if n := len(result.Secrets); n > 0 && !c.IsSet("secrets") {
		fmt.Fprintf(c.App.ErrWriter, "isantarget: %d CHAP secrets are expected in %s and were not written there: --secrets DIR does it\n", n, secrets)
	}
	if err := printImported(c, name, result); err != nil {
		return err
	}
	if len(result.Config.Targets) == 0 {
		return fmt.Errorf("%s: no target in it can be served here", name)
	}
	if c.Bool("check") {
		if err := checkImported(c, result.Config.TOML()); err != nil {
			return err
		}
	}
	if c.Bool("apply") {
		return applyImported(c, result.Config)
	}
	return nil
}

// printImported prints the configuration that was made, if it is not to be applied.
func printImported(c *cli.Context, name string, result *importer.Result) error {
	switch {
	case c.Bool("apply"):
		return nil
	case c.Bool("json"):
		return printJSON(c, struct {
			Kind    importer.Kind  `json:"kind"`
			Config  configs.Config `json:"config"`
			Remarks []string       `json:"remarks"`
		}{result.Kind, result.Config, remarks(result)})
	}
	_, err := fmt.Fprintf(c.App.Writer, "# Made of %s (%s) by isantarget import.\n\n%s", name, result.Kind, result.Config.TOML())
	return err
}

func remarks(result *importer.Result) []string {
	list := make([]string, 0, len(result.Remarks))
	for _, r := range result.Remarks {
		list = append(list, r.String())
	}
	return list
}

// applyImported has the daemon make all that is in config. A portal group that it has
// already, by its tag, keeps its portals.
func applyImported(c *cli.Context, config configs.Config) error {
	client, err := clientOf(c)
	if err != nil {
		return err
	}
	defer client.Close()
	groups, err := client.Objects(c.Context, configs.PortalGroupTable)
	if err != nil {
		return err
	}
	listens := map[string]string{}
	for _, g := range groups {
		listens[g.Name] = fmt.Sprint(g.Object["listen"])
	}
	var batch admin.Batch
	put := func(v any) error {
		o, err := configs.ObjectOf(v)
		batch.Put = append(batch.Put, admin.Put{Table: o.Table, Object: o})
		return err
	}
	for _, g := range config.PortalGroups {
		there, known := listens[fmt.Sprint(g.Tag)]
		if !known {
			err = errors.Join(err, put(g))
		} else if wanted := fmt.Sprint(g.Listen); wanted != there {
			fmt.Fprintf(c.App.ErrWriter, "isantarget: portal group %d is there already: its targets are reached at %s, and not at %s\n", g.Tag, there, wanted)
		}
	}
	for _, l := range config.LUNs {
		err = errors.Join(err, put(l))
	}
	for _, t := range config.Targets {
		err = errors.Join(err, put(t))
	}
	if err != nil {
		return err
	}
	return edit(c, client, batch)
}

// readForeign reads the file, or standard input.
func readForeign(c *cli.Context, file string) (name, text string, err error) {
	var b []byte
	const limit = 64 << 20
	if file == "-" {
		name = "standard input"
		b, err = io.ReadAll(io.LimitReader(c.App.Reader, limit))
	} else {
		name = file
		var f *os.File
		if f, err = os.Open(file); err == nil {
			defer f.Close()
			b, err = io.ReadAll(io.LimitReader(f, limit))
		}
	}
	if err != nil {
		return "", "", fmt.Errorf("cannot read the configuration: %w", err)
	}
	return name, string(b), nil
}

// checkImported is check of what was printed.
func checkImported(c *cli.Context, text string) error {
	config, err := configs.Parse("result", "/", text)
	if err != nil {
		return err
	}
	warnings, err := provision.Check(config)
	for _, w := range warnings {
		fmt.Fprintf(c.App.ErrWriter, "isantarget: warning: %s\n", w)
	}
	return err
}

// writeSecrets makes the files of those secrets that are told. What is there already is
// not overwritten: it may be the better one. What root writes belongs to the owner of the
// directory, who is to read it: the daemon.
func writeSecrets(dir string, secrets []importer.Secret) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("cannot make the directory of secrets: %w", err)
	}
	var owner unix.Stat_t
	if err := unix.Stat(dir, &owner); err != nil {
		return fmt.Errorf("the directory of secrets %s: %w", dir, err)
	}
	for _, s := range secrets {
		if s.Value == "" {
			continue
		}
		f, err := os.OpenFile(s.File, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if errors.Is(err, os.ErrExist) {
			return fmt.Errorf("%s is there already; remove it, or name another --secrets directory", s.File)
		}
		if err == nil {
			if os.Geteuid() == 0 {
				err = f.Chown(int(owner.Uid), int(owner.Gid))
			}
			if err == nil {
				_, err = f.WriteString(s.Value + "\n")
			}
			err = errors.Join(err, f.Sync(), f.Close())
		}
		if err != nil {
			return fmt.Errorf("cannot write the secret of %s: %w", s.User, err)
		}
	}
	return nil
}
