package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/provision"
)

// environment is the variable that stands for a flag that is not given.
func environment(flag string) string {
	return "ISANTARGET_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// objectFlags say what is served; a configuration file says it instead.
func objectFlags() []cli.Flag {
	return []cli.Flag{
		text("state", "keep serials and saved settings in `DIR` (default: ./"+configs.DefaultFlagsState+")"),
		list("portal", "listen on `ADDR:PORT`, again for more; port 0 takes a free one (default: "+string(configs.DefaultPortal)+")"),
		text("target", "serve under the name `IQN` (default: "+configs.DefaultTarget+")"),
		list("lun", "serve `NAME=PATH[,OPTION...]`, again for more; see above (default: a disk of 10GiB in the state directory)"),
		text("access", "admit `open|loopback`: everybody, or this host only (default: loopback)"),
		text("chap", "have initiators prove that they know the secret in FILE: `USER:FILE`"),
		text("mutual-chap", "prove to initiators that we know the secret in FILE: `USER:FILE`"),
		text("admin-listen", "let tokens look at this daemon and change it, by the web page too, at `ADDR:PORT` (default: nowhere)"),
		text("admin-tls", "make a certificate for that, which it needs beyond this host: `self-signed`"),
		text("admin-token-file", "take the token in `FILE` for that, or that in $"+tokenVariable+" (default: one is made in the state directory)"),
		text("log-format", "log in `text|json` (default: text)"),
		text("log-level", "log what is at least `error|warn|info|debug` (default: info)"),
	}
}

// tokenVariable may hold the token of the admin plane: that which a daemon with flags takes, and that
// which a command shows.
const tokenVariable = "ISANTARGET_TOKEN"

// text is a flag with one value, which its environment variable may give.
func text(name, usage string) cli.Flag {
	return &cli.StringFlag{Name: name, Usage: usage, EnvVars: []string{environment(name)}}
}

// list is a flag that may be repeated. Its environment variable, which holds
// several values with blanks between them, is read by values.
func list(name, usage string) cli.Flag {
	return &cli.StringSliceFlag{Name: name, Usage: usage + " [$" + environment(name) + "]"}
}

// values are those of a flag of list.
func values(c *cli.Context, name string) []string {
	if c.IsSet(name) {
		return c.StringSlice(name)
	}
	return strings.Fields(os.Getenv(environment(name)))
}

// origin is what the command line asks to serve: a file, or what its flags say.
func origin(c *cli.Context) (provision.Origin, error) {
	flags := configs.Flags{
		State:      c.String("state"),
		Portals:    values(c, "portal"),
		Target:     c.String("target"),
		LUNs:       values(c, "lun"),
		Access:     c.String("access"),
		CHAP:       c.String("chap"),
		MutualCHAP: c.String("mutual-chap"),
		LogFormat:  c.String("log-format"),
		LogLevel:   c.String("log-level"),

		AdminListen:    c.String("admin-listen"),
		AdminTLS:       c.String("admin-tls"),
		AdminTokenFile: c.String("admin-token-file"),
	}
	if os.Getenv(tokenVariable) != "" {
		flags.AdminTokenEnv = tokenVariable
	}
	file := c.String("config")
	if file == "" {
		with := func(made ...configs.Object) (configs.Config, error) { return configs.FromFlags(flags, made...) }
		return func() (configs.Written, error) { return configs.Written{With: with}, nil }, nil
	}
	for _, f := range objectFlags() {
		name := f.Names()[0]
		if c.IsSet(name) || os.Getenv(environment(name)) != "" {
			return nil, fmt.Errorf("--config %s says all that is served, so %s cannot be given beside it; write it into the file, or leave --config out", file, given(name))
		}
	}
	return func() (configs.Written, error) { return configs.Read(file) }, nil
}

// given is how a flag was given: in the command line or by its variable.
func given(name string) string {
	if os.Getenv(environment(name)) != "" {
		for _, arg := range os.Args {
			if strings.TrimLeft(strings.SplitN(arg, "=", 2)[0], "-") == name {
				return "--" + name
			}
		}
		return "$" + environment(name)
	}
	return "--" + name
}
