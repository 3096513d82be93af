package live

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/isantarget/isantarget/admin"
	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/iscsi"
	"github.com/isantarget/isantarget/test/daemon"
)

func TestMain(m *testing.M) { os.Exit(daemon.Main(m)) }

const (
	alice = "iqn.2026-11.org.isantarget.test:alice"
	bob   = "iqn.2026-11.org.isantarget.test:bob"
	block = 512
)

// A rig is a daemon with a configuration file that the test writes anew.
type rig struct {
	*daemon.Daemon
	t    *testing.T
	dir  string
	port int
	size string // of each LUN
	more string // behind the rules in the configuration
	*admin.Client
}

// A rule admits an initiator to LUNs by their names, which count from 0.
type rule struct {
	who  string
	luns []string
}

// start serves rules.
func start(t *testing.T, rules ...rule) *rig {
	t.Helper()
	return startIn(t, t.TempDir(), "8MiB", rules...)
}

// startIn is start with all files in a folder, and LUNs of another size.
func startIn(t *testing.T, dir, size string, rules ...rule) *rig {
	t.Helper()
	r := &rig{t: t, dir: dir, port: daemon.FreePort(t), size: size}
	r.write(r.text(rules...))
	r.Daemon = daemon.Start(t, daemon.Config{File: r.file()})
	r.Client = admin.NewClient(r.socket())
	t.Cleanup(r.Client.Close)
	return r
}

func (r *rig) file() string   { return filepath.Join(r.dir, "san.toml") }
func (r *rig) state() string  { return filepath.Join(r.dir, "state") }
func (r *rig) socket() string { return filepath.Join(r.state(), admin.SocketName) }

func (r *rig) image(lun string) string { return filepath.Join(r.dir, lun+".img") }

func (r *rig) write(text string) {
	r.t.Helper()
	if err := os.WriteFile(r.file(), []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// text is a configuration with the rules, and the LUNs that they name.
func (r *rig) text(rules ...rule) string {
	var b strings.Builder
	fmt.Fprintf(&b, "state = \"state\"\nlimits = { drain-timeout = \"2s\", hang-bound = \"1m\", nop-interval = \"1h\" }\n")
	fmt.Fprintf(&b, "[[portal-group]]\ntag = 1\nlisten = [\"127.0.0.1:%d\"]\n", r.port)
	seen := map[string]bool{}
	for _, one := range rules {
		for _, l := range one.luns {
			if !seen[l] {
				seen[l] = true
				// Without thresholds: initiators hear of theirs when a LUN grows, some time after it.
				fmt.Fprintf(&b, "[[lun]]\nname = %q\npath = \"%s.img\"\nsize = %q\nspace-threshold = 0\n", l, l, r.size)
			}
		}
	}
	fmt.Fprintf(&b, "[[target]]\nname = %q\nportal-groups = [1]\n", daemon.Target)
	for _, one := range rules {
		var luns []string
		for n, l := range one.luns {
			luns = append(luns, fmt.Sprintf("%d = %q", n, l))
		}
		fmt.Fprintf(&b, "[[target.rule]]\ninitiators = [%q]\nluns = { %s }\n", one.who, strings.Join(luns, ", "))
	}
	return b.String() + r.more
}

// apply has the daemon serve rules.
func (r *rig) apply(rules ...rule) admin.Changed {
	r.t.Helper()
	r.write(r.text(rules...))
	change, err := r.Reload(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return change
}

// command runs isantarget for this daemon.
func (r *rig) command(noun string, words ...string) (status int, printed string) {
	r.t.Helper()
	args := strings.Fields(noun)
	args = append(args, "--socket", r.socket())
	return daemon.Run(r.t, append(args, words...)...)
}

// login opens a session as who.
func (r *rig) login(who string, isid iscsi.ISID) *initiator.Connection {
	r.t.Helper()
	c, err := initiator.Dial(fmt.Sprintf("127.0.0.1:%d", r.port), initiator.Options{})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { c.Close() })
	if err := c.Login(initiator.Login{InitiatorName: who, TargetName: daemon.Target, SessionType: "Normal", ISID: isid, Keys: []iscsi.KeyValue{
		{Key: "InitialR2T", Value: "No"}, {Key: "ImmediateData", Value: "Yes"}}}); err != nil {
		r.t.Fatal(err)
	}
	return c
}

// attentions takes the unit attentions of the first LUNs and gives their codes.
func attentions(t *testing.T, c *initiator.Connection, luns int) (codes []string) {
	t.Helper()
	for n := range luns {
		for {
			r := execute(t, c, initiator.Command{LUN: initiator.LUN(uint8(n)), CDB: make([]byte, 6)})
			if key, code := r.SenseCode(); key == 6 {
				codes = append(codes, fmt.Sprintf("%d:%04x", n, code))
				continue
			}
			if r.Status != 0 {
				t.Fatalf("TEST UNIT READY of LUN %d: status %02x, sense % x", n, r.Status, r.Sense)
			}
			break
		}
	}
	return codes
}

func execute(t *testing.T, c *initiator.Connection, cmd initiator.Command) *initiator.Result {
	t.Helper()
	r, err := c.Execute(cmd)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// rw is READ (10) or WRITE (10).
func rw(opcode byte, lba uint32, blocks int) []byte {
	cdb := make([]byte, 10)
	cdb[0] = opcode
	binary.BigEndian.PutUint32(cdb[2:], lba)
	binary.BigEndian.PutUint16(cdb[7:], uint16(blocks))
	return cdb
}

// pattern is the content of a block at lba in a round.
func pattern(lba uint32, round int) []byte {
	return bytes.Repeat([]byte(fmt.Sprintf("%08x%08x", lba, round)), block/16)
}

// eventually waits until done is true.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("in vain: %s", what)
		}
	}
}
