package hostile

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"go.uber.org/goleak"

	"github.com/isantarget/isantarget/configs"
	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/iscsi"
	"github.com/isantarget/isantarget/provision"
)

const (
	node  = "iqn.2026-11.org.isantarget.test:disk"
	alice = "iqn.2026-11.org.isantarget.test:alice"
	bob   = "iqn.2026-11.org.isantarget.test:bob"
	block = 512
)

// What the configuration allows. The read buffers of the connections stand beside the
// memory for data.
const (
	connections = 128
	dataMemory  = 32 << 20
	readBuffers = connections * (64 << 10)
	// margin is for sessions and their slots, for the peers of the test itself, and for
	// what has been let go and not been collected.
	margin = 40 << 20
)

const configuration = `
state = "state"
[limits]
connections = 128
memory = "32MiB"
drain-timeout = "1s"
login-timeout = "5m"
#
sessions-per-initiator = 100
[[portal-group]]
tag = 1
listen = ["127.0.0.1:0"]
[[lun]]
name = "disk"
kind = "memory"
size = "16MiB"
[[target]]
name = "` + node + `"
access = "open"
luns = { 0 = "disk" }
`

// patience is how long a test waits for what must happen.
const patience = 60 * time.Second

// A rig is a daemon under attack, and an initiator that wants to be served meanwhile.
type rig struct {
	*provision.Provisioner
	t       *testing.T
	address string
	before  uint64       // bytes of the heap before the attack
	served  atomic.Int64 // commands of the bystander
	stop    chan struct{}
	ended   sync.WaitGroup
	conns   []net.Conn
}

// start serves until the test ends; then nothing is left behind.
func start(t *testing.T) *rig {
	t.Helper()
	return startPatient(t, "")
}

// patient is for peers that are to stay however busy the machine is.
const patient = "nop-interval = \"1h\"\n"

// startPatient is start with further limits.
func startPatient(t *testing.T, limits string) *rig {
	t.Helper()
	ignore := goleak.IgnoreCurrent()
	log := logrus.New()
	log.SetOutput(io.Discard)
	r := &rig{Provisioner: provision.New(provision.Options{Log: log, Revision: "1"}), t: t, stop: make(chan struct{})}
	want, err := configs.Parse("hostile.toml", t.TempDir(), strings.Replace(configuration, "#\n", limits, 1))
	if err != nil {
		t.Fatal(err)
	}
	report, err := r.Apply(context.Background(), want)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, c := range r.conns {
			c.Close()
		}
		if _, err := r.Apply(context.Background(), configs.Config{}); err != nil {
			t.Errorf("stop: %v", err)
		}
		err := goleak.Find(ignore)
		for end := time.Now().Add(patience); err != nil && time.Now().Before(end); {
			err = goleak.Find(ignore)
		}
		if err != nil {
			t.Errorf("goroutines are left behind: %v", err)
		}
	})
	r.address = report.Targets[0].Portals[0]
	r.bystand()
	r.goesOn(50)
	r.before = heap()
	return r
}

// heap is what lives.
func heap() uint64 {
	runtime.GC()
	runtime.GC() // what pools keep goes with the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

// bounded demands that the daemon keeps no more than it may.
func (r *rig) bounded() {
	r.t.Helper()
	if now := heap(); now > r.before+dataMemory+readBuffers+margin {
		r.t.Errorf("%d MiB are in use, %d MiB were before the attack; the limits allow %d MiB more", now>>20, r.before>>20, (dataMemory+readBuffers)>>20)
	} else {
		r.t.Logf("in use: %d MiB, before: %d MiB, goroutines: %d", now>>20, r.before>>20, runtime.NumGoroutine())
	}
}

// goesOn waits until the bystander has been served n times more.
func (r *rig) goesOn(n int64) {
	r.t.Helper()
	want := r.served.Load() + n
	for end := time.Now().Add(patience); r.served.Load() < want; time.Sleep(time.Millisecond) {
		if r.t.Failed() {
			r.t.FailNow()
		}
		if time.Now().After(end) {
			r.t.Fatalf("the bystander was served %d times in %v, want %d", r.served.Load()-want+n, patience, n)
		}
	}
}

// bystand writes and reads, and compares, until the test ends.
func (r *rig) bystand() {
	c := r.login(bob)
	r.t.Cleanup(func() { // before c is closed
		close(r.stop)
		r.ended.Wait()
	})
	r.ended.Go(func() {
		random := rand.New(rand.NewPCG(1, 2))
		data := make([]byte, 64<<10)
		blocks := len(data) / block
		for {
			select {
			case <-r.stop:
				return
			default:
			}
			for i := range data {
				data[i] = byte(random.Uint32())
			}
			lba := uint32(random.IntN(64) * blocks)
			for _, cmd := range []initiator.Command{{CDB: cdb10(0x2a, lba, blocks), Write: data}, {CDB: cdb10(0x28, lba, blocks), Read: len(data)}} {
				got, err := execute(c, cmd)
				switch {
				case err != nil:
					r.t.Errorf("the bystander: %v", err)
					return
				case got.Status != 0:
					r.t.Errorf("the bystander: %x ended with status %02x, sense %x", cmd.CDB, got.Status, got.Sense)
					return
				case cmd.Read > 0 && !bytes.Equal(got.Data, data):
					r.t.Errorf("the bystander reads something else than it wrote at %d", lba)
					return
				}
				r.served.Add(1)
			}
		}
	})
}

// execute is Execute, again after a unit attention.
func execute(c *initiator.Connection, cmd initiator.Command) (*initiator.Result, error) {
	for {
		got, err := c.Execute(cmd)
		if err != nil {
			return nil, err
		}
		if key, _ := got.SenseCode(); key != 6 {
			return got, nil
		}
	}
}

// login opens a session that lasts until the test ends.
func (r *rig) login(who string, keys ...iscsi.KeyValue) *initiator.Connection {
	r.t.Helper()
	c, err := initiator.Dial(r.address, initiator.Options{ReadBuffer: 16 << 10, Timeout: patience})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { c.Close() })
	if err := c.Login(initiator.Login{InitiatorName: who, TargetName: node, SessionType: "Normal", ISID: initiator.RandomISID(), Keys: keys}); err != nil {
		r.t.Fatalf("login of %s: %v", who, err)
	}
	return c
}

// dial opens a bare connection, and closes it when the test ends.
func (r *rig) dial() net.Conn {
	r.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		c, err := net.Dial("tcp", r.address)
		if err == nil {
			r.conns = append(r.conns, c)
			return c
		}
		if time.Now().After(end) {
			r.t.Fatal(err)
		}
	}
}

// ends waits until the daemon has closed c, whatever it says before.
func ends(t *testing.T, c net.Conn) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.Copy(io.Discard, c); err != nil && isTimeout(err) {
		t.Error("the connection is still open")
	}
}

func isTimeout(err error) bool {
	e, ok := err.(net.Error)
	return ok && e.Timeout()
}

func key(k, v string) iscsi.KeyValue { return iscsi.KeyValue{Key: k, Value: v} }

func cdb10(opcode byte, lba uint32, blocks int) []byte {
	c := make([]byte, 10)
	c[0] = opcode
	binary.BigEndian.PutUint32(c[2:], lba)
	binary.BigEndian.PutUint16(c[7:], uint16(blocks))
	return c
}

// loginRequest is the first request of a login, with text behind it.
func loginRequest(more bool, text []byte) []byte {
	var h iscsi.BHS
	p := iscsi.LoginRequest{Continue: more, Transit: !more, CSG: iscsi.LoginOperationalNegotiation, NSG: iscsi.FullFeaturePhase, ISID: initiator.RandomISID(), InitiatorTaskTag: 1, CmdSN: 1}
	if more {
		p.NSG = 0
	}
	p.Marshal(&h)
	h.SetDataSegmentLength(len(text))
	return append(append(h[:], text...), make([]byte, iscsi.Pad(len(text)))...)
}
