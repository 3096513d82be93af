package peer

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/isantarget/isantarget/bench/machine"
)

func TestStartRefuses(t *testing.T) {
	if _, err := Start(context.Background(), "lio", Options{Directory: t.TempDir()}); err == nil || !strings.Contains(err.Error(), "istgt") {
		t.Errorf("an unknown peer: %v, want the names there are", err)
	}
}

// A peer that is not installed says what to install.
func TestMissingSaysWhatToInstall(t *testing.T) {
	t.Setenv("PATH", "/nonexistent")
	for _, name := range []string{"tgt", "istgt"} {
		_, err := Start(context.Background(), name, Options{Directory: t.TempDir(), Size: 1 << 20, Port: 1})
		var m *Missing
		if !errors.As(err, &m) || !strings.Contains(err.Error(), "apt-get install "+name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A peer that ends at once is told with what it said.
func TestStartTellsOfAPeerThatEnds(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "broken")
	if err := os.WriteFile(binary, []byte("#!/bin/sh\necho no such flag\nexit 2\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := Start(context.Background(), "isantarget", Options{Directory: t.TempDir(), Size: 1 << 20, Port: 1, Binary: binary})
	if err == nil || !strings.Contains(err.Error(), "no such flag") {
		t.Errorf("%v", err)
	}
}

func TestFill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "image")
	if err := fill(path, 3<<20+512); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil || len(before) != 3<<20+512 || strings.Count(string(before), "\x00") > len(before)/100 {
		t.Errorf("%v: %d bytes, %d of them zero", err, len(before), strings.Count(string(before), "\x00"))
	}
	if share, err := machine.Resident(path); err != nil || share < 1 {
		t.Errorf("%v of the image is in the page cache, %v", share, err)
	}
	before[0]++
	if err := os.WriteFile(path, before, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := fill(path, int64(len(before))); err != nil {
		t.Fatal(err)
	}
	if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
		t.Error("an image that was there has been changed")
	}
}

func TestGotgtConfiguration(t *testing.T) {
	p := &Peer{Name: "gotgt", Address: "127.0.0.1:13290", Target: "iqn.x", Image: "/a \"b\"/image"}
	o := Options{Directory: t.TempDir()}
	if err := gotgtConfiguration(p, o); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(o.Directory, ".gotgt", "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	var c struct {
		Storages []struct{ Path string }
		Targets  map[string]struct{ Luns map[string]int } `json:"iscsitargets"`
	}
	if err := json.Unmarshal(text, &c); err != nil || len(c.Storages) != 1 || c.Storages[0].Path != "file:"+p.Image || c.Targets["iqn.x"].Luns["0"] != 1000 {
		t.Errorf("%v: %+v", err, c)
	}
}

func TestHasListener(t *testing.T) {
	const text = `  sl  local_address rem_address   st tx_queue rx_queue
   0: 0100007F:33CC 00000000:0000 0A 00000000:00000000
   1: 0100007F:33CD 0100007F:1234 01 00000000:00000000
`
	if !hasListener(text, 0x33cc) || hasListener(text, 0x33cd) || hasListener(text, 0x1234) {
		t.Error("only port 33CC is one somebody listens on")
	}
}
