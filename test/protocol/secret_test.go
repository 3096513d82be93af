package protocol_test

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/iscsi"
	"github.com/isantarget/isantarget/test/daemon"
)

// Whatever goes wrong with CHAP, no secret is seen: not in the log at its most talkative,
// not in the arguments of the process, not on the admin socket, not in the errors of a
// configuration that is wrong around them.
func TestSecretsAreNotShown(t *testing.T) {
	text := secretFiles(t, `
[log]
level = "debug"
[discovery]
chap = { user = "finder", secret-file = "$finder" }
mutual-chap = { user = "san", secret-file = "$san" }
`+guarded)
	d := serve(t, text)
	login(t, d, withCHAP(initiator.CHAP{User: "alice", Secret: secrets["alice"], TargetSecret: secrets["san"]})).alive()
	for name, c := range map[string]initiator.CHAP{
		"wrong secret":   {User: "alice", Secret: secrets["bob"]},
		"unknown user":   {User: "nobody", Secret: secrets["alice"]},
		"reflection":     {User: "alice", Reflect: true},
		"no algorithm":   {User: "alice", Secret: secrets["alice"], Algorithms: []string{"99"}},
		"odd challenge":  {User: "alice", Secret: secrets["alice"], TargetSecret: secrets["san"], EditKeys: edit("CHAP_C", "0x")},
		"odd identifier": {User: "alice", Secret: secrets["alice"], TargetSecret: secrets["san"], EditKeys: edit("CHAP_I", "999")},
		"odd response":   {User: "alice", Secret: secrets["alice"], EditKeys: edit("CHAP_R", "0xnonsense")},
	} {
		if err := dial(t, d).Login(withCHAP(c)); err == nil {
			t.Errorf("%s: the login succeeds", name)
		}
	}
	if err := dial(t, d).Login(initiator.Login{InitiatorName: alice, SessionType: "Discovery", CHAP: &initiator.CHAP{User: "finder", Secret: secrets["bob"]}}); err == nil {
		t.Error("a discovery session with the wrong secret")
	}
	seen := map[string]string{"the log": d.Log()}
	for _, name := range []string{"cmdline", "comm"} {
		p, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", d.PID(), name))
		if err != nil {
			t.Fatal(err)
		}
		seen[name] = string(p)
	}
	for _, path := range []string{"/sessions", "/luns", "/targets", "/reservations", "/jobs", "/config/target", "/config/lun", "/config/" + "portal-group", "/nonsense"} {
		seen[path] = admin(t, d, path)
	}
	_, seen["check"] = daemon.Run(t, "check", configurationOf(t, d))
	bad := filepath.Join(t.TempDir(), "bad.toml")
	if err := os.WriteFile(bad, []byte(strings.ReplaceAll(text, `access = "open"`, `access = "opne"`)), 0o600); err != nil {
		t.Fatal(err)
	}
	_, seen["check of a wrong file"] = daemon.Run(t, "check", bad)
	for user, secret := range secrets {
		for _, form := range []string{secret, hex.EncodeToString([]byte(secret)), base64.StdEncoding.EncodeToString([]byte(secret)), fmt.Sprint([]byte(secret))} {
			for where, what := range seen {
				if strings.Contains(strings.ToLower(what), strings.ToLower(form)) {
					t.Errorf("the secret of %s is shown by %s", user, where)
				}
			}
		}
	}
	if !strings.Contains(seen["the log"], "nobody") || !strings.Contains(seen["/targets"], target) {
		t.Errorf("this test does not see what it should: %q, %q", seen["the log"], seen["/targets"])
	}
}

// edit replaces a key of the initiator's answer.
func edit(key, value string) func(string, []iscsi.KeyValue) []iscsi.KeyValue {
	return func(step string, kv []iscsi.KeyValue) []iscsi.KeyValue {
		if step == "response" {
			return replace(kv, key, value)
		}
		return kv
	}
}

// configurationOf is the file that the daemon was started with.
func configurationOf(t *testing.T, d *daemon.Daemon) string {
	t.Helper()
	p, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", d.PID()))
	if err != nil {
		t.Fatal(err)
	}
	words := strings.Split(string(p), "\x00")
	for i, w := range words {
		if w == "--config" {
			return words[i+1]
		}
	}
	t.Fatalf("no configuration in %q", words)
	return ""
}

// admin is what the admin socket answers to GET.
func admin(t *testing.T, d *daemon.Daemon, path string) string {
	t.Helper()
	text, err := os.ReadFile(configurationOf(t, d))
	if err != nil {
		t.Fatal(err)
	}
	state := regexp.MustCompile(`(?m)^state = "(.*)"`).FindStringSubmatch(string(text))
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(state[1], "admin.sock"))
	}}}
	r, err := client.Get("http://daemon" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// A flood of guesses keeps nobody out who knows the secret and comes from elsewhere, and
// most of them are not even looked at.
func TestGuessesSlowNobodyElse_RFC7143_9_2_1(t *testing.T) {
	d := serveFile(t, secretFiles(t, `
[[portal-group]]
tag = 1
listen = ["0.0.0.0:0"]
`+guarded))
	_, port, err := net.SplitHostPort(d.Address())
	if err != nil {
		t.Fatal(err)
	}
	from := func(host string, secret string) error {
		local := &net.TCPAddr{IP: net.ParseIP(host)}
		c, err := initiator.Dial(net.JoinHostPort("127.0.0.1", port), initiator.Options{Local: local})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.Login(withCHAP(initiator.CHAP{User: "alice", Secret: secret}))
	}
	for i := range 40 {
		if err := from("127.0.0.2", fmt.Sprint("guess number ", i)); err == nil {
			t.Fatal("a guess is let in")
		}
		if i%10 == 9 {
			if err := from("127.0.0.3", secrets["alice"]); err != nil {
				t.Fatalf("after %d guesses from elsewhere: %v", i+1, err)
			}
		}
	}
	if !strings.Contains(d.Log(), "too often") {
		t.Error("nothing in the log says that somebody guesses")
	}
}
