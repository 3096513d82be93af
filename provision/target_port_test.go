package provision

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/internal/initiator"
)

const manyPorts = `
[[portal-group]]
tag = 1
listen = ["127.0.0.1:0"]
[[portal-group]]
tag = 2
listen = ["127.0.0.1:0"]
[[lun]]
name = "a"
kind = "memory"
size = "1MiB"
[[lun]]
name = "b"
kind = "memory"
size = "1MiB"
[[target]]
name = "iqn.2026-11.org.isantarget.test:a"
access = "open"
luns = { 0 = "a", 1 = "b" }
[[target.access-state]]
portal-group = 2
state = "standby"
[[target.access-state]]
portal-group = 2
luns = ["b"]
state = "unavailable"
preferred = true
[[target]]
name = "iqn.2026-11.org.isantarget.test:second"
access = "open"
portal-groups = [2]
luns = { 7 = "a" }
[[target.access-state]]
portal-group = 2
state = "non-optimized"
`

// A LUN that two targets map has the ports of both, each with a number and a state of
// its own; and each port says which it is.
func TestTargetPorts(t *testing.T) {
	dir := t.TempDir()
	d := start(t, dir, manyPorts)
	groupsOf := func(target, lun int) ([]byte, []byte) {
		c, err := initiator.Dial(d.report.Targets[target].Portals[0], initiator.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		name := d.report.Targets[target].Name
		if err := c.Login(initiator.Login{InitiatorName: alice, TargetName: name, SessionType: "Normal", ISID: initiator.RandomISID()}); err != nil {
			t.Fatal(err)
		}
		report := do(t, c, initiator.Command{LUN: initiator.LUN(uint8(lun)), CDB: []byte{0xa3, 0x0a, 8: 1, 11: 0}, Read: 256})
		page := do(t, c, initiator.Command{LUN: initiator.LUN(uint8(lun)), CDB: []byte{0x12, 1, 0x83, 1, 0, 0}, Read: 256})
		return report.Data, page.Data
	}
	group := func(state byte, id uint16) []byte {
		b := []byte{state, 0x8f, byte(id >> 8), byte(id), 0, 0, 0, 1, 0, 0, 0, 0}
		binary.BigEndian.PutUint16(b[10:], id)
		return b
	}
	wantA := append([]byte{0, 0, 0, 36}, bytes.Join([][]byte{group(0, 1), group(2, 2), group(1, 3)}, nil)...)
	wantB := append([]byte{0, 0, 0, 24}, bytes.Join([][]byte{group(0, 1), group(0x83, 2)}, nil)...)
	for _, c := range []struct {
		target, lun int
		port        byte
		want        []byte
	}{{0, 0, 1, wantA}, {1, 7, 3, wantA}, {0, 1, 1, wantB}} {
		report, page := groupsOf(c.target, c.lun)
		if !bytes.Equal(report, c.want) {
			t.Errorf("target %d LUN %d reports\n%x, want\n%x", c.target, c.lun, report, c.want)
		}
		if names := []byte{0x51, 0x94, 0, 4, 0, 0, 0, c.port, 0x51, 0x95, 0, 4, 0, 0, 0, c.port}; !bytes.Contains(page, names) {
			t.Errorf("target %d LUN %d: VPD page 83h\n%x", c.target, c.lun, page)
		}
	}
}

// Numbers of ports that cannot be known refuse the configuration: wrong ones would
// mix up paths.
func TestTargetPorts_DamagedState(t *testing.T) {
	dir := t.TempDir()
	d := newDaemon()
	if err := os.MkdirAll(filepath.Join(dir, "state"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "state", "target-ports.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Apply(t.Context(), parse(t, dir, manyPorts)); err == nil {
		t.Error("the configuration is served")
		d.stop(t)
	}
	var none configs.Config
	if _, err := d.Apply(t.Context(), none); err != nil {
		t.Error(err)
	}
}
