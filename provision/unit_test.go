package provision

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/iscsi"
	"github.com/isantarget/isantarget/target"
	process "github.com/isantarget/isantarget/test/daemon"
)

// TestShape: what the configuration says of a LUN is what initiators are told.
func TestShape(t *testing.T) {
	d := start(t, t.TempDir(), `
[[lun]]
name = "plain"
path = "plain.img"
size = "1MiB"
[[lun]]
name = "special"
path = "special.img"
size = "2MiB"
provisioning = "fixed"
block-size = 4096
physical-block-size = 16384
write-cache = false
removable = true
[[lun]]
name = "protected"
kind = "memory"
size = "1MiB"
physical-block-size = 4096
readonly = true
[[target]]
name = "`+name+`"
luns = { 0 = "plain", 1 = "special", 300 = "protected" }
`)
	c := d.mustLogin(t, alice, nil)
	for _, want := range []struct {
		lun                               uint64
		blocks                            uint64
		blockSize                         uint32
		exponent                          byte
		thin, cache, protected, removable bool
	}{
		{lun: initiator.LUN(0), blocks: 2048, blockSize: 512, thin: true, cache: true},
		{lun: initiator.LUN(1), blocks: 512, blockSize: 4096, exponent: 2, removable: true},
		{lun: (0x4000 | 300) << 48, blocks: 2048, blockSize: 512, exponent: 3, thin: true, cache: true, protected: true},
	} {
		capacity := do(t, c, initiator.Command{LUN: want.lun, CDB: []byte{0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0}, Read: 32}).Data
		if len(capacity) < 16 {
			t.Fatalf("READ CAPACITY (16) of %x: %x", want.lun, capacity)
		}
		if got := binary.BigEndian.Uint64(capacity) + 1; got != want.blocks {
			t.Errorf("LUN %x has %d blocks, want %d", want.lun, got, want.blocks)
		}
		if got := binary.BigEndian.Uint32(capacity[8:]); got != want.blockSize {
			t.Errorf("LUN %x has blocks of %d, want %d", want.lun, got, want.blockSize)
		}
		if got := capacity[13] & 0xf; got != want.exponent {
			t.Errorf("LUN %x: LBPPBE %d, want %d", want.lun, got, want.exponent)
		}
		if got := capacity[14]&0x80 != 0; got != want.thin {
			t.Errorf("LUN %x: LBPME %v, want %v", want.lun, got, want.thin)
		}
		caching := do(t, c, initiator.Command{LUN: want.lun, CDB: []byte{0x1a, 0x08, 0x08, 0, 255, 0}, Read: 255}).Data
		if len(caching) < 7 {
			t.Fatalf("MODE SENSE of %x: %x", want.lun, caching)
		}
		if got := caching[6]&4 != 0; got != want.cache {
			t.Errorf("LUN %x: WCE %v, want %v", want.lun, got, want.cache)
		}
		if got := caching[2]&0x80 != 0; got != want.protected {
			t.Errorf("LUN %x: WP %v, want %v", want.lun, got, want.protected)
		}
		inquiry := do(t, c, initiator.Command{LUN: want.lun, CDB: []byte{0x12, 0, 0, 0, 96, 0}, Read: 96}).Data
		if got := inquiry[1]&0x80 != 0; got != want.removable {
			t.Errorf("LUN %x: RMB %v, want %v", want.lun, got, want.removable)
		}
		if got := strings.TrimSpace(string(inquiry[32:36])); got != "1.0" {
			t.Errorf("LUN %x: revision %q, want 1.0", want.lun, got)
		}
	}
}

// TestAbsentLUN: INQUIRY says that nothing is there (SPC-4 6.6.2).
func TestAbsentLUN(t *testing.T) {
	d := start(t, t.TempDir(), oneTarget)
	c := d.mustLogin(t, alice, nil)
	r := do(t, c, initiator.Command{LUN: initiator.LUN(9), CDB: []byte{0x12, 0, 0, 0, 36, 0}, Read: 36})
	if len(r.Data) == 0 || r.Data[0] != 0x7f {
		t.Errorf("INQUIRY of LUN 9: %x, want 7f", r.Data)
	}
	if key, code := ready(t, c, 9); key != 5 || code != 0x2500 {
		t.Errorf("TEST UNIT READY of LUN 9: sense %x/%04x, want 5/2500", key, code)
	}
}

// TestNothingIsMadeForARefusedConfiguration: images that were made for it are
// removed, those that were there are not.
func TestNothingIsMadeForARefusedConfiguration(t *testing.T) {
	for _, bad := range []string{
		`path = "none.img"`,                           // refused before anything is made
		"path = \"no/folder/x.img\"\nsize = \"1MiB\"", // refused while it is made
	} {
		dir := t.TempDir()
		old := write(t, filepath.Join(dir, "old.img"), strings.Repeat("data", 1024), 0o600)
		text := fmt.Sprintf("[[lun]]\nname = \"new\"\npath = \"new.img\"\nsize = \"1MiB\"\n[[lun]]\nname = \"old\"\npath = %q\n[[lun]]\nname = \"bad\"\n%s\n", old, bad)
		if _, err := newDaemon().Apply(context.Background(), parse(t, dir, text)); err == nil {
			t.Fatal("it was served")
		}
		if _, err := os.Stat(filepath.Join(dir, "new.img")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("with %q: the new image is still there: %v", bad, err)
		}
		if data, err := os.ReadFile(old); err != nil || !strings.HasPrefix(string(data), "datadata") {
			t.Errorf("with %q: the old image: %v", bad, err)
		}
	}
}

func TestWarningsOfImages(t *testing.T) {
	dir := t.TempDir()
	text := func(size string) string {
		return "[[lun]]\nname = \"x\"\npath = \"x.img\"\nsize = \"" + size + "\"\n[[target]]\nname = \"" + name + "\"\nluns = { 0 = \"x\" }\n"
	}
	run := func(size string) string {
		d := start(t, dir, text(size))
		d.stop(t)
		return strings.Join(d.report.Warnings, "\n")
	}
	if w := run("1MiB"); w != "" {
		t.Errorf("a new LUN: %s", w)
	}
	if w, want := run("2MiB"), `LUN "x" keeps the size of its image, 1MiB; the configuration says 2MiB: to make it that big, isantarget lun grow x 2MiB`; w != want {
		t.Errorf("another size:\n%s\nwant\n%s", w, want)
	}
	if w, want := run("512KiB"), `LUN "x" keeps the size of its image, 1MiB; the configuration says 512KiB: if it has grown, write size = "1MiB" there`; w != want {
		t.Errorf("a smaller size:\n%s\nwant\n%s", w, want)
	}
	if err := os.Remove(filepath.Join(dir, "x.img")); err != nil {
		t.Fatal(err)
	}
	if w := run("1MiB"); w != "" {
		t.Errorf("a vanished image: %q", w)
	}
	if err := os.WriteFile(filepath.Join(dir, "x.img"), make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if w := run("1MiB"); !strings.Contains(w, "another file than the one that was served before") {
		t.Errorf("another image at its path: %q", w)
	}
	if w := run("1MiB"); w != "" {
		t.Errorf("the second time: %s", w)
	}
}

// TestDiscovery: CHAP of discovery, and only what an initiator may use through
// the portal group that it asks.
func TestDiscovery(t *testing.T) {
	t.Setenv("PROVISION_TEST_SECRET", "secret of discovery")
	d := start(t, t.TempDir(), `
[discovery]
chap = { user = "disc", secret-env = "PROVISION_TEST_SECRET" }
`+oneTarget+`
portal-groups = [1]
[[target]]
name = "`+name+`2"
luns = { 0 = "m" }
[[target]]
name = "`+name+`3"
luns = { 0 = "m" }
[[target.rule]]
initiators = ["`+bob+`"]
[[portal-group]]
tag = 1
listen = ["127.0.0.1:0"]
[[portal-group]]
tag = 2
listen = ["127.0.0.2:0"]
`)
	discover := func(portal string, chap *initiator.CHAP) (string, error) {
		c, err := initiator.Dial(portal, initiator.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.Login(initiator.Login{InitiatorName: alice, SessionType: "Discovery", ISID: initiator.RandomISID(), CHAP: chap}); err != nil {
			return "", err
		}
		targets, err := c.SendTargets("All")
		var names []string
		for _, one := range targets {
			names = append(names, strings.TrimPrefix(one.Name, name))
		}
		return strings.Join(names, " "), err
	}
	_, err := discover(d.report.Targets[0].Portals[0], nil)
	refusedWith(t, err, iscsi.LoginAuthenticationFailure)
	chap := &initiator.CHAP{User: "disc", Secret: "secret of discovery"}
	if got, err := discover(d.report.Targets[1].Portals[0], chap); err != nil || strings.Contains(got, "3") || !strings.Contains(got, "2") {
		t.Errorf("alice is told of targets %q, %v, want her own", got, err)
	}
	c, err := initiator.Dial(d.report.Targets[1].Portals[1], initiator.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	err = c.Login(initiator.Login{InitiatorName: alice, TargetName: name, SessionType: "Normal", ISID: initiator.RandomISID()})
	var r *initiator.Refusal
	if !errors.As(err, &r) {
		t.Errorf("login through a portal group that does not serve the target: %v, want a refusal", err)
	}
}

// TestFamiliesSideBySide: "0.0.0.0" and "[::]" may have the same port, and
// neither answers for the other.
func TestFamiliesSideBySide(t *testing.T) {
	port := fmt.Sprint(freePort(t))
	d := start(t, t.TempDir(), oneTarget+"[[portal-group]]\ntag = 1\nlisten = [\"0.0.0.0:"+port+"\"]\n")
	e := start(t, t.TempDir(), oneTarget+"[[portal-group]]\ntag = 1\nlisten = [\"[::]:"+port+"\"]\n")
	if six := e.report.Targets[0].Portals[0]; six != "[::1]:"+port {
		t.Errorf("the portal on [::] is reached at %s", six)
	}
	d.mustLogin(t, alice, nil)
	e.mustLogin(t, alice, nil)
	both := start(t, t.TempDir(), oneTarget+"[[portal-group]]\ntag = 1\nlisten = [\":0\"]\n")
	both.mustLogin(t, alice, nil)
	both.report.Targets[0].Portals[0] = strings.Replace(both.report.Targets[0].Portals[0], "127.0.0.1", "[::1]", 1)
	both.mustLogin(t, alice, nil)
}

// TestAddressIsToldOnce: two portals on every address are one for a peer.
func TestAddressIsToldOnce(t *testing.T) {
	port := freePort(t)
	d := start(t, t.TempDir(), oneTarget+fmt.Sprintf("[[portal-group]]\ntag = 1\nlisten = [\"0.0.0.0:%d\", \"[::]:%[1]d\"]\n", port))
	for _, portal := range d.report.Targets[0].Portals {
		c, err := initiator.Dial(portal, initiator.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.Login(initiator.Login{InitiatorName: alice, SessionType: "Discovery", ISID: initiator.RandomISID()}); err != nil {
			t.Fatal(err)
		}
		targets, err := c.SendTargets("All")
		if err != nil || len(targets) != 1 || len(targets[0].Addresses) != 1 || targets[0].Addresses[0] != portal+",1" {
			t.Errorf("through %s: %+v, %v, want this address once", portal, targets, err)
		}
	}
}

// freePort is a port that is free just now, and that nobody is given who asks for any.
func freePort(t *testing.T) int {
	t.Helper()
	return process.FreePort(t)
}

// TestLimitsOfTheExample: isantarget.toml shows the defaults of package target.
func TestLimitsOfTheExample(t *testing.T) {
	c, err := configs.Load("../configs/isantarget.toml")
	if err != nil {
		t.Fatal(err)
	}
	shown := limitsOf(c)
	if shown != target.DefaultLimits() {
		t.Errorf("isantarget.toml shows %+v, the defaults are %+v", shown, target.DefaultLimits())
	}
}

// A hangingStore hangs in reads until it is told to go on.
type hangingStore struct {
	backstore.Store
	reading chan struct{} // closed by the first read
	goOn    chan struct{}
	once    *sync.Once
}

func (h hangingStore) ReadAt(p []byte, off int64) (int, error) {
	h.once.Do(func() { close(h.reading) })
	<-h.goOn
	return h.Store.ReadAt(p, off)
}

// A countingStore counts its syncs.
type countingStore struct {
	backstore.Store
	syncs *atomic.Int64
}

func (c countingStore) Sync() error { c.syncs.Add(1); return nil }
func (c countingStore) Geometry() backstore.Geometry {
	g := c.Store.Geometry()
	g.Volatile = true
	return g
}

// TestHangingStoreDoesNotHoldUpTheEnd: the others are flushed, and the end is
// not a good one.
func TestHangingStoreDoesNotHoldUpTheEnd(t *testing.T) {
	d := newDaemon()
	hanging := hangingStore{reading: make(chan struct{}), goOn: make(chan struct{}), once: new(sync.Once)}
	var syncs atomic.Int64
	d.openers[configs.Null] = func(l configs.LUN, step func(done, total int64) error) (backstore.Store, error) {
		s, err := openers()[configs.Memory](l, step)
		hanging.Store = s
		return hanging, err
	}
	d.openers[configs.Memory] = func(l configs.LUN, step func(done, total int64) error) (backstore.Store, error) {
		s, err := openers()[configs.Memory](l, step)
		return countingStore{s, &syncs}, err
	}
	config := parse(t, t.TempDir(), memoryLUN+"[[lun]]\nname = \"hangs\"\nkind = \"null\"\nsize = \"1MiB\"\n[[target]]\nname = \""+name+"\"\nluns = { 0 = \"m\", 1 = \"hangs\" }\n")
	config.Limits.DrainTimeout, config.Limits.HangBound = 200*time.Millisecond, 200*time.Millisecond
	var err error
	if d.report, err = d.Apply(context.Background(), config); err != nil {
		t.Fatal(err)
	}
	c := d.mustLogin(t, alice, nil)
	ready(t, c, 1)
	if _, err := c.Start(initiator.Command{LUN: initiator.LUN(1), CDB: []byte{0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0}, Read: 512}); err != nil {
		t.Fatal(err)
	}
	<-hanging.reading
	if _, err := d.Apply(context.Background(), configs.Config{}); !errors.Is(err, errHanging) {
		t.Errorf("stop: %v, want that commands hang", err)
	}
	if syncs.Load() == 0 {
		t.Error("the other LUN was not flushed")
	}
	close(hanging.goOn)
}
