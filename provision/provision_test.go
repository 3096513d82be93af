package provision

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"
	"github.com/sirupsen/logrus/hooks/test"
	"go.uber.org/goleak"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/iscsi"
)

const (
	name  = "iqn.2026-11.org.isantarget.test:a"
	alice = "iqn.2026-11.org.isantarget.test:alice"
	bob   = "iqn.2026-11.org.isantarget.test:bob"
)

// parse is a configuration whose state and relative paths are in dir.
func parse(t *testing.T, dir, text string) configs.Config {
	t.Helper()
	head := "state = \"state\"\nlimits = { drain-timeout = \"1s\" }\n"
	if !strings.Contains(text, "[[portal-group]]") {
		text += "\n[[portal-group]]\ntag = 1\nlisten = [\"127.0.0.1:0\"]\n"
	}
	c, err := configs.Parse("san.toml", dir, head+text)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A daemon is a provisioner under test and what it logs.
type daemon struct {
	*Provisioner
	report Report
	log    *test.Hook
}

func newDaemon() *daemon {
	log, hook := test.NewNullLogger()
	log.SetLevel(logrus.DebugLevel)
	return &daemon{Provisioner: New(Options{Log: log, Revision: "1.0"}), log: hook}
}

// start serves text until the test ends, and has nothing left behind then.
func start(t *testing.T, dir, text string) *daemon {
	t.Helper()
	d := newDaemon()
	var err error
	if d.report, err = d.Apply(context.Background(), parse(t, dir, text)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.stop(t) })
	return d
}

func (d *daemon) stop(t *testing.T) {
	t.Helper()
	if _, err := d.Apply(context.Background(), configs.Config{}); err != nil {
		t.Errorf("stop: %v", err)
	}
}

// login logs in to target name as who.
func (d *daemon) login(t *testing.T, who string, chap *initiator.CHAP) (*initiator.Connection, error) {
	t.Helper()
	c, err := initiator.Dial(d.report.Targets[0].Portals[0], initiator.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, c.Login(initiator.Login{InitiatorName: who, TargetName: name, SessionType: "Normal", ISID: initiator.RandomISID(), CHAP: chap})
}

func (d *daemon) mustLogin(t *testing.T, who string, chap *initiator.CHAP) *initiator.Connection {
	t.Helper()
	c, err := d.login(t, who, chap)
	if err != nil {
		t.Fatalf("login of %s: %v", who, err)
	}
	return c
}

// do executes a command, again if a unit attention comes first.
func do(t *testing.T, c *initiator.Connection, cmd initiator.Command) *initiator.Result {
	t.Helper()
	for {
		r, err := c.Execute(cmd)
		if err != nil {
			t.Fatal(err)
		}
		if key, _ := r.SenseCode(); r.Status != 2 || key != 6 {
			return r
		}
	}
}

func ready(t *testing.T, c *initiator.Connection, lun uint8) (key uint8, code uint16) {
	t.Helper()
	return do(t, c, initiator.Command{LUN: initiator.LUN(lun), CDB: make([]byte, 6)}).SenseCode()
}

func reportLUNs(t *testing.T, c *initiator.Connection) string {
	t.Helper()
	r := do(t, c, initiator.Command{CDB: []byte{0xa0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0}, Read: 256})
	var luns []string
	for i := 8; i+8 <= len(r.Data); i += 8 {
		luns = append(luns, fmt.Sprint(r.Data[i+1]))
	}
	return strings.Join(luns, " ")
}

func refusedWith(t *testing.T, err error, want iscsi.LoginStatus) {
	t.Helper()
	var r *initiator.Refusal
	if !errors.As(err, &r) || r.Status != want {
		t.Errorf("login: %v, want %v", err, want)
	}
}

func write(t *testing.T, name, text string, mode os.FileMode) string {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, mode); err != nil {
		t.Fatal(err)
	}
	return name
}

const memoryLUN = `
[[lun]]
name = "m"
kind = "memory"
size = "1MiB"
`

const oneTarget = memoryLUN + `
[[target]]
name = "` + name + `"
luns = { 0 = "m" }
`

func TestStartAndStop(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	dir := t.TempDir()
	d := newDaemon()
	var err error
	d.report, err = d.Apply(context.Background(), parse(t, dir, oneTarget))
	if err != nil {
		t.Fatal(err)
	}
	c := d.mustLogin(t, alice, nil)
	if key, code := ready(t, c, 0); key != 0 {
		t.Errorf("TEST UNIT READY: sense %x/%04x", key, code)
	}
	if again, err := d.Apply(context.Background(), parse(t, dir, oneTarget)); err != nil || len(again.Changes) > 0 || again.Targets[0].Portals[0] != d.report.Targets[0].Portals[0] {
		t.Errorf("the same again: %+v, %v, want no change", again, err)
	}
	d.stop(t)
	c.Close()
	if conn, err := net.Dial("tcp", d.report.Targets[0].Portals[0]); err == nil {
		conn.Close()
		t.Error("the portal is still there")
	}
	d.stop(t) // once more is nothing
	if d.report, err = d.Apply(context.Background(), parse(t, dir, oneTarget)); err != nil {
		t.Fatalf("start again: %v", err)
	}
	d.stop(t)
}

func TestURLs(t *testing.T) {
	d := start(t, t.TempDir(), oneTarget+`
[[lun]]
name = "n"
kind = "null"
size = "1MiB"
[[target]]
name = "IQN.2026-11.org.isantarget.test:b"
portal-groups = [2]
luns = { 7 = "m" }
[[target.rule]]
initiators = ["`+alice+`"]
luns = { 1 = "n" }
[[portal-group]]
tag = 1
listen = ["127.0.0.1:0", "[::1]:0"]
[[portal-group]]
tag = 2
listen = [":0"]
`)
	p := d.report.Targets[0].Portals
	if len(p) != 3 || !strings.HasPrefix(p[1], "[::1]:") || !strings.HasPrefix(p[2], "127.0.0.1:") || strings.HasSuffix(p[2], ":0") {
		t.Fatalf("portals %q", p)
	}
	b := "iqn.2026-11.org.isantarget.test:b"
	want := []string{
		"iscsi://" + p[0] + "/" + name + "/0", "iscsi://" + p[1] + "/" + name + "/0", "iscsi://" + p[2] + "/" + name + "/0",
		"iscsi://" + p[2] + "/" + b + "/1", "iscsi://" + p[2] + "/" + b + "/7",
	}
	if got := strings.Join(d.report.URLs(), "\n"); got != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}

// TestUnreadableImageStopsItsLUN: and no other.
func TestUnreadableImageStopsItsLUN(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "empty.img"), "", 0o600)
	write(t, filepath.Join(dir, "tiny.img"), "too small for a block", 0o600)
	d := start(t, dir, memoryLUN+fmt.Sprintf(`
[[lun]]
name = "folder"
path = %q
[[lun]]
name = "empty"
path = "empty.img"
[[lun]]
name = "tiny"
path = "tiny.img"
[[lun]]
name = "device"
kind = "block"
path = "/dev/does-not-exist"
[[target]]
name = %q
luns = { 0 = "m", 1 = "folder", 2 = "empty", 3 = "tiny", 4 = "device" }
`, dir, name))
	c := d.mustLogin(t, alice, nil)
	if key, code := ready(t, c, 0); key != 0 {
		t.Errorf("the LUN in memory: sense %x/%04x", key, code)
	}
	logged := map[any]bool{}
	for _, e := range d.log.AllEntries() {
		if e.Level == logrus.ErrorLevel {
			logged[e.Data["lun"]] = true
		}
	}
	for n, lun := range []string{"m", "folder", "empty", "tiny", "device"} {
		if n == 0 {
			continue
		}
		if key, code := ready(t, c, uint8(n)); key != 2 || code != 0x0403 {
			t.Errorf("LUN %q: sense %x/%04x, want 2/0403", lun, key, code)
		}
		if !logged[lun] || d.report.LUNs[n].Failure == nil {
			t.Errorf("nothing says why LUN %q is not ready", lun)
		}
	}
	if got := reportLUNs(t, c); got != "0 1 2 3 4" {
		t.Errorf("REPORT LUNS: %s", got)
	}
}

// TestRefused has configurations that must not be served. What each leaves
// behind is nothing: no lock, no port, no goroutine.
func TestRefused(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	t.Setenv("PROVISION_TEST_SHORT", "short\n")
	t.Setenv("PROVISION_TEST_SECRET", "a secret of the target")
	for _, c := range []struct{ name, text, want string }{
		{"name", "[[target]]\nname = \"iqn.x\"\n", "san.toml:4: target.name: "},
		{"initiator", oneTarget + "[[target.rule]]\ninitiators = [\"" + alice + "\",\n\"bob\"]\n", "san.toml:14: target.rule.initiators: "},
		{"busy port", oneTarget + "[[portal-group]]\ntag = 1\nlisten = [\"127.0.0.1:0\",\n\"" + busy.Addr().String() + "\"]\n", "san.toml:15: portal-group.listen: another program listens on " + busy.Addr().String()},
		{"foreign address", oneTarget + "[[portal-group]]\ntag = 1\nlisten = [\"192.0.2.1:0\"]\n", "san.toml:14: portal-group.listen: this host has no address 192.0.2.1 "},
		{"no image", "[[lun]]\nname = \"x\"\npath = \"none.img\"\n", `there is none: no such file or directory; to have it made, say how big: size=10GiB`},
		{"no folder", "[[lun]]\nname = \"x\"\npath = \"no/such/folder.img\"\nsize = \"1MiB\"\n", "san.toml:3: lun: image "},
		{"short secret", oneTarget + "chap = { user = \"u\", secret-env = \"PROVISION_TEST_SHORT\" }\n", "san.toml:12: target.chap: the secret in the variable PROVISION_TEST_SHORT has 5 bytes; it needs 12 or more"},
		{"no variable", oneTarget + "chap = { user = \"u\", secret-env = \"PROVISION_TEST_NONE\" }\n", "san.toml:12: target.chap: the environment has no variable PROVISION_TEST_NONE for the secret"},
		{"missing secret", oneTarget + "chap = { user = \"u\", secret-file = \"secret\" }\n", "san.toml:12: target.chap: cannot read the secret: open "},
		{"reflection", oneTarget + "chap = { user = \"u\", secret-env = \"PROVISION_TEST_SECRET\" }\nmutual-chap = { user = \"v\", secret-env = \"PROVISION_TEST_SECRET\" }\n",
			"san.toml:13: target.mutual-chap: the secret is that of an initiator too (san.toml:12); give each direction its own (RFC 7143 9.2.1)"},
		{"reflection by discovery", "[discovery]\nchap = { user = \"u\", secret-env = \"PROVISION_TEST_SECRET\" }\n" + oneTarget +
			"access = \"open\"\nchap = { user = \"u\", secret-env = \"PROVISION_TEST_OTHER\" }\nmutual-chap = { user = \"v\", secret-env = \"PROVISION_TEST_SECRET\" }\n",
			"target.mutual-chap: the secret is that of an initiator too (san.toml:4)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
			t.Setenv("PROVISION_TEST_OTHER", "the secret of an initiator")
			dir := t.TempDir()
			d := newDaemon()
			_, err := d.Apply(context.Background(), parse(t, dir, c.text))
			if err == nil {
				d.stop(t)
				t.Fatal("it was served")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
			if strings.Contains(err.Error(), "a secret of") || strings.Contains(err.Error(), "short\n") {
				t.Errorf("the error shows a secret: %v", err)
			}
			d = newDaemon() // in the same state directory
			if _, err := d.Apply(context.Background(), parse(t, dir, oneTarget)); err != nil {
				t.Errorf("a good one after it: %v", err)
			}
			d.stop(t)
		})
	}
}

// TestImageInUse: of two daemons on one image the second is refused, and told
// by whom. Once the first is gone it may have it.
func TestImageInUse(t *testing.T) {
	dir := t.TempDir()
	lun := fmt.Sprintf("[[lun]]\nname = \"x\"\npath = %q\nsize = \"1MiB\"\n", filepath.Join(dir, "x.img"))
	first, second := newDaemon(), newDaemon()
	if _, err := first.Apply(context.Background(), parse(t, filepath.Join(dir, "1"), lun)); err != nil {
		t.Fatal(err)
	}
	_, err := second.Apply(context.Background(), parse(t, filepath.Join(dir, "2"), lun))
	if err == nil || !strings.Contains(err.Error(), "in use by this process") { // cmd/isantarget has the case of two processes
		t.Errorf("second daemon: %v, want it to name the first", err)
	}
	first.stop(t)
	if _, err := second.Apply(context.Background(), parse(t, filepath.Join(dir, "2"), lun)); err != nil {
		t.Errorf("once the first is gone: %v", err)
	}
	second.stop(t)
}

// TestDefaultAccessIsLoopback asks from another address of this host's own.
func TestDefaultAccessIsLoopback(t *testing.T) {
	own := ownAddress(t)
	for access, want := range map[string]iscsi.LoginStatus{
		"":                        iscsi.LoginAuthorizationFailure,
		"access = \"loopback\"\n": iscsi.LoginAuthorizationFailure,
		"access = \"open\"\n":     iscsi.LoginSuccess,
	} {
		t.Run(access, func(t *testing.T) {
			d := start(t, t.TempDir(), oneTarget+access+"[[portal-group]]\ntag = 1\nlisten = [\"0.0.0.0:0\"]\n")
			d.mustLogin(t, alice, nil) // by 127.0.0.1
			_, port, _ := net.SplitHostPort(d.report.Targets[0].Portals[0])
			d.report.Targets[0].Portals[0] = net.JoinHostPort(own, port)
			c, err := d.login(t, alice, nil)
			if want == iscsi.LoginSuccess {
				if err != nil {
					t.Fatalf("login from %s: %v", own, err)
				}
				if key, code := ready(t, c, 0); key != 0 {
					t.Errorf("TEST UNIT READY: sense %x/%04x", key, code)
				}
				return
			}
			refusedWith(t, err, want)
			if w := strings.Join(d.report.Warnings, "\n"); !strings.Contains(w, "admits this host only") {
				t.Errorf("warnings: %q", w)
			}
		})
	}
}

// ownAddress is an address of this host that is not loopback.
func ownAddress(t *testing.T) string {
	t.Helper()
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && !n.IP.IsLoopback() {
			return n.IP.String()
		}
	}
	t.Skip("this host has no IPv4 address but loopback")
	return ""
}

// TestMasking: a rule with a LUN map of its own hides all else.
func TestMasking(t *testing.T) {
	d := start(t, t.TempDir(), memoryLUN+`
[[lun]]
name = "n"
kind = "null"
size = "2MiB"
[[target]]
name = "`+name+`"
luns = { 0 = "m", 1 = "n" }
[[target.rule]]
initiators = ["`+alice+`"]
luns = { 3 = "n" }
[[target.rule]]
networks = ["127.0.0.0/8"]
initiators = ["`+strings.ToUpper(bob)+`"]
`)
	if got := reportLUNs(t, d.mustLogin(t, alice, nil)); got != "3" {
		t.Errorf("alice sees %q, want 3", got)
	}
	if got := reportLUNs(t, d.mustLogin(t, bob, nil)); got != "0 1" {
		t.Errorf("bob sees %q, want 0 1", got)
	}
	_, err := d.login(t, "iqn.2026-11.org.isantarget.test:eve", nil)
	var r *initiator.Refusal
	if !errors.As(err, &r) || r.Status.Class() != iscsi.LoginClassInitiatorError {
		t.Errorf("login of a stranger: %v, want a refusal", err)
	}
}

// TestCHAP: the rule's own, and that of the target where the rule has none.
func TestCHAP(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "alice"), "secret of alice\n", 0o600)
	write(t, filepath.Join(dir, "all"), "secret of them all\r\n", 0o400)
	write(t, filepath.Join(dir, "own"), "secret of our own", 0o600)
	d := start(t, dir, oneTarget+`
chap = { user = "all", secret-file = "all" }
mutual-chap = { user = "san", secret-file = "own" }
[[target.rule]]
initiators = ["`+alice+`"]
chap = { user = "alice", secret-file = "alice" }
[[target.rule]]
initiators = ["`+bob+`"]
`)
	mutual := func(user, secret string) *initiator.CHAP {
		return &initiator.CHAP{User: user, Secret: secret, TargetUser: "san", TargetSecret: "secret of our own"}
	}
	d.mustLogin(t, alice, mutual("alice", "secret of alice"))
	d.mustLogin(t, bob, mutual("all", "secret of them all"))
	for _, bad := range []*initiator.CHAP{nil, mutual("alice", "secret of alicE"), mutual("all", "secret of them all")} {
		_, err := d.login(t, alice, bad)
		refusedWith(t, err, iscsi.LoginAuthenticationFailure)
	}
	for _, e := range d.log.AllEntries() {
		line, _ := e.String()
		if strings.Contains(line, "secret of") {
			t.Errorf("the log shows a secret: %s", line)
		}
	}
}

// TestIdentityIsKept: over a restart, under another number, in another place.
func TestIdentityIsKept(t *testing.T) {
	dir := t.TempDir()
	identify := func(image string, number int) (serial, designators string) {
		d := start(t, dir, fmt.Sprintf("[[lun]]\nname = \"x\"\npath = %q\nsize = \"1MiB\"\n[[target]]\nname = %q\nluns = { %d = \"x\" }\n", image, name, number))
		defer d.stop(t)
		c := d.mustLogin(t, alice, nil)
		defer c.Close()
		lun := initiator.LUN(uint8(number))
		page80 := do(t, c, initiator.Command{LUN: lun, CDB: []byte{0x12, 1, 0x80, 0, 255, 0}, Read: 255})
		page83 := do(t, c, initiator.Command{LUN: lun, CDB: []byte{0x12, 1, 0x83, 0, 255, 0}, Read: 255})
		if len(page80.Data) < 5 || len(page83.Data) < 5 {
			t.Fatalf("INQUIRY: %x, %x", page80.Data, page83.Data)
		}
		return string(page80.Data[4:]), string(page83.Data)
	}
	serial, designators := identify("x.img", 0)
	if s, d := identify("elsewhere.img", 3); s != serial || d != designators {
		t.Errorf("serial %q, designators %x; were %q, %x", s, d, serial, designators)
	}
}

// TestNamesOfAnotherTarget: a disk that another target served before tells the names that
// it had there, and no others.
func TestNamesOfAnotherTarget(t *testing.T) {
	const names = `serial = "MY SERIAL"
naa = "60:01:40:54:3b:26:a9:a1:b2:c4:d3:e8:f7:a6:b5:c4"
eui64 = "none"
t10 = "LIO-ORG disk:43b26a9a"
vendor = "LIO-ORG"
product = "disk"
revision = "4.0"
`
	d := start(t, t.TempDir(), fmt.Sprintf("[[lun]]\nname = \"x\"\npath = \"x.img\"\nsize = \"1MiB\"\n%s[[target]]\nname = %q\nluns = { 0 = \"x\" }\n", names, name))
	defer d.stop(t)
	c := d.mustLogin(t, alice, nil)
	defer c.Close()
	inquire := func(page byte) []byte {
		cdb := []byte{0x12, 1, page, 0, 255, 0}
		if page == 0 {
			cdb[1] = 0
		}
		return do(t, c, initiator.Command{CDB: cdb, Read: 255}).Data
	}
	if got := string(inquire(0)[8:36]); got != "LIO-ORG disk            4.0 " {
		t.Errorf("vendor, product and revision %q", got)
	}
	if got := string(inquire(0x80)[4:]); got != "MY SERIAL" {
		t.Errorf("serial %q", got)
	}
	var ofUnit []string
	for b := inquire(0x83)[4:]; len(b) >= 4; b = b[4+int(b[3]):] {
		if b[1]&0x30 == 0 {
			ofUnit = append(ofUnit, fmt.Sprintf("%d %q", b[1]&0x0f, strings.TrimRight(string(b[4:4+int(b[3])]), "\x00")))
		}
	}
	want := []string{`3 "` + "`" + `\x01@T;&\xa9\xa1\xb2\xc4\xd3\xe8\xf7\xa6\xb5\xc4"`, `1 "LIO-ORG disk:43b26a9a"`, `8 "naa.600140543b26a9a1b2c4d3e8f7a6b5c4"`}
	if !slices.Equal(ofUnit, want) {
		t.Errorf("designators %q, want %q", ofUnit, want)
	}
}

// A failingStore cannot sync.
type failingStore struct{ backstore.Store }

var errDisk = errors.New("the disk is broken")

func (f failingStore) Sync() error { return errDisk }
func (f failingStore) Geometry() backstore.Geometry {
	g := f.Store.Geometry()
	g.Volatile = true
	return g
}

// TestFailedSyncIsTold: stopping goes on, and says what may be lost.
func TestFailedSyncIsTold(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	d := newDaemon()
	d.openers[configs.Null] = func(l configs.LUN, step func(done, total int64) error) (backstore.Store, error) {
		s, err := openers()[configs.Memory](l, step)
		return failingStore{s}, err
	}
	dir := t.TempDir()
	config := parse(t, dir, memoryLUN+"[[lun]]\nname = \"broken\"\nkind = \"null\"\nsize = \"1MiB\"\n")
	if _, err := d.Apply(context.Background(), config); err != nil {
		t.Fatal(err)
	}
	_, err := d.Apply(context.Background(), configs.Config{})
	if !errors.Is(err, errDisk) || !strings.Contains(err.Error(), `LUN "broken"`) || strings.Contains(err.Error(), `"m"`) {
		t.Errorf("stop: %v, want the error of LUN \"broken\"", err)
	}
	d = newDaemon()
	if _, err := d.Apply(context.Background(), parse(t, dir, memoryLUN)); err != nil {
		t.Errorf("the state directory was not given back: %v", err)
	}
	d.stop(t)
}

func TestCancelledStart(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	d := newDaemon()
	if _, err := d.Apply(ctx, parse(t, t.TempDir(), oneTarget)); !errors.Is(err, context.Canceled) {
		t.Errorf("Apply: %v, want it to be cancelled", err)
	}
}

func TestSecretFiles(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		text string
		mode os.FileMode
		want string // in the error; empty: none
	}{
		{"123456789012", 0o600, ""},
		{"123456789012\n", 0o400, ""},
		{"12345678901\n", 0o600, "has 11 bytes; it needs 12 or more"},
		{strings.Repeat("x", 255) + "\r\n", 0o600, ""},
		{strings.Repeat("x", 256), 0o600, "has more than 255 bytes"},
		{strings.Repeat("x", 10000), 0o600, "has more than 255 bytes"},
		{"123456789012", 0o640, "(mode 0640); run: chmod 600 " + dir},
		{"123456789012", 0o604, "(mode 0604); run: chmod 600 " + dir},
	} {
		file := filepath.Join(dir, "secret")
		os.Remove(file)
		write(t, file, c.text, c.mode)
		made, err := credential(&configs.Credential{User: "u", SecretFile: file})
		if c.want == "" {
			if err != nil || string(made.Secret) != strings.TrimRight(c.text, "\r\n") {
				t.Errorf("%.20q, mode %o: %v", c.text, c.mode, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), c.text[:8]) {
			t.Errorf("%.20q, mode %o: %v, want %q", c.text, c.mode, err, c.want)
		}
	}
	if _, err := credential(&configs.Credential{User: "u", SecretFile: dir}); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("a folder: %v", err)
	}
}

// TestCheckNeedsNoSecretFiles: a file may be checked on another host.
func TestCheckNeedsNoSecretFiles(t *testing.T) {
	files, err := filepath.Glob("../configs/examples/*.toml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range append(files, "../configs/isantarget.toml") {
		c, err := configs.Load(file)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Check(c); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
	c, _ := configs.Load("../configs/examples/hyperv-cluster.toml")
	if warnings, _ := Check(c); len(warnings) != 3 {
		t.Errorf("warnings of missing secrets: %q, want three", warnings)
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "secret"), "a secret for all", 0o644)
	if _, err := Check(parse(t, dir, oneTarget+"chap = { user = \"u\", secret-file = \"secret\" }\n")); err == nil {
		t.Error("a secret that others may read passes the check")
	}
}
