package sbc

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/isantarget/isantarget/scsi"
)

// fuzzBlocks is a medium small enough that random fields fall within it often.
const fuzzBlocks = 64

// FuzzCDB sends a command with random fields through the whole table: it never
// panics (the unit would report that), ends once, asks Delivery for no more than
// MAXIMUM TRANSFER LENGTH, and leaves the medium alone when it is refused as
// ILLEGAL REQUEST.
func FuzzCDB(f *testing.F) {
	seed := newRig(f, nil)
	random := rand.New(rand.NewPCG(3, 3))
	for _, op := range seed.unit.Operations() {
		for range 4 {
			c := make([]byte, len(op.Usage))
			for i, bits := range op.Usage {
				c[i] = byte(random.Uint32()) & bits
				if random.IntN(3) > 0 && i > 1 {
					c[i] = 0
				}
			}
			c[0] = op.Opcode
			if op.HasServiceAction {
				copy(c, op.Usage[:2])
				if op.Opcode == variableLength {
					copy(c[7:10], op.Usage[7:10])
				}
			}
			f.Add(c, uint16(random.IntN(5)*256), byte(random.IntN(3)))
		}
	}
	f.Add([]byte{}, uint16(0), byte(0))
	f.Fuzz(func(t *testing.T, c []byte, promised uint16, fill byte) {
		if len(c) > 64 {
			return
		}
		r := newRig(t, func(o *Options, s *recorder) {
			*s = *newRecorder(t, fuzzBlocks*512)
			o.Removable = true
		})
		before := bytes.Repeat([]byte{0x5a}, fuzzBlocks*512)
		if _, err := r.store.Store.WriteAt(before, 0); err != nil {
			t.Fatal(err)
		}
		out := bytes.Repeat([]byte{fill}, int(promised))
		x := &measured{exchange: exchange{out: out, expected: MaximumTransferLength, done: make(chan struct{}), abort: make(chan struct{})}}
		x.command.Nexus, x.command.CDB, x.command.Delivery = r.nexus, c, x
		r.unit.Execute(&x.command)
		a := x.answer()
		r.device.background.wait()
		if x.most > MaximumTransferLength {
			t.Errorf("% x asks Delivery for %d bytes", c, x.most)
		}
		if a.status == scsi.CheckCondition && a.key() == scsi.KeyIllegalRequest && !bytes.Equal(r.content(0, fuzzBlocks), before) {
			t.Errorf("% x: refused with %s, but the medium is another", c, a.describe())
		}
		for _, n := range r.store.noted() {
			if n == "outside" {
				t.Errorf("% x reaches beyond the medium", c)
			}
		}
		if a.length < 0 || a.length > MaximumTransferLength || len(a.in) > a.length {
			t.Errorf("% x: length %d, %d bytes of data", c, a.length, len(a.in))
		}
	})
}

// measured notes how much is asked of Delivery.
type measured struct {
	exchange
	most int
}

func (m *measured) DataInBuffer(n int) ([]byte, error) {
	m.most = max(m.most, n)
	return m.exchange.DataInBuffer(n)
}

func (m *measured) ReceiveDataOut(n int) ([]byte, error) {
	m.most = max(m.most, n)
	return m.exchange.ReceiveDataOut(n)
}

// What the CDBs of blocks touch is in their extent: task sets order by it.
func TestExtent(t *testing.T) {
	r := newRig(t, nil)
	for _, op := range r.unit.Operations() {
		if op.Extent == nil {
			continue
		}
		c := bytes.Clone(op.Usage)
		for i := range c {
			if i > 1 && !(op.Opcode == variableLength && i < 12) {
				c[i] = byte(i)
			}
		}
		e := op.Extent(c)
		var want string
		switch n := len(c); {
		case op.Name == "UNMAP":
			want = fmt.Sprint(scsi.Extent{Blocks: 1<<64 - 1})
		case op.Name == "COMPARE AND WRITE":
			want = fmt.Sprint(scsi.Extent{LBA: 0x0203040506070809, Blocks: 0x0d})
		case op.Name == "WRITE ATOMIC (16)":
			want = fmt.Sprint(scsi.Extent{LBA: 0x0203040506070809, Blocks: 0x0c0d})
		case n == 6:
			want = fmt.Sprint(scsi.Extent{LBA: 0x1f0203, Blocks: 4})
		case n == 10:
			want = fmt.Sprint(scsi.Extent{LBA: 0x02030405, Blocks: 0x0708})
		case n == 12:
			want = fmt.Sprint(scsi.Extent{LBA: 0x02030405, Blocks: 0x06070809})
		case n == 16:
			want = fmt.Sprint(scsi.Extent{LBA: 0x0203040506070809, Blocks: 0x0a0b0c0d})
		default:
			want = fmt.Sprint(scsi.Extent{LBA: 0x0c0d0e0f10111213, Blocks: 0x1c1d1e1f})
		}
		if fmt.Sprint(e) != want {
			t.Errorf("%s: extent %v, want %s", op.Name, e, want)
		}
	}
	zero := make([]byte, 10)
	if e := form10.extentToEnd(zero); e.Blocks != 1<<64-1 {
		t.Errorf("zero blocks to the end: %v", e)
	}
}
