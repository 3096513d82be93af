package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"

	"github.com/isantarget/isantarget/admin"
	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/provision"
)

// newService is a daemon in this process, until the test ends.
func newService(tb testing.TB) *service {
	tb.Helper()
	dir := tb.TempDir()
	file := filepath.Join(dir, "san.toml")
	text := "state = \"state\"\nlimits = { drain-timeout = \"1s\" }\n[[portal-group]]\ntag = 1\nlisten = [\"127.0.0.1:0\"]\n" +
		"[[lun]]\nname = \"a\"\nkind = \"null\"\nsize = \"1MiB\"\n[[target]]\nname = \"iqn.2026-11.org.example:t\"\nluns = { 0 = \"a\" }\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	log := logrus.New()
	log.SetOutput(io.Discard)
	from := func() (configs.Written, error) { return configs.Read(file) }
	s := &service{Sides: provision.NewSides(provision.New(provision.Options{Log: log}), from), file: file, log: log, until: context.Background()}
	if _, err := s.Reload(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if _, err := s.Provisioner.Apply(context.Background(), configs.Config{}); err != nil {
			tb.Error(err)
		}
	})
	return s
}

// FuzzAPI: whatever a caller sends, there is an answer with a reason, and what is on the
// disk is what is in memory.
func FuzzAPI(f *testing.F) {
	for _, seed := range []struct{ method, path, body string }{
		{"POST", "/changes", `{"put": [{"table": "lun", "object": {"name": "b", "kind": "null", "size": "1MiB"}}, {"table": "map", "object": {"target": "iqn.2026-11.org.example:t", "lun": "b"}}]}`},
		{"POST", "/changes", `{"delete": [{"table": "lun", "name": "b", "version": "*", "image": true}]}`},
		{"POST", "/config/lun", `{"name": "c", "kind": "memory", "size": 4096, "layer": [{"kind": "fault", "faults": ["error=EIO"]}]}`},
		{"POST", "/config/target", `{"name": "iqn.2026-11.org.example:u", "luns": {"1": "a"}, "rule": [{"networks": ["10.0.0.1"], "luns": {}}], "access-state": [{"portal-group": 1}]}`},
		{"PUT", "/config/target/iqn.2026-11.org.example:u", `{"name": "iqn.2026-11.org.example:u", "chap": {"user": "u", "secret-env": "S"}}`},
		{"POST", "/config/rule", `{"name": "r", "target": "iqn.2026-11.org.example:t", "initiators": ["iqn.2026-11.org.example:i"]}`},
		{"DELETE", "/config/rule/r", ``}, {"POST", "/config/store", `{"name": "s"}`}, {"GET", "/config/map", ``}, {"GET", "/config/lun/a", ``},
		{"POST", "/plan", `{"name": "n", "dir": "/", "text": "[[lun]]"}`}, {"POST", "/apply", `{"file": "/x"}`}, {"POST", "/reload", `null`}, {"POST", "/config/portal-group", `{"tag": 70000, "listen": []}`},
		{"PUT", "/luns/a/access-states/1", `{"state": "standby"}`}, {"POST", "/config/lun", `[[[[[[`}, {"POST", "/changes", `{"put": [{"object": null}]}`},
		{"POST", "/luns/a/grow", `{"size": "2MiB"}`}, {"POST", "/luns/a/shrink", `{"size": "4096", "allow-data-loss": true}`}, {"PUT", "/luns/a/faults", `{"faults": ["x"]}`}, {"GET", "/events?after=x", ``}, {"DELETE", "/sessions/1", ``},
	} {
		f.Add(seed.method, seed.path, seed.body)
	}
	s := newService(f)
	handler := admin.NewServer(s, s.log, nil).Handler()
	f.Fuzz(func(t *testing.T, method, path, body string) {
		for _, elsewhere := range []string{"path", "listen", `\`, "/dev"} { // not beyond the state directory
			if strings.Contains(body, elsewhere) && !strings.Contains(body, "70000") {
				return
			}
		}
		if path == "" || path[0] != '/' || path == "/events" || strings.HasPrefix(path, "/events?") && path != "/events?after=x" {
			return
		}
		r, err := http.NewRequest(method, "http://isantarget"+path, strings.NewReader(body))
		if err != nil {
			return
		}
		r.Header.Set("If-Match", "*")
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code == http.StatusInternalServerError {
			t.Fatalf("%s %s %s: %s", method, path, body, w.Body)
		}
		kept, err := s.Load()
		if err != nil {
			t.Fatalf("%s %s %s: and what is kept cannot be served: %v", method, path, body, err)
		}
		for _, table := range configs.Tables() {
			disk, memory := kept.Placed(table), s.Objects(table)
			if len(disk) != len(memory) {
				t.Fatalf("%s %s %s: %d on the disk, %d in memory", method, path, body, len(disk), len(memory))
			}
			for i := range disk {
				if disk[i].Name() != memory[i].Name || provision.VersionOf(disk[i].Object) != memory[i].Version || disk[i].Where != memory[i].Where {
					t.Fatalf("%s %s %s: on the disk\n%s%s\nin memory\n%s%s", method, path, body, disk[i].Where, disk[i].TOML(), memory[i].Where, memory[i].Object.TOML())
				}
			}
		}
	})
}
