package guest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/isantarget/isantarget/admin"
	"github.com/isantarget/isantarget/test/daemon"
	"github.com/isantarget/isantarget/test/variation"
)

// changes applies a hundred configurations, by the file and by objects, while fio writes and
// verifies on a disk that none of them is about.
func changes(t *testing.T, g *Guest) {
	const initiator = "iqn.2026-11.org.isantarget.test:guest"
	dir, port := t.TempDir(), daemon.FreePort(t)
	file := filepath.Join(dir, "san.toml")
	write := func(v variation.Variation) {
		t.Helper()
		text := fmt.Sprintf("state = \"state\"\n[[portal-group]]\ntag = 1\nlisten = [\"127.0.0.1:%d\"]\n", port) +
			"[[lun]]\nname = \"disk\"\npath = \"disk.img\"\nsize = \"64MiB\"\n" +
			fmt.Sprintf("[[target]]\nname = %q\nportal-groups = [1]\n[[target.rule]]\ninitiators = [%q]\nluns = { 0 = \"disk\" }\n", daemon.Target, initiator)
		if err := os.WriteFile(file, []byte(text+v.File()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	now := variation.Empty()
	write(now)
	d := daemon.Start(t, daemon.Config{File: file})
	c := admin.NewClient(filepath.Join(dir, "state", admin.SocketName))
	t.Cleanup(c.Close)
	session := func() string {
		t.Helper()
		all, err := c.Sessions(t.Context())
		if err != nil || len(all) != 1 {
			t.Fatalf("%+v, %v, want one session", all, err)
		}
		return fmt.Sprintf("TSIH %d, ISID %v, since %v, by %+v", all[0].TSIH, all[0].ISID, all[0].Since, all[0].Connections)
	}
	env := environment(d)
	env["INITIATOR"] = initiator
	s := g.Start(t, 2*bound, env, script(t, "changes"))
	s.Await("loaded")
	before := session()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for i, random := 0, rand.New(rand.NewPCG(seed, 0)); i < 100; i++ {
		next := variation.New(random, daemon.Target)
		if i%2 == 0 {
			write(next)
			if _, err := c.Reload(t.Context()); err != nil {
				t.Fatalf("reload %d: %v", i, err)
			}
			continue
		}
		if _, err := c.Edit(t.Context(), now.To(next)); err != nil {
			t.Fatalf("change %d: %v", i, err)
		}
		now = next
	}
	if after := session(); after != before {
		t.Errorf("the session was %s, and is %s", before, after)
	}
	s.Signal("changed")
	t.Logf("the guest:\n%s", s.Wait())
	if strings.Contains(d.Log(), "session lost") {
		t.Error("a session was lost")
	}
}
