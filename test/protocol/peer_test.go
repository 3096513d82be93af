package protocol_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/iscsi"
	"github.com/isantarget/isantarget/test/daemon"
)

func TestMain(m *testing.M) { os.Exit(daemon.Main(m)) }

const (
	target    = "iqn.2026-11.org.isantarget.test:disk"
	alice     = "iqn.2026-11.org.isantarget.test:alice"
	bob       = "iqn.2026-11.org.isantarget.test:bob"
	blockSize = 512
)

// standard is a target with two disks in memory, open to everybody.
const standard = `
[[target]]
name = "` + target + `"
access = "open"
luns = { 0 = "a", 1 = "b" }
`

// serve starts a daemon with a configuration: text is what stands behind the state,
// a portal on a free port, and two disks in memory, "a" and "b".
func serve(t testing.TB, text string) *daemon.Daemon {
	t.Helper()
	return serveFile(t, `
[[portal-group]]
tag = 1
listen = ["127.0.0.1:0"]
`+text)
}

// serveFile is serve without the portal.
func serveFile(t testing.TB, text string) *daemon.Daemon {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "protocol.toml")
	// A session that rests a while, on a machine that is busy, answers no NOP-In.
	const calm = "[limits]\nnop-interval = \"1h\"\n"
	switch {
	case strings.Contains(text, "nop-interval"):
	case strings.Contains(text, "[limits]\n"):
		text = strings.Replace(text, "[limits]\n", calm, 1)
	default:
		text = calm + text
	}
	text = fmt.Sprintf("state = %q\n", filepath.Join(dir, "state")) + `
[[lun]]
name = "a"
kind = "memory"
size = "64MiB"
[[lun]]
name = "b"
kind = "memory"
size = "16MiB"
` + text
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return daemon.Start(t, daemon.Config{File: file})
}

// A peer is a connection of an initiator whose surprises end the test.
type peer struct {
	*initiator.Connection
	t testing.TB
}

// dial opens a connection and does not log in.
func dial(t testing.TB, d *daemon.Daemon) *peer {
	t.Helper()
	c, err := initiator.Dial(d.Address(), initiator.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &peer{c, t}
}

// normal is the login of alice to the target, with what edit makes of it.
func normal(edit func(*initiator.Login)) initiator.Login {
	l := initiator.Login{InitiatorName: alice, TargetName: target, SessionType: "Normal"}
	if edit != nil {
		edit(&l)
	}
	return l
}

// offer is a normal login with keys, written "Key=Value".
func offer(keys ...string) initiator.Login {
	return normal(func(l *initiator.Login) { l.Keys = pairs(keys...) })
}

// pairs reads keys written "Key=Value".
func pairs(keys ...string) (kv []iscsi.KeyValue) {
	for _, s := range keys {
		k, v, _ := strings.Cut(s, "=")
		kv = append(kv, iscsi.KeyValue{Key: k, Value: v})
	}
	return kv
}

// login opens a connection and logs in.
func login(t testing.TB, d *daemon.Daemon, l initiator.Login) *peer {
	t.Helper()
	p := dial(t, d)
	if err := p.Login(l); err != nil {
		t.Fatalf("login: %v", err)
	}
	return p
}

// ready is login, with the unit attentions of both disks taken away.
func ready(t testing.TB, d *daemon.Daemon, l initiator.Login) *peer {
	t.Helper()
	p := login(t, d, l)
	p.settle()
	return p
}

// settle takes the unit attentions away that a new nexus finds.
func (p *peer) settle() {
	p.t.Helper()
	for lun := range uint8(2) {
		for range 8 {
			if p.run(initiator.Command{LUN: initiator.LUN(lun), CDB: testUnitReady()}).Status == statusGood {
				break
			}
		}
	}
}

// join adds a connection to the session of p.
func (p *peer) join(d *daemon.Daemon, cid uint16, l initiator.Login) *peer {
	p.t.Helper()
	c := dial(p.t, d)
	if err := c.JoinSession(p.Connection, cid, l); err != nil {
		p.t.Fatalf("connection %d joins the session: %v", cid, err)
	}
	return c
}

// run executes a command.
func (p *peer) run(c initiator.Command) *initiator.Result {
	p.t.Helper()
	r, err := p.Execute(c)
	if err != nil {
		p.t.Fatalf("command %x: %v", c.CDB, err)
	}
	return r
}

// good executes a command that must end with GOOD.
func (p *peer) good(c initiator.Command) *initiator.Result {
	p.t.Helper()
	r := p.run(c)
	if r.Status != statusGood {
		p.t.Fatalf("command %x: status %02x, sense %x", c.CDB, r.Status, r.Sense)
	}
	return r
}

// start sends a command.
func (p *peer) start(c initiator.Command) *initiator.Task {
	p.t.Helper()
	task, err := p.Start(c)
	if err != nil {
		p.t.Fatalf("command %x: %v", c.CDB, err)
	}
	return task
}

// wait waits for the end of a command that must end with GOOD.
func (p *peer) wait(task *initiator.Task) *initiator.Result {
	p.t.Helper()
	r, err := task.Wait()
	if err != nil {
		p.t.Fatal(err)
	}
	if r.Status != statusGood {
		p.t.Fatalf("command %x: status %02x, sense %x", task.Command.CDB, r.Status, r.Sense)
	}
	return r
}

// alive proves that the connection works: a ping comes back, and so does data.
func (p *peer) alive() {
	p.t.Helper()
	got, err := p.Ping([]byte("are you there"), true)
	if err != nil || string(got) != "are you there" {
		p.t.Fatalf("ping came back as %q, %v", got, err)
	}
	p.settle()
	p.good(initiator.Command{CDB: read10(0, 1), Read: blockSize})
}

// closed demands that the target ends the connection.
func (p *peer) closed() {
	p.t.Helper()
	if err := p.WaitClosed(); err != nil {
		p.t.Fatal(err)
	}
}

// manage runs a task management function that must be answered with want.
func (p *peer) manage(want iscsi.TaskManagementStatus, r iscsi.TaskManagementRequest) {
	p.t.Helper()
	r.Immediate = true
	got, err := p.Manage(r)
	if err != nil {
		p.t.Fatalf("%v: %v", r.Function, err)
	}
	if got != want {
		p.t.Fatalf("%v: %v, want %v", r.Function, got, want)
	}
}

// block reads one block of LUN 0.
func (p *peer) block(lba uint32) []byte {
	p.t.Helper()
	return p.good(initiator.Command{CDB: read10(lba, 1), Read: blockSize}).Data
}

// wantBlock demands that a block of LUN 0 is filled with b.
func (p *peer) wantBlock(lba uint32, b byte) {
	p.t.Helper()
	if got := p.block(lba); !bytes.Equal(got, fill(b, 1)) {
		p.t.Errorf("block %d begins with %x, want %02x", lba, got[:8], b)
	}
}

// wantRefusal demands that a login is refused with one status.
func wantRefusal(t testing.TB, err error, want iscsi.LoginStatus) {
	t.Helper()
	var r *initiator.Refusal
	if !errors.As(err, &r) || r.Status != want {
		t.Errorf("login: %v, want %v", err, want)
	}
}

// bystander is a session of bob that works before and after a test does wrong.
func bystander(t testing.TB, d *daemon.Daemon) {
	t.Helper()
	p := ready(t, d, normal(func(l *initiator.Login) { l.InitiatorName = bob }))
	t.Cleanup(func() {
		p.alive()
		p.Close()
	})
}

const (
	statusGood           = 0x00
	statusCheckCondition = 0x02
	statusTaskAborted    = 0x40
	senseIllegalRequest  = 0x05
	senseUnitAttention   = 0x06
	senseAbortedCommand  = 0x0b
)

func testUnitReady() []byte { return make([]byte, 6) }

func read10(lba uint32, blocks uint16) []byte  { return cdb10(0x28, lba, blocks) }
func write10(lba uint32, blocks uint16) []byte { return cdb10(0x2a, lba, blocks) }

func cdb10(opcode byte, lba uint32, blocks uint16) []byte {
	c := make([]byte, 10)
	c[0] = opcode
	binary.BigEndian.PutUint32(c[2:], lba)
	binary.BigEndian.PutUint16(c[7:], blocks)
	return c
}

// write is a WRITE(10) of data to LUN 0.
func write(lba uint32, data []byte) initiator.Command {
	return initiator.Command{CDB: write10(lba, uint16(len(data)/blockSize)), Write: data}
}

// fill is n blocks of b.
func fill(b byte, n int) []byte { return bytes.Repeat([]byte{b}, n*blockSize) }

// noise is n blocks that no mistake reproduces.
func noise(seed uint64, n int) []byte {
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)})
	p := make([]byte, n*blockSize)
	_, _ = r.Read(p) // never fails
	return p
}

// within bounds what a hostile peer may delay another.
const within = time.Minute
