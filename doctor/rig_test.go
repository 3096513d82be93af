package doctor

import (
	"io"
	"maps"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/backstore/memory"
	"github.com/isantarget/isantarget/internal/initiator"
	"github.com/isantarget/isantarget/iscsi"
	"github.com/isantarget/isantarget/scsi"
	"github.com/isantarget/isantarget/scsi/sbc"
	"github.com/isantarget/isantarget/scsi/spc"
	"github.com/isantarget/isantarget/target"
)

const rigName = "iqn.2026-11.test:rig"

// A lie is what is wrong with a target.
type lie struct {
	identity  func(lun int, id *scsi.Identity)
	rows      func(rows []scsi.Operation, m *backstore.Medium) []scsi.Operation
	wire      *wire // between the doctor and the target
	blockSize int
	forgetful bool // it has no place to keep reservations
	state     scsi.AccessState
	notReady  bool
	arrange   func(t *testing.T, x *examination) // what only this check meets
}

// A liar is a disk whose command table says one thing and does another.
type liar struct {
	*sbc.Device
	lie lie
	m   *backstore.Medium
}

func (l *liar) Operations() []scsi.Operation {
	rows := l.Device.Operations()
	if l.lie.rows != nil {
		rows = l.lie.rows(rows, l.m)
	}
	return rows
}

func (l *liar) Ready() *scsi.Sense {
	if l.lie.notReady {
		return scsi.NotReady(scsi.ASCLogicalUnitNotReadyManualInterventionRequired)
	}
	return l.Device.Ready()
}

// records keep reservations in memory.
type records struct {
	mu   sync.Mutex
	kept map[string][]byte
}

func (r *records) Load(id scsi.Identity, kind string) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.kept[id.Serial+kind], nil
}

func (r *records) Save(id scsi.Identity, kind string, record []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kept[id.Serial+kind] = slices.Clone(record)
	return nil
}

// serve runs a target with two disks of 8 MiB that lies, and gives its portal.
func serve(t *testing.T, l lie) string {
	t.Helper()
	log := logrus.New()
	log.SetOutput(io.Discard)
	e := target.NewEntity(target.Options{Log: log})
	group := e.NewPortalGroup(1)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	units := map[scsi.LUN]*scsi.LogicalUnit{}
	keeper := &records{kept: map[string][]byte{}}
	for n := range 2 {
		units[scsi.NewLUN(n)] = newUnit(t, l, n, keeper)
	}
	node, err := e.NewNode(target.NodeConfig{Name: rigName, Groups: []*target.PortalGroup{group}, Rules: []target.Rule{{Label: "open", Units: scsi.NewUnitMap(spc.NewAbsent("1"), units)}}})
	if err != nil {
		t.Fatal(err)
	}
	e.SetNodes([]*target.Node{node})
	group.Serve(listener)
	t.Cleanup(func() {
		if err := e.Shutdown(t.Context()); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
	})
	return listener.Addr().String()
}

func newUnit(t *testing.T, l lie, n int, keeper *records) *scsi.LogicalUnit {
	t.Helper()
	store, err := memory.New(8 << 20)
	if err != nil {
		t.Fatal(err)
	}
	m := backstore.Bind(store)
	t.Cleanup(func() { m.Close() })
	size := 512
	if l.blockSize != 0 {
		size = l.blockSize
	}
	device, err := sbc.New(sbc.Options{Medium: m, BlockSize: size, WriteCache: true, Thin: true})
	if err != nil {
		t.Fatal(err)
	}
	id := scsi.Identity{Name: "rig", Serial: "serial-" + string(rune('a'+n)), Revision: "1"}
	if l.identity != nil {
		l.identity(n, &id)
	}
	var kept scsi.Keeper
	if !l.forgetful {
		kept = keeper
	}
	var server scsi.DeviceServer = device
	if l.rows != nil || l.notReady {
		server = &liar{device, l, m}
	}
	lu, err := scsi.NewLogicalUnit(id, server, kept)
	if err != nil {
		t.Fatal(err)
	}
	port := &scsi.TargetPort{Device: rigName, Group: 1, RelativeID: 1}
	if err := lu.SetPortGroups([]scsi.PortGroup{{ID: 1, Ports: []*scsi.TargetPort{port}, State: l.state}}); err != nil {
		t.Fatal(err)
	}
	return lu
}

// instead has the rows of an operation code (and service action, unless it is -1) do
// something else; do is what they did.
func instead(opcode byte, action int, f func(c *scsi.Command, do func(*scsi.Command) error) error) func([]scsi.Operation, *backstore.Medium) []scsi.Operation {
	return func(rows []scsi.Operation, _ *backstore.Medium) []scsi.Operation {
		for i := range rows {
			if r := &rows[i]; r.Opcode == opcode && (action < 0 || int(r.ServiceAction) == action) {
				do := r.Execute
				r.Traits &^= scsi.Inline
				r.Execute = func(c *scsi.Command) error { return f(c, do) }
			}
		}
		return rows
	}
}

// edited has an operation code answer with other data.
func edited(opcode byte, action int, f func(cdb scsi.CDB, data []byte)) func([]scsi.Operation, *backstore.Medium) []scsi.Operation {
	return instead(opcode, action, func(c *scsi.Command, do func(*scsi.Command) error) error {
		err := do(c)
		if err == nil && len(c.DataIn) > 0 {
			f(c.CDB, c.DataIn)
		}
		return err
	})
}

// nothing has an operation code do nothing, and say GOOD.
func nothing(opcode byte, action, data int) func([]scsi.Operation, *backstore.Medium) []scsi.Operation {
	return instead(opcode, action, func(c *scsi.Command, _ func(*scsi.Command) error) error {
		if data > 0 {
			c.Length = data
			_, err := c.Delivery.ReceiveDataOut(data)
			return err
		}
		return nil
	})
}

// refused has an operation code refused.
func refused(opcode byte, action int) func([]scsi.Operation, *backstore.Medium) []scsi.Operation {
	return instead(opcode, action, func(*scsi.Command, func(*scsi.Command) error) error {
		return scsi.IllegalRequest(scsi.ASCInvalidCommandOperationCode)
	})
}

// unguarded lets operation codes through every reservation.
func unguarded(opcodes ...byte) func([]scsi.Operation, *backstore.Medium) []scsi.Operation {
	return func(rows []scsi.Operation, _ *backstore.Medium) []scsi.Operation {
		for i := range rows {
			if slices.Contains(opcodes, rows[i].Opcode) {
				rows[i].Conflict = scsi.Allowed
			}
		}
		return rows
	}
}

// A wire stands between the doctor and a target, and changes what goes over it. It repairs
// digests, as a target does that does not look at them.
type wire struct {
	// edit changes a PDU of connection n; false: it is lost.
	edit func(n int, toTarget bool, p *initiator.PDU) bool
	// deaf keeps the doctor's side open when the target closes.
	deaf bool
	// once takes no connection but the first.
	once bool
	// raw, in the place of all that, is what the target's side says.
	raw func(c net.Conn)
}

// listen runs the wire before a portal, and gives its own.
func (w *wire) listen(t *testing.T, portal string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	open, over := map[net.Conn]bool{}, false
	keep := func(c net.Conn) bool {
		mu.Lock()
		defer mu.Unlock()
		if !over {
			open[c] = true
		}
		return !over
	}
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		defer mu.Unlock()
		over = true
		for c := range maps.Keys(open) {
			c.Close()
		}
	})
	go func() {
		for n := 0; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if w.once && n > 0 || !keep(c) {
				c.Close()
				continue
			}
			if w.raw != nil {
				go func() { defer c.Close(); w.raw(c) }()
				continue
			}
			far, err := net.Dial("tcp", portal)
			if err != nil || !keep(far) {
				c.Close()
				continue
			}
			s := &stretch{w: w, n: n}
			go func() {
				_ = s.carry(c, far, true)
				far.Close()
			}()
			go func() {
				_ = s.carry(far, c, false)
				if !w.deaf {
					c.Close()
				}
			}()
		}
	}()
	return l.Addr().String()
}

// A stretch is one connection over a wire.
type stretch struct {
	w       *wire
	n       int
	mu      sync.Mutex
	digests initiator.Digests
	full    bool
}

func (s *stretch) agreed() initiator.Digests {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.full {
		return initiator.Digests{}
	}
	return s.digests
}

func (s *stretch) carry(from io.Reader, to io.Writer, toTarget bool) error {
	for {
		p := new(initiator.PDU)
		if _, err := io.ReadFull(from, p.BHS[:]); err != nil {
			return err
		}
		d := s.agreed()
		rest := func(n int, digest bool) ([]byte, error) {
			if digest {
				n += iscsi.DigestLength
			}
			b := make([]byte, n)
			_, err := io.ReadFull(from, b)
			return b, err
		}
		head, err := rest(p.BHS.TotalAHSLength(), d.Header)
		if err != nil {
			return err
		}
		p.AHS = head[:p.BHS.TotalAHSLength()]
		if n := p.BHS.DataSegmentLength(); n > 0 {
			data, err := rest(n+iscsi.Pad(n), d.Data)
			if err != nil {
				return err
			}
			p.Data = data[:n:n]
		}
		if p.BHS.Opcode() == iscsi.OpLoginResponse {
			s.login(p)
		}
		if s.w.edit != nil && !s.w.edit(s.n, toTarget, p) {
			continue
		}
		if _, err := to.Write(p.Encode(d, 0)); err != nil {
			return err
		}
	}
}

// login sees which digests are agreed on, and when they begin.
func (s *stretch) login(p *initiator.PDU) {
	var r iscsi.LoginResponse
	if r.Unmarshal(&p.BHS) != nil {
		return
	}
	pairs, _ := iscsi.ParseText(p.Data, iscsi.TextLimits{})
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, kv := range pairs {
		switch kv.Key {
		case "HeaderDigest":
			s.digests.Header = kv.Value == "CRC32C"
		case "DataDigest":
			s.digests.Data = kv.Value == "CRC32C"
		}
	}
	s.full = s.full || r.Transit && r.NSG == iscsi.FullFeaturePhase
}

// examinationOf is an examination of LUN 0 of a target that lies, as the checks of a report meet it.
func examinationOf(t *testing.T, l lie) *examination {
	t.Helper()
	portal := serve(t, l)
	if l.wire != nil {
		portal = l.wire.listen(t, portal)
	}
	x := newExamination(t.Context(), &Options{Destructive: true, Timeout: 5 * time.Second}, portal, rigName, 0)
	t.Cleanup(func() {
		if x.ctx.Err() == nil {
			x.restore()
		}
	})
	return x
}
