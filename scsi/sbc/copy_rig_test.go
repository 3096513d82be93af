package sbc

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"github.com/isantarget/isantarget/scsi"
	"github.com/isantarget/isantarget/scsi/spc"
)

// A copyRig is some units that one nexus sees, LUN 0 on.
type copyRig struct {
	*rig // LUN 0
	rigs []*rig
	all  *scsi.UnitMap
}

func newCopyRig(t testing.TB, n int, change func(i int, o *Options, s *recorder)) *copyRig {
	t.Helper()
	rigs := make([]*rig, n)
	for i := range rigs {
		rigs[i] = newRig(t, func(o *Options, s *recorder) {
			if change != nil {
				change(i, o, s)
			}
		})
	}
	return joinRigs(t, rigs...)
}

// joinRigs makes one of some rigs, LUN 0 on.
func joinRigs(t testing.TB, rigs ...*rig) *copyRig {
	t.Helper()
	cr := &copyRig{rig: rigs[0], rigs: rigs}
	units := map[scsi.LUN]*scsi.LogicalUnit{}
	for i, r := range rigs {
		var err error
		if r.unit, err = scsi.NewLogicalUnit(scsi.Identity{Name: fmt.Sprint(i), Serial: fmt.Sprintf("copy%d", i)}, r.device, nil); err != nil {
			t.Fatal(err)
		}
		r.unit.Report = func(err error) { t.Errorf("the unit reports: %v", err) }
		units[scsi.NewLUN(i)] = r.unit
	}
	cr.all = scsi.NewUnitMap(spc.NewAbsent("0"), units)
	cr.nexus = cr.join("iqn.2026-11.test:one")
	return cr
}

// join is a nexus that all units know.
func (cr *copyRig) join(name string) *scsi.Nexus {
	n := &scsi.Nexus{Initiator: scsi.TransportID{Name: name}, TargetPort: &scsi.TargetPort{Device: "iqn.2026-11.test:target", Group: 1, RelativeID: 1}}
	for _, r := range cr.rigs {
		r.unit.Attach(n)
		for r.unit.TakeAttention(n) != nil {
		}
	}
	return n
}

// at starts a command at unit i.
func (cr *copyRig) at(i int, n *scsi.Nexus, cdb, out []byte) *exchange {
	r := cr.rigs[i]
	x := &exchange{out: out, expected: MaximumTransferLength, done: make(chan struct{}), abort: make(chan struct{})}
	x.command.Units, x.command.LUN = cr.all, scsi.NewLUN(i)
	r.send(n, x, cdb)
	return x
}

func (cr *copyRig) want(t testing.TB, a answer, key scsi.SenseKey, code scsi.SenseCode) {
	t.Helper()
	if a.status != scsi.CheckCondition || a.key() != key || a.code() != code {
		t.Errorf("%v, %s; want %v, %v", a.status, a.describe(), key, code)
	}
}

func wantGood(t testing.TB, a answer) answer {
	t.Helper()
	if a.status != scsi.Good {
		t.Fatalf("%v, %s", a.status, a.describe())
	}
	return a
}

// A move is a segment of EXTENDED COPY; from and to are LUNs.
type move struct {
	from, to       int
	fromLBA, toLBA uint64
	blocks         uint16
}

func (cr *copyRig) list(id byte, moves ...move) []byte {
	p := make([]byte, 16)
	p[0] = id
	for _, r := range cr.rigs {
		p = spc.AppendCSCD(p, r.unit, r.device.blockSize)
	}
	binary.BigEndian.PutUint16(p[2:], uint16(len(p)-16))
	at := len(p)
	for _, m := range moves {
		d := make([]byte, 28)
		d[0], d[3] = 0x02, 24
		binary.BigEndian.PutUint16(d[4:], uint16(m.from))
		binary.BigEndian.PutUint16(d[6:], uint16(m.to))
		binary.BigEndian.PutUint16(d[10:], m.blocks)
		binary.BigEndian.PutUint64(d[12:], m.fromLBA)
		binary.BigEndian.PutUint64(d[20:], m.toLBA)
		p = append(p, d...)
	}
	binary.BigEndian.PutUint32(p[8:], uint32(len(p)-at))
	return p
}

func thirdParty(opcode, action byte, list uint32, n int) []byte {
	c := make([]byte, 16)
	c[0], c[1] = opcode, action
	switch {
	case opcode == 0x84 && action == 0x07:
		binary.BigEndian.PutUint32(c[2:], list)
	case opcode == 0x84:
		c[2] = byte(list)
	case action >= 0x10:
		binary.BigEndian.PutUint32(c[6:], list)
	}
	binary.BigEndian.PutUint32(c[10:], uint32(n))
	return c
}

func (cr *copyRig) copies(p []byte) answer {
	return cr.at(0, cr.nexus, thirdParty(0x83, 0, 0, len(p)), p).answer()
}

// fill writes a pattern around the device.
func (r *rig) fill(seed byte, off, n int) []byte {
	r.t.Helper()
	p := pattern(n, seed)
	if _, err := r.store.Store.WriteAt(p, int64(off)); err != nil {
		r.t.Fatal(err)
	}
	return p
}

// image is all that the store holds.
func (r *rig) image() []byte {
	r.t.Helper()
	p := make([]byte, r.store.size)
	if _, err := r.store.Store.ReadAt(p, 0); err != nil {
		r.t.Fatal(err)
	}
	return p
}

func wantImages(t testing.TB, cr *copyRig, want [][]byte) {
	t.Helper()
	for i, r := range cr.rigs {
		if got := r.image(); !bytes.Equal(got, want[i]) {
			at := difference(got, want[i])
			t.Fatalf("LUN %d differs from byte %d on: %x, want %x", i, at, got[at], want[i][at])
		}
	}
}

// blockRange is a range descriptor of the token commands.
type blockRange struct {
	lba    uint64
	blocks uint32
}

func appendRanges(p []byte, ranges []blockRange) []byte {
	binary.BigEndian.PutUint16(p[len(p)-2:], uint16(16*len(ranges)))
	for _, r := range ranges {
		p = binary.BigEndian.AppendUint64(p, r.lba)
		p = binary.BigEndian.AppendUint32(p, r.blocks)
		p = append(p, 0, 0, 0, 0)
	}
	binary.BigEndian.PutUint16(p, uint16(len(p)-2))
	return p
}

func populateList(ranges ...blockRange) []byte { return appendRanges(make([]byte, 16), ranges) }

func usingList(token []byte, offset uint64, flags byte, ranges ...blockRange) []byte {
	p := make([]byte, 536)
	p[2] = flags
	binary.BigEndian.PutUint64(p[8:], offset)
	copy(p[16:], token)
	return appendRanges(p, ranges)
}

// populate makes a token of blocks of unit i, and reads it back.
func (cr *copyRig) populate(t testing.TB, i int, ranges ...blockRange) []byte {
	t.Helper()
	p := populateList(ranges...)
	wantGood(t, cr.at(i, cr.nexus, thirdParty(0x83, 0x10, 7, len(p)), p).answer())
	info := wantGood(t, cr.at(i, cr.nexus, thirdParty(0x84, 0x07, 7, 4096), nil).answer()).in
	if n := int(binary.BigEndian.Uint32(info)) + 4; n != len(info) || n != 32+4+2+512 || info[5] != byte(spc.CopyCompleted) {
		t.Fatalf("RECEIVE ROD TOKEN INFORMATION: % x", info[:36])
	}
	return slices.Clone(info[38:])
}

func (cr *copyRig) use(i int, n *scsi.Nexus, p []byte) answer {
	return cr.at(i, n, thirdParty(0x83, 0x11, 9, len(p)), p).answer()
}
