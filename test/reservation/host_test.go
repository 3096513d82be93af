package reservation

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/iscsi"
	"github.com/isantarget/isantarget/scsi"
	"github.com/isantarget/isantarget/test/daemon"
)

func TestMain(m *testing.M) { os.Exit(daemon.Main(m)) }

// The service actions of PERSISTENT RESERVE OUT.
const (
	register          = 0x00
	reserve           = 0x01
	release           = 0x02
	clearAll          = 0x03
	preempt           = 0x04
	preemptAndAbort   = 0x05
	registerAndIgnore = 0x06
)

// Statuses.
const (
	good                = 0x00
	checkCondition      = 0x02
	reservationConflict = 0x18
	taskAborted         = 0x40
)

const (
	writeExclusiveRegistrantsOnly = 5

	blockLength = 512
	aptpl       = 0x01
	allPorts    = 0x04
)

// serve starts a daemon with one disk.
func serve(t *testing.T) *daemon.Daemon {
	return daemon.Start(t, daemon.Config{LUNs: []string{"disk=" + daemon.Image(t, "disk.img", 16<<20)}})
}

// A host is an initiator port, which has a session while it is up.
type host struct {
	t      *testing.T
	number int
	c      *initiator.Connection
}

func (h *host) id() scsi.TransportID {
	return scsi.TransportID{Name: fmt.Sprintf("iqn.2026-11.org.isantarget.test:host%d", h.number), ISID: h.isid()}
}

func (h *host) isid() iscsi.ISID { return iscsi.ISID{0x80, 5: byte(h.number)} }

// up logs in to d, and takes the unit attention of a new nexus.
func (h *host) up(d *daemon.Daemon) {
	h.t.Helper()
	if err := h.tryUp(d.Address()); err != nil {
		h.t.Fatalf("host %d: %v", h.number, err)
	}
	h.calm()
}

func (h *host) tryUp(address string) error {
	if h.c != nil {
		h.c.Close()
	}
	var err error
	if h.c, err = initiator.Dial(address, initiator.Options{}); err != nil {
		return err
	}
	return h.c.Login(initiator.Login{InitiatorName: h.id().Name, ISID: h.isid(), TargetName: daemon.Target, SessionType: "Normal"})
}

// newHosts makes n hosts that are up.
func newHosts(t *testing.T, d *daemon.Daemon, n int) (hosts []*host) {
	t.Helper()
	for i := range n {
		h := &host{t: t, number: i}
		h.up(d)
		t.Cleanup(func() { h.c.Close() })
		hosts = append(hosts, h)
	}
	return hosts
}

// calm takes all unit attentions and gives their codes.
func (h *host) calm() (codes []scsi.SenseCode) {
	h.t.Helper()
	for {
		r := h.do(initiator.Command{CDB: make([]byte, 6)})
		if r.Status == good {
			return codes
		}
		key, code := r.SenseCode()
		if key != 6 {
			h.t.Fatalf("host %d: TEST UNIT READY: status %02Xh, %X/%04X", h.number, r.Status, key, code)
		}
		codes = append(codes, scsi.SenseCode(code))
	}
}

// do executes a command whose transport must not fail.
func (h *host) do(c initiator.Command) *initiator.Result {
	h.t.Helper()
	r, err := h.c.Execute(c)
	if err != nil {
		h.t.Fatalf("host %d: %v", h.number, err)
	}
	return r
}

// An out is PERSISTENT RESERVE OUT.
type out struct {
	action      byte
	kind        byte
	key, newKey uint64
	flags       byte // byte 20
}

func (o out) command() initiator.Command {
	list := binary.BigEndian.AppendUint64(nil, o.key)
	list = binary.BigEndian.AppendUint64(list, o.newKey)
	list = append(list, 0, 0, 0, 0, o.flags, 0, 0, 0)
	return initiator.Command{CDB: []byte{0x5f, o.action, o.kind, 0, 0, 0, 0, 0, byte(len(list)), 0}, Write: list}
}

// out sends o and wants status.
func (h *host) out(status uint8, o out) {
	h.t.Helper()
	if r := h.do(o.command()); r.Status != status {
		h.t.Fatalf("host %d: PERSISTENT RESERVE OUT %+v: status %02Xh, sense %X; want %02Xh", h.number, o, r.Status, r.Sense, status)
	}
}

// in sends PERSISTENT RESERVE IN and gives what it returns.
func (h *host) in(action byte) []byte {
	h.t.Helper()
	r := h.do(initiator.Command{CDB: []byte{0x5e, action, 0, 0, 0, 0, 0, 0x40, 0, 0}, Read: 0x4000})
	if r.Status != good {
		h.t.Fatalf("host %d: PERSISTENT RESERVE IN %02Xh: status %02Xh, sense %X", h.number, action, r.Status, r.Sense)
	}
	return r.Data
}

// keys is READ KEYS.
func (h *host) keys() (keys []uint64) {
	h.t.Helper()
	data := h.in(0)
	for b := data[8:]; len(b) > 0; b = b[8:] {
		keys = append(keys, binary.BigEndian.Uint64(b))
	}
	if n := binary.BigEndian.Uint32(data[4:]); int(n) != 8*len(keys) {
		h.t.Fatalf("READ KEYS: ADDITIONAL LENGTH %d with %d keys", n, len(keys))
	}
	return keys
}

// reservation is READ RESERVATION: type 0 says that there is none.
func (h *host) reservation() (key uint64, kind byte) {
	h.t.Helper()
	data := h.in(1)
	if len(data) < 24 {
		return 0, 0
	}
	return binary.BigEndian.Uint64(data[8:]), data[21]
}

// A registrant is a descriptor of READ FULL STATUS.
type registrant struct {
	key    uint64
	kind   byte // of the reservation that it holds, or 0
	port   uint16
	name   string // TransportID
	holder bool
}

// fullStatus is READ FULL STATUS.
func (h *host) fullStatus() (all []registrant) {
	h.t.Helper()
	for b := h.in(3)[8:]; len(b) > 0; {
		n := 24 + int(binary.BigEndian.Uint32(b[20:]))
		port, _, err := scsi.ParseTransportID(b[24:n], 0)
		if err != nil {
			h.t.Fatalf("READ FULL STATUS: TransportID %X: %v", b[24:n], err)
		}
		all = append(all, registrant{
			key: binary.BigEndian.Uint64(b), kind: b[13], holder: b[12]&1 != 0,
			port: binary.BigEndian.Uint16(b[18:]), name: port.TransportID.String(),
		})
		b = b[n:]
	}
	return all
}

// write writes a block of this byte.
func (h *host) write(block, content byte) (status uint8) {
	h.t.Helper()
	p := make([]byte, blockLength)
	for i := range p {
		p[i] = content
	}
	return h.do(initiator.Command{CDB: []byte{0x2a, 0, 0, 0, 0, block, 0, 0, 1, 0}, Write: p}).Status
}

// read is the first byte of a block.
func (h *host) read(block byte) byte {
	h.t.Helper()
	r := h.do(initiator.Command{CDB: []byte{0x28, 0, 0, 0, 0, block, 0, 0, 1, 0}, Read: blockLength})
	if r.Status != good || len(r.Data) != blockLength {
		h.t.Fatalf("host %d: READ: status %02Xh, sense %X", h.number, r.Status, r.Sense)
	}
	return r.Data[0]
}

// configuration writes a configuration file.
func configuration(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "isantarget.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
