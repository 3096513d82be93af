package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/test/daemon"
)

func TestMain(m *testing.M) { os.Exit(daemon.Main(m)) }

// A result is how a process ended.
type result struct {
	status         int
	stdout, stderr string
}

// isantarget runs the binary in dir until it ends.
func isantarget(t *testing.T, dir string, environment []string, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), daemon.Client(), args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), environment...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// TestBadCommandLines: one line on standard error, exit status 1, nothing else,
// and nothing on the disk.
func TestBadCommandLines(t *testing.T) {
	serve := func(args ...string) []string { return append([]string{"serve"}, args...) }
	for _, c := range []struct {
		environment []string
		args        []string
		want        string
	}{
		{nil, []string{"sevre"}, `unknown command "sevre"; did you mean serve?`},
		{nil, []string{"--verbose"}, `unknown flag --verbose; did you mean --version?`},
		{nil, serve("now"), `serve takes no arguments, and "now" is one`},
		{nil, serve("--prtal", "x"), `unknown flag --prtal; did you mean --portal?`},
		{nil, serve("--portal"), `--portal wants a value`},
		{nil, serve("--portal", "here"), `--portal here: "here" is not an IP address and port; write it as "192.0.2.1:3260" or "[2001:db8::1]:3260"`},
		{nil, serve("--portal", "127.0.0.1:99999"), `--portal 127.0.0.1:99999: "99999" is not a TCP port; write one of 1 to 65535, or 0 for a free one`},
		{nil, serve("--portal", "192.0.2.1:0"), `--portal 192.0.2.1:0: this host has no address 192.0.2.1 (ip address shows what it has)`},
		{nil, serve("--target", "disk", "--portal", "127.0.0.1:0"), `--target disk: iSCSI name "disk" begins with none of "iqn.", "eui." and "naa." (RFC 7143 4.2.7)`},
		{nil, serve("--lun", "disk"), `--lun disk: wants NAME=PATH, as in --lun disk1=/srv/disk1.img,size=10GiB`},
		{nil, serve("--lun", "a=a.img,sise=1GiB"), `--lun a=a.img,sise=1GiB: sise: unknown key; did you mean size?`},
		{nil, serve("--lun", "a=a.img,size=1GiB,block-size=1000"), `--lun a=a.img,size=1GiB,block-size=1000: block-size: 1000 is not a block size; write 512 or 4096`},
		{nil, serve("--access", "all"), `--access all: "all" is not known; known: open, loopback`},
		{nil, serve("--chap", "alice"), `--chap: wants USER:FILE, where FILE holds the secret`},
		{nil, serve("--chap", "alice:none", "--portal", "127.0.0.1:0"), `--chap: cannot read the secret: open DIR/none: no such file or directory`},
		{nil, serve("--mutual-chap", "san:none"), `--mutual-chap: goes only with chap (RFC 7143 12.1.3); add --chap USER:FILE`},
		{nil, serve("--admin-listen", "0.0.0.0:0"), `--admin-listen 0.0.0.0:0: 0.0.0.0:0 is open to the network, where tokens could be read on their way; add --admin-tls self-signed, or listen on 127.0.0.1`},
		{nil, serve("--admin-listen", "here"), `--admin-listen here: "here" is not an IP address and port; write it as "192.0.2.1:3261" or "[2001:db8::1]:3261"`},
		{nil, serve("--admin-tls", "self-signed"), `--admin-tls self-signed: nothing says where to listen; add --admin-listen 127.0.0.1:3261`},
		{nil, serve("--admin-listen", "127.0.0.1:0", "--portal", "127.0.0.1:0", "--admin-token-file", "none"), `--admin-token-file none: cannot read the secret: open DIR/none: no such file or directory`},
		{[]string{"ISANTARGET_TOKEN=short"}, serve("--admin-listen", "127.0.0.1:0", "--portal", "127.0.0.1:0"), `$ISANTARGET_TOKEN: the token in the variable ISANTARGET_TOKEN has 5 bytes; it needs 16 to 255 (openssl rand -hex 32 makes one)`},
		{nil, []string{"status", "--socket", "http://192.0.2.1:3261"}, `http://192.0.2.1:3261 would send the token over the network for everybody to read; write https://192.0.2.1:3261`},
		{nil, []string{"status", "--socket", "https://192.0.2.1/x"}, `"https://192.0.2.1/x" does not name a daemon; write https://HOST:PORT`},
		{nil, []string{"status", "--socket", "https://127.0.0.1:1", "--token-file", "none"}, `cannot read the token: open none: no such file or directory`},
		{nil, []string{"status", "--socket", "http://127.0.0.1:1"}, `no daemon answers at http://127.0.0.1:1: the configuration of one has to say listen in [admin]`},
		{nil, []string{"store", "create", "x", "--path", "here", "--socket", "https://127.0.0.1:1"}, `here would be a file on the host of the daemon; write where it is there, from / on`},
		{nil, serve("--log-format", "xml"), `--log-format xml: "xml" is not known; known: text, json`},
		{nil, serve("--config", "none.toml"), `cannot read the configuration: open none.toml: no such file or directory`},
		{nil, serve("--config", "x.toml", "--state", "s"), `--config x.toml says all that is served, so --state cannot be given beside it; write it into the file, or leave --config out`},
		{[]string{"ISANTARGET_LUN=a=a.img"}, serve("--config", "x.toml"), `--config x.toml says all that is served, so $ISANTARGET_LUN cannot be given beside it; write it into the file, or leave --config out`},
		{[]string{"ISANTARGET_ACCESS=all"}, serve(), `--access all: "all" is not known; known: open, loopback`},
		{nil, []string{"check"}, `check wants one FILE: isantarget check /etc/isantarget/isantarget.toml`},
		{nil, []string{"check", "a", "b"}, `check wants one FILE: isantarget check /etc/isantarget/isantarget.toml`},
		{nil, []string{"check", "none.toml"}, `cannot read the configuration: open none.toml: no such file or directory`},
		{nil, []string{"session", "lst"}, `session has no verb "lst"; did you mean list?`},
		{nil, []string{"session", "list", "--jsn"}, `unknown flag --jsn; did you mean --json?`},
		{nil, []string{"session", "list", "all"}, `wants no arguments: isantarget session list`},
		{nil, []string{"session", "logout"}, `wants one argument: isantarget session logout TSIH`},
		{nil, []string{"healthcheck", "--json"}, `unknown flag --json; known: --portal, --help`},
		{nil, []string{"session", "logout", "x"}, `"x" is not the number of a session; see: isantarget session list`},
		{nil, []string{"lun", "access-state", "a", "x", "standby"}, `"x" is not the number of a target port group; see: isantarget lun list`},
		{nil, []string{"reload", "--socket", "none"}, `no daemon answers at none: start one, or say where its state is with --state DIR or --socket FILE`},
		{nil, []string{"target", "list", "--state", "none"}, `no daemon answers at none/admin.sock: start one, or say where its state is with --state DIR or --socket FILE`},
		{[]string{"ISANTARGET_SOCKET=none"}, []string{"reservation", "clear", "a"}, `no daemon answers at none: start one, or say where its state is with --state DIR or --socket FILE`},
		{nil, []string{"version", "x"}, `version takes no arguments, and "x" is one`},
		{nil, []string{"healthcheck", "--portal", "x"}, `--portal: "x" is not an IP address and port; write it as "192.0.2.1:3260" or "[2001:db8::1]:3260"`},
	} {
		t.Run(strings.Join(append(c.environment, c.args...), " "), func(t *testing.T) {
			dir := t.TempDir()
			got := isantarget(t, dir, c.environment, c.args...)
			want := "isantarget: " + strings.ReplaceAll(c.want, "DIR/", dir+"/") + "\n"
			if got.status != 1 || got.stdout != "" || got.stderr != want {
				t.Errorf("status %d, stdout %q, stderr\n%s\nwant status 1 and\n%s", got.status, got.stdout, got.stderr, want)
			}
			left, _ := os.ReadDir(dir)
			if len(left) > 0 && !strings.Contains(c.want, "this host has no address") { // found out by trying, when the state is locked already
				t.Errorf("it left %v behind", left)
			}
		})
	}
}

// TestTwoDaemons: the second on a state directory or an image is told who has it.
func TestTwoDaemons(t *testing.T) {
	p := newProcess(t, "serve", "--portal", "127.0.0.1:0", "--lun", "a=a.img,size=1MiB")
	p.await("--login")
	for _, c := range []struct{ state, lun, want string }{
		{"other", "b=b.img", "there is none: no such file or directory; to have it made, say how big: size=10GiB"},
		{"other", "b=a.img", fmt.Sprintf("in use by process %d (isantarget)", p.cmd.Process.Pid)},
		{"isantarget-data", "b=b.img,size=1MiB", fmt.Sprintf("another isantarget (process %d) uses it; stop that one, or give this one a directory of its own (--state)", p.cmd.Process.Pid)},
	} {
		got := isantarget(t, p.cmd.Dir, nil, "serve", "--portal", "127.0.0.1:0", "--state", c.state, "--lun", c.lun)
		if got.status != 1 || got.stdout != "" || !strings.Contains(got.stderr, c.want) || strings.Count(got.stderr, "\n") != 1 {
			t.Errorf("--state %s --lun %s: status %d, stdout %q, stderr %q, want one line with %q", c.state, c.lun, got.status, got.stdout, got.stderr, c.want)
		}
	}
}

func TestCheck(t *testing.T) {
	files, err := filepath.Glob("../../configs/examples/*.toml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range append(files, "../../configs/isantarget.toml") {
		got := isantarget(t, "", nil, "check", file)
		if got.status != 0 || !strings.Contains(got.stdout, "LUN 0: ") {
			t.Errorf("check %s: status %d\n%s%s", file, got.status, got.stdout, got.stderr)
		}
		for line := range strings.Lines(got.stderr) { // the secrets are not on this host
			if !strings.HasPrefix(line, "isantarget: warning: "+file) || !strings.Contains(line, "no such file or directory") {
				t.Errorf("check %s: %s", file, line)
			}
		}
	}
	got := isantarget(t, "", nil, "check", "../../configs/examples/hyperv-cluster.toml")
	const want = `state in /var/lib/isantarget
portal group 1 on 10.20.1.1:3260
portal group 2 on 10.20.2.1:3260

iqn.2026-11.com.example:hyperv
  LUN 0: witness, 1GiB, fixed, /srv/ssd/witness.img
  LUN 1: csv1, 2TiB, fixed, /srv/ssd/csv1.img
  for iqn.1991-05.com.microsoft:hv1.example.com by CHAP as iqn.1991-05.com.microsoft:hv1.example.com
    LUN 0: witness, 1GiB, fixed, /srv/ssd/witness.img
    LUN 1: csv1, 2TiB, fixed, /srv/ssd/csv1.img
    LUN 2: hv1-scratch, 100GiB, /srv/ssd/hv1-scratch.img
  for iqn.1991-05.com.microsoft:hv2.example.com by CHAP as iqn.1991-05.com.microsoft:hv2.example.com
`
	if got.stdout != want {
		t.Errorf("got\n%s\nwant\n%s", got.stdout, want)
	}
}

// TestCheckTellsAll: every error is told, each in a line.
func TestCheckTellsAll(t *testing.T) {
	dir := t.TempDir()
	text := "sate = \"/x\"\n[[lun]]\nname = \"a\"\npath = \"/a\"\nsize = \"1G\"\n[[target]]\nname = \"iqn.2026-11.org.example:a\"\nluns = { 0 = \"b\" }\n"
	if err := os.WriteFile(filepath.Join(dir, "san.toml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"check", "san.toml"}, {"serve", "--config", "san.toml"}} {
		got := isantarget(t, dir, nil, args...)
		want := `isantarget: san.toml:1: sate: unknown key; did you mean state?
isantarget: san.toml:5: lun.size: "1G" may mean powers of two or of ten; write 1GiB or 1GB
isantarget: san.toml:8: target.luns.0: there is no LUN "b"; known: a
`
		if got.status != 1 || got.stdout != "" || got.stderr != want {
			t.Errorf("%v: status %d, stdout %q, stderr\n%s\nwant\n%s", args, got.status, got.stdout, got.stderr, want)
		}
	}
}

func TestVersionAndHelp(t *testing.T) {
	got := isantarget(t, "", nil, "version")
	if got.status != 0 || got.stderr != "" || !strings.HasPrefix(got.stdout, "isantarget ") || len(got.stdout) < len("isantarget x\n") {
		t.Errorf("version: %+v", got)
	}
	for _, args := range [][]string{{}, {"--help"}, {"serve", "--help"}, {"check", "--help"}} {
		got := isantarget(t, "", nil, args...)
		if got.status != 0 || got.stderr != "" || !strings.Contains(got.stdout, "USAGE:") {
			t.Errorf("%v: %+v", args, got)
		}
	}
	help := isantarget(t, "", nil, "serve", "--help").stdout
	for _, key := range []string{"--config", "--ready-file", "--state", "--portal", "--target", "--lun", "--access", "--chap", "--mutual-chap", "--log-format", "--log-level",
		"$ISANTARGET_LUN", "$ISANTARGET_STATE", configs.DefaultTarget, string(configs.DefaultPortal)} {
		if !strings.Contains(help, key) {
			t.Errorf("serve --help does not tell of %s", key)
		}
	}
}

// TestHelpFitsATerminal: no line is wider than a terminal, and every flag is there.
func TestHelpFitsATerminal(t *testing.T) {
	for _, args := range [][]string{{"serve"}, {"check"}, {"reload"}, {"lun", "access-state"}, {"session", "list"}, {"reservation", "clear"}, {"healthcheck"}} {
		got := isantarget(t, t.TempDir(), nil, append(args, "--help")...)
		if got.status != 0 || got.stderr != "" {
			t.Errorf("%q: status %d, %s", args, got.status, got.stderr)
		}
		for line := range strings.Lines(got.stdout) {
			if len(strings.TrimSuffix(line, "\n")) > 100 {
				t.Errorf("%q: %d columns: %s", args, len(line), line)
			}
		}
	}
	for _, f := range objectFlags() {
		if help := isantarget(t, t.TempDir(), nil, "serve", "--help").stdout; !strings.Contains(help, "\n   --"+f.Names()[0]) {
			t.Errorf("the help of serve lacks --%s", f.Names()[0])
		}
	}
}
