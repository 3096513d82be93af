package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/isantarget/isantarget/admin"
)

// changeFlags are planeFlags for what changes the configuration.
func changeFlags(more ...cli.Flag) []cli.Flag {
	return append(append(more, jsonFlag()), planeFlags()...)
}

// yesFlag answers what deleteCommand would ask.
func yesFlag() cli.Flag {
	return &cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "do not ask"}
}

// edit has the daemon make changes, and prints what has changed.
func edit(c *cli.Context, client *admin.Client, batch admin.Batch) error {
	done, err := change(c, client, batch)
	if err != nil {
		return err
	}
	return printChange(c, done)
}

// change has the daemon make changes, and shows what takes long of it meanwhile.
func change(c *cli.Context, client *admin.Client, batch admin.Batch) (done admin.Changed, err error) {
	err = watching(c, client, func() (err error) {
		done, err = client.Edit(c.Context, batch)
		return err
	})
	return done, err
}

// printChange prints what has changed, and warns on standard error.
func printChange(c *cli.Context, done admin.Changed) error {
	if c.Bool("json") {
		return printJSON(c, done)
	}
	for _, w := range done.Warnings {
		fmt.Fprintf(c.App.ErrWriter, "isantarget: warning: %s\n", w)
	}
	if len(done.Changes) == 0 {
		done.Changes = []string{"nothing has changed"}
	}
	for _, line := range done.Changes {
		fmt.Fprintln(c.App.Writer, line)
	}
	return nil
}

// confirm asks for the name of what is to be deleted, unless --yes is given. consequences
// are printed before.
func confirm(c *cli.Context, what, name string, consequences ...string) error {
	return confirmTo(c, what, name, "delete it", "deleted", consequences...)
}

// confirmTo is confirm for something else than to delete it.
func confirmTo(c *cli.Context, what, name, do, done string, consequences ...string) error {
	if c.Bool("yes") {
		return nil
	}
	for _, line := range consequences {
		fmt.Fprintln(c.App.ErrWriter, line)
	}
	fmt.Fprintf(c.App.ErrWriter, "Type the name of the %s to %s (%s): ", what, do, name)
	line, _ := bufio.NewReader(c.App.Reader).ReadString('\n')
	if typed := strings.TrimSpace(line); typed != name {
		fmt.Fprintln(c.App.ErrWriter)
		return fmt.Errorf("nothing is %s: that was not the name; type %s when asked, or give --yes", done, name)
	}
	return nil
}

// absolute is a path as the daemon has to hear it, which runs in another directory.
func absolute(c *cli.Context, path string) (string, error) {
	if path == "" || filepath.IsAbs(path) {
		return path, nil
	}
	if isRemote(c) {
		return "", fmt.Errorf("%s would be a file on the host of the daemon; write where it is there, from / on", path)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("cannot find the working directory: %w", err)
	}
	return abs, nil
}

// credential reads USER:FILE, and says it as the schema does.
func credential(c *cli.Context, flag, value string) (map[string]any, error) {
	user, file, ok := strings.Cut(value, ":")
	if !ok || user == "" || file == "" {
		return nil, fmt.Errorf("--%s wants USER:FILE, where FILE holds the secret", flag)
	}
	file, err := absolute(c, file)
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(file); err == nil && !isRemote(c) && info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("others may read the secret in %s (mode %04o); run: chmod 600 %s", file, info.Mode().Perm(), file)
	}
	return map[string]any{"user": user, "secret-file": file}, nil
}

// proofs puts --chap and --mutual-chap into an object.
func proofs(c *cli.Context, object map[string]any) error {
	for _, flag := range []string{"chap", "mutual-chap"} {
		if !c.IsSet(flag) {
			continue
		}
		v, err := credential(c, flag, c.String(flag))
		if err != nil {
			return err
		}
		object[flag] = v
	}
	return nil
}

// proofFlags are those of proofs.
func proofFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "chap", Usage: "have initiators prove that they know the secret in FILE: `USER:FILE`"},
		&cli.StringFlag{Name: "mutual-chap", Usage: "prove to initiators that we know the secret in FILE: `USER:FILE`"},
	}
}
