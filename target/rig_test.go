package target

import (
	"encoding/binary"
	"io"
	"net"
	"testing"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/backstore/file"
	ram "github.com/isantarget/isantarget/backstore/memory"
	"github.com/isantarget/isantarget/iscsi"
	"github.com/isantarget/isantarget/scsi"
	"github.com/isantarget/isantarget/scsi/sbc"
	"github.com/isantarget/isantarget/scsi/spc"
)

const rigName = "iqn.2026-11.test:rig"

// A rig is an entity with one LUN on an image file, and a bare connection to it
// that allocates nothing itself.
type rig struct {
	entity *Entity
	conn   net.Conn
	cmdSN  uint32
	statSN uint32
	pdu    [iscsi.BHSLength]byte
	in     []byte
	lun    byte // whom command asks
}

func newRig(tb testing.TB, size int64) *rig {
	tb.Helper()
	store, err := file.Open(file.Options{Path: tb.TempDir() + "/image", Size: size, Create: true})
	if err != nil {
		tb.Fatal(err)
	}
	return newRigOn(tb, store)
}

func newRigOn(tb testing.TB, store backstore.Store) *rig {
	tb.Helper()
	return newRigWith(tb, store, Options{})
}

// newRigWith makes a rig whose LUN 0 is on store; LUN 1 is in memory.
func newRigWith(tb testing.TB, store backstore.Store, o Options) *rig {
	tb.Helper()
	beside, err := ram.New(1 << 20)
	if err != nil {
		tb.Fatal(err)
	}
	e := NewEntity(o)
	group := e.NewPortalGroup(1)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	units := scsi.NewUnitMap(spc.NewAbsent("1"), map[scsi.LUN]*scsi.LogicalUnit{
		scsi.NewLUN(0): newUnit(tb, store, "0123456789abcdef"), scsi.NewLUN(1): newUnit(tb, beside, "fedcba9876543210"),
	})
	node, err := e.NewNode(NodeConfig{Name: rigName, Groups: []*PortalGroup{group}, Rules: []Rule{{Label: "open", Units: units}}})
	if err != nil {
		tb.Fatal(err)
	}
	e.SetNodes([]*Node{node})
	group.Serve(l)
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	r := &rig{entity: e, conn: conn, in: make([]byte, 1<<20)}
	tb.Cleanup(func() {
		conn.Close()
		if err := e.Shutdown(tb.Context()); err != nil {
			tb.Error(err)
		}
	})
	r.login(tb)
	for r.lun = range 2 {
		r.read10(tb, 0, 8) // takes the unit attention
	}
	r.lun = 0
	return r
}

// newUnit makes a logical unit of a disk on store.
func newUnit(tb testing.TB, store backstore.Store, serial string) *scsi.LogicalUnit {
	tb.Helper()
	medium := backstore.Bind(store)
	tb.Cleanup(func() { medium.Close() })
	device, err := sbc.New(sbc.Options{Medium: medium, BlockSize: 512, WriteCache: true, Thin: true})
	if err != nil {
		tb.Fatal(err)
	}
	lu, err := scsi.NewLogicalUnit(scsi.Identity{Name: "rig", Serial: serial, Revision: "1"}, device, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return lu
}

func (r *rig) login(tb testing.TB) {
	if _, err := r.conn.Write(r.loginRequest(1)); err != nil {
		tb.Fatal(err)
	}
	var answer iscsi.LoginResponse
	if err := answer.Unmarshal(r.receive(tb)); err != nil || answer.Status != iscsi.LoginSuccess || !answer.Transit {
		tb.Fatalf("login: %v, %+v", err, answer)
	}
	r.cmdSN = 1
}

// loginRequest is the one request of a login with the ISID qualifier q.
func (r *rig) loginRequest(q byte) []byte {
	var h iscsi.BHS
	p := iscsi.LoginRequest{Transit: true, CSG: iscsi.LoginOperationalNegotiation, NSG: iscsi.FullFeaturePhase, ISID: iscsi.ISID{0x80, q}, InitiatorTaskTag: 1, CmdSN: 1}
	p.Marshal(&h)
	text := iscsi.AppendText(nil, iscsi.KeyValue{Key: "InitiatorName", Value: "iqn.2026-11.test:initiator"},
		iscsi.KeyValue{Key: "TargetName", Value: rigName}, iscsi.KeyValue{Key: "InitialR2T", Value: "No"},
		iscsi.KeyValue{Key: "ImmediateData", Value: "Yes"}, iscsi.KeyValue{Key: "MaxRecvDataSegmentLength", Value: "262144"})
	h.SetDataSegmentLength(len(text))
	out := append(h[:], text...)
	return append(out, make([]byte, iscsi.Pad(len(text)))...)
}

// receive reads one PDU, which must come; its data is in r.in.
func (r *rig) receive(tb testing.TB) *iscsi.BHS {
	h, ok := r.tryReceive()
	if !ok {
		tb.Fatal("the connection ended where a PDU was due")
	}
	return h
}

// tryReceive reads one PDU; false: the connection has ended.
func (r *rig) tryReceive() (*iscsi.BHS, bool) {
	h := (*iscsi.BHS)(&r.pdu)
	if _, err := io.ReadFull(r.conn, h[:]); err != nil {
		return nil, false
	}
	n := h.DataSegmentLength()
	if _, err := io.ReadFull(r.conn, r.in[:n+iscsi.Pad(n)]); err != nil {
		return nil, false
	}
	return h, true
}

// command sends a command of blocks at lba with data behind it.
func (r *rig) command(tb testing.TB, h *iscsi.BHS, opcode byte, lba uint32, blocks uint16, data []byte) {
	p := iscsi.SCSICommand{
		Final: true, Read: data == nil, Write: data != nil, Attribute: iscsi.AttributeSimple,
		LUN: uint64(scsi.NewLUN(int(r.lun))), InitiatorTaskTag: r.cmdSN, Length: uint32(blocks) * 512, CmdSN: r.cmdSN, ExpStatSN: r.statSN,
	}
	p.CDB[0] = opcode
	binary.BigEndian.PutUint32(p.CDB[2:], lba)
	binary.BigEndian.PutUint16(p.CDB[7:], blocks)
	p.Marshal(h)
	h.SetDataSegmentLength(len(data))
	r.cmdSN++
	if _, err := r.conn.Write(h[:]); err != nil {
		tb.Fatal(err)
	}
	if data != nil {
		if _, err := r.conn.Write(data); err != nil {
			tb.Fatal(err)
		}
	}
}

func (r *rig) read10(tb testing.TB, lba uint32, blocks uint16) byte {
	var h iscsi.BHS
	r.command(tb, &h, 0x28, lba, blocks, nil)
	return r.answer(tb)
}

// answer reads PDUs up to the status of a command.
func (r *rig) answer(tb testing.TB) byte {
	for {
		h := r.receive(tb)
		switch {
		case h.Opcode() == iscsi.OpSCSIResponse, h.Opcode() == iscsi.OpDataIn && h[1]&1 != 0:
			return h[3]
		case h.Opcode() != iscsi.OpDataIn:
			tb.Fatalf("%v where an answer to a command was due", h.Opcode())
		}
	}
}
