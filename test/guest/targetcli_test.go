package guest

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/isantarget/isantarget/test/daemon"
)

// targetcli: disks that the guest's kernel serves, as targetcli has configured it, move here.
// The guest finds the same disks: by their names in /dev/disk/by-id, VPD pages and data.
func targetcli(t *testing.T, g *Guest) {
	address := fmt.Sprintf("127.0.0.1:%d", daemon.FreePort(t))
	env := map[string]string{"INITIATOR": "iqn.2026-11.org.isantarget.test:guest", "PORTAL": address}
	s := g.Start(t, 3*bound, env, script(t, "targetcli"))
	s.Await("given-up")

	dir := t.TempDir()
	secrets := filepath.Join(dir, "secrets")
	status, printed := daemon.Run(t, "import", "--secrets", secrets, g.Shared("saveconfig.json"))
	if status != 0 {
		t.Fatalf("import: %d %s", status, printed)
	}
	var told, made strings.Builder
	for line := range strings.Lines(printed) {
		if strings.HasPrefix(line, "isantarget: ") {
			told.WriteString(line)
		} else {
			made.WriteString(line)
		}
	}
	for _, words := range []string{
		"portal group 2 of iqn.2003-01.org.linux-iscsi.lio.x8664:sn.a is left out",
		"iqn.2026-11.org.example:reader had to prove itself, but had no user",
		"storage object ram is memory",
	} {
		if !strings.Contains(told.String(), words) {
			t.Errorf("it is not told that %s:\n%s", words, told.String())
		}
	}
	if text := made.String(); !strings.Contains(text, "state = \"non-optimized\"") || !strings.Contains(text, "readonly = true") || !strings.Contains(text, "write-cache = false") {
		t.Errorf("settings are lost:\n%s", text)
	}
	// The guest's files are the host's in other places, and its loop devices files.
	text := strings.NewReplacer("/run/lio/", g.Shared("")+"/", "/dev/loop0", g.Shared("block.img"), "/dev/loop1", g.Shared("readonly.img"),
		"127.0.0.1:3260", address, "127.0.0.1:3261", fmt.Sprintf("127.0.0.1:%d", daemon.FreePort(t))).Replace(made.String())
	file := filepath.Join(dir, "isantarget.toml")
	if err := os.WriteFile(file, []byte("state = \"state\"\n"+text), 0o600); err != nil {
		t.Fatal(err)
	}
	daemon.Start(t, daemon.Config{File: file})
	s.Signal("served")
	s.Wait()

	// What is in memory stays there; and the name of a disk as a SCSI name string is one more.
	other := regexp.MustCompile(`(?m)^look (b LUN 6: [0-9a-f]{64}  -|.*naa\.[0-9a-f]{32})\n`)
	looked := func(name string) string {
		text, err := os.ReadFile(g.Shared(name))
		if err != nil {
			t.Fatal(err)
		}
		return other.ReplaceAllString(string(text), "")
	}
	before, after := looked("before"), looked("after")
	if strings.Count(before, "by-id/scsi-36001405") != 5 || strings.Count(before, "bytes 2097152") != 4 {
		t.Errorf("the guest has not seen all of the disks:\n%s", before)
	}
	if before != after {
		t.Errorf("of the kernel's target the guest has seen\n%s\nand of isantarget\n%s", before, after)
	}
	t.Logf("the guest has seen, of both,\n%s", before)
}
