package page

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/isantarget/isantarget/admin"
	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/iscsi"
	"github.com/isantarget/isantarget/test/daemon"
)

func TestMain(m *testing.M) { os.Exit(daemon.Main(m)) }

const (
	worker  = "iqn.1993-08.org.debian:01:worker"
	cluster = "iqn.1993-08.org.debian:01:cluster"
	clerk   = "iqn.1993-08.org.debian:01:clerk"

	books = "iqn.2026-11.org.isantarget.test:books" // a target beside the one of the load

	writeToken = "token-that-may-write-0123456789abcdef"
	readToken  = "token-that-may-read-0123456789abcdef"

	block = 512
	piece = 64 << 10 // bytes of each command of the load
)

// A rig is a daemon that is worked with.
type rig struct {
	*daemon.Daemon
	*admin.Client
	t    *testing.T
	url  string // of the page
	dir  string // of its configuration
	port int
}

// start serves two LUNs, and has one of them read and written until the test ends.
func start(t *testing.T) *rig {
	t.Helper()
	dir := t.TempDir()
	r := &rig{t: t, dir: dir, port: daemon.FreePort(t)}
	plane := daemon.FreePort(t)
	r.url = fmt.Sprintf("http://127.0.0.1:%d/", plane)
	for name, text := range map[string]string{
		"write": writeToken, "read": readToken,
		"san.toml": fmt.Sprintf(`state = "state"
limits = { drain-timeout = "2s", nop-interval = "1h" }
[admin]
listen = "127.0.0.1:%d"
[[admin.token]]
name = "operator"
scope = "write"
file = "write"
[[admin.token]]
name = "onlooker"
scope = "read"
file = "read"
[[portal-group]]
tag = 1
listen = ["127.0.0.1:%d"]
[[store]]
name = "tank"
path = "tank"
[[lun]]
name = "vmstore"
store = "tank"
size = "64MiB"
[[lun]]
name = "quorum"
store = "tank"
size = "8MiB"
[[lun]]
name = "ledger"
store = "tank"
size = "4MiB"
[[lun]]
name = "brittle"
store = "tank"
size = "4MiB"
[[lun.layer]]
kind = "fault"
[[target]]
name = %q
alias = "the cluster"
luns = { 0 = "vmstore", 1 = "quorum" }
[[target.rule]]
label = "cluster nodes"
initiators = [%q, %q]
[[target]]
name = %q
luns = { 0 = "ledger", 5 = "brittle" }
[[target.rule]]
initiators = [%q]
`, plane, r.port, daemon.Target, worker, cluster, books, clerk),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "tank"), 0o700); err != nil {
		t.Fatal(err)
	}
	r.Daemon = daemon.Start(t, daemon.Config{File: filepath.Join(dir, "san.toml")})
	r.Client = admin.NewClient(filepath.Join(dir, "state", admin.SocketName))
	t.Cleanup(r.Client.Close)
	r.work()
	return r
}

// login opens a session.
func (r *rig) login(t *testing.T, who, target string) *initiator.Connection {
	t.Helper()
	c, err := r.try(t, who, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// try opens a session, if that is allowed.
func (r *rig) try(t *testing.T, who, target string, chap *initiator.CHAP) (*initiator.Connection, error) {
	t.Helper()
	c, err := initiator.Dial(fmt.Sprintf("127.0.0.1:%d", r.port), initiator.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, c.Login(initiator.Login{InitiatorName: who, TargetName: target, SessionType: "Normal", ISID: initiator.RandomISID(), CHAP: chap, Keys: []iscsi.KeyValue{
		{Key: "InitialR2T", Value: "No"}, {Key: "ImmediateData", Value: "Yes"}}})
}

// work reads and writes the first MiBs of a LUN until the test ends, at a pace that leaves the processors to the browser.
func (r *rig) work() {
	c := r.login(r.t, worker, daemon.Target)
	ready(r.t, c, 0)
	ended, done := make(chan struct{}), sync.WaitGroup{}
	done.Go(func() {
		for n := uint32(0); ; n++ {
			select {
			case <-ended:
				return
			case <-time.After(10 * time.Millisecond):
			}
			lba := n % 64 * (piece / block)
			for _, cmd := range []initiator.Command{
				{CDB: rw(0x2A, lba), Write: []byte(strings.Repeat(fmt.Sprintf("%07d ", n), piece/8))},
				{CDB: rw(0x28, lba), Read: piece},
			} {
				result, err := c.Execute(cmd)
				if err == nil && result.Status != 0 {
					if key, _ := result.SenseCode(); key == 6 { // LUNs come and go in the tests
						continue
					}
				}
				if err != nil || result.Status != 0 {
					r.t.Errorf("the load ends: %v %+v", err, result)
					return
				}
			}
		}
	})
	r.t.Cleanup(func() {
		close(ended)
		done.Wait()
	})
}

// rw is READ (10) or WRITE (10) of a piece.
func rw(opcode byte, lba uint32) []byte {
	cdb := make([]byte, 10)
	cdb[0] = opcode
	binary.BigEndian.PutUint32(cdb[2:], lba)
	binary.BigEndian.PutUint16(cdb[7:], piece/block)
	return cdb
}

// ready takes the unit attentions of a LUN.
func ready(t *testing.T, c *initiator.Connection, lun uint8) {
	t.Helper()
	for range 8 {
		result, err := c.Execute(initiator.Command{LUN: initiator.LUN(lun), CDB: make([]byte, 6)})
		if err != nil {
			t.Fatal(err)
		}
		if result.Status == 0 {
			return
		}
	}
	t.Fatalf("LUN %d is not ready", lun)
}

// fill writes a letter over the first piece of a LUN.
func fill(t *testing.T, c *initiator.Connection, lun uint8, letter string) {
	t.Helper()
	ready(t, c, lun)
	if result, err := c.Execute(initiator.Command{LUN: initiator.LUN(lun), CDB: rw(0x2A, 0), Write: []byte(strings.Repeat(letter, piece))}); err != nil || result.Status != 0 {
		t.Fatalf("WRITE: %v %+v", err, result)
	}
}

// holds wants a letter in every byte of the first piece of a LUN.
func holds(t *testing.T, c *initiator.Connection, lun uint8, letter string) {
	t.Helper()
	ready(t, c, lun)
	result, err := c.Execute(initiator.Command{LUN: initiator.LUN(lun), CDB: rw(0x28, 0), Read: piece})
	if err != nil || result.Status != 0 {
		t.Fatalf("READ: %v %+v", err, result)
	}
	if want := strings.Repeat(letter, piece); string(result.Data) != want {
		t.Errorf("LUN %d holds %.8q ..., want %.8q", lun, result.Data, want)
	}
}

// reserve registers a key with LUN 1 and reserves it: PERSISTENT RESERVE OUT (SPC-4 6.16). That holds without the session.
func (r *rig) reserve(t *testing.T) {
	t.Helper()
	c := r.login(t, cluster, daemon.Target)
	defer c.Close()
	ready(t, c, 1)
	for _, action := range []byte{0x00, 0x01} { // REGISTER, RESERVE
		parameters := make([]byte, 24)
		at := 8 * int(1-action) // the key that is there, or the one to register
		binary.BigEndian.PutUint64(parameters[at:], 0xabcd)
		cdb := []byte{0x5F, action, 0x05, 0, 0, 0, 0, 0, 24, 0} // WRITE EXCLUSIVE, REGISTRANTS ONLY
		result, err := c.Execute(initiator.Command{LUN: initiator.LUN(1), CDB: cdb, Write: parameters})
		if err != nil || result.Status != 0 {
			t.Fatalf("PERSISTENT RESERVE OUT %d: %v %+v", action, err, result)
		}
	}
}

// get asks for a file of the page as any program may.
func (r *rig) get(t *testing.T, path string) (http.Header, string) {
	t.Helper()
	answer, err := http.Get(r.url + path)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %v", path, answer.Status, err)
	}
	return answer.Header, string(body)
}
