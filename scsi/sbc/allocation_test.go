package sbc

import (
	"testing"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/backstore/memory"
	"github.com/isantarget/isantarget/scsi"
)

// A bench is a Delivery that allocates nothing, with its command.
type bench struct {
	command scsi.Command
	buffer  []byte
	ended   bool
}

func (b *bench) DataInBuffer(n int) ([]byte, error)   { return b.buffer[:n], nil }
func (b *bench) ReceiveDataOut(n int) ([]byte, error) { return b.buffer[:n], nil }
func (b *bench) AbortCommand()                        {}
func (b *bench) SendCommandComplete()                 { b.ended = true }

// newBench makes a unit upon memory, which never blocks.
func newBench(tb testing.TB) (unit *scsi.LogicalUnit, n *scsi.Nexus, b *bench) {
	store, err := memory.New(4 * mib)
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := store.WriteAt(make([]byte, mib), 0); err != nil {
		tb.Fatal(err)
	}
	device, err := New(Options{Medium: backstore.Bind(store), BlockSize: 512, WriteCache: true, Thin: true})
	if err != nil {
		tb.Fatal(err)
	}
	unit, err = scsi.NewLogicalUnit(scsi.Identity{Name: "bench", Serial: "0123456789abcdef"}, device, nil)
	if err != nil {
		tb.Fatal(err)
	}
	n = &scsi.Nexus{TargetPort: &scsi.TargetPort{Device: "iqn.2026-11.test:target", RelativeID: 1}}
	unit.Attach(n)
	for unit.TakeAttention(n) != nil {
	}
	return unit, n, &bench{buffer: make([]byte, 64<<10)}
}

func (b *bench) execute(tb testing.TB, unit *scsi.LogicalUnit, n *scsi.Nexus, cdb []byte) {
	b.command.Reset()
	b.command.Nexus, b.command.CDB, b.command.Delivery, b.ended = n, cdb, b, false
	unit.Execute(&b.command)
	if !b.ended || b.command.Status != scsi.Good {
		tb.Fatalf("% x: ended %v inline, %v", cdb, b.ended, b.command.Status)
	}
}

// READ and WRITE of what is in memory end on the caller's goroutine and allocate
// nothing, in every form.
func TestReadWrite_AllocateNothing(t *testing.T) {
	unit, n, b := newBench(t)
	for _, forms := range []map[form]byte{readForms, writeForms} {
		for f, code := range forms {
			c := cdb(f, code, 0, 8, 8)
			if got := testing.AllocsPerRun(200, func() { b.execute(t, unit, n, c) }); got != 0 {
				t.Errorf("operation code %02Xh: %v allocations", c[0], got)
			}
		}
	}
}

func benchmark(b *testing.B, c []byte, bytes int64) {
	unit, n, x := newBench(b)
	b.SetBytes(bytes)
	b.ReportAllocs()
	for b.Loop() {
		x.execute(b, unit, n, c)
	}
}

func BenchmarkRead10_4K(b *testing.B)  { benchmark(b, read10(8, 8), 4096) }
func BenchmarkWrite10_4K(b *testing.B) { benchmark(b, write10(8, 8), 4096) }
