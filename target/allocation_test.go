//go:build !race

// Under the race detector a sync.Pool forgets at random, so counting allocations
// says nothing; make test runs this file without it.

package target

import (
	"testing"

	"github.com/isantarget/isantarget/iscsi"
)

// A READ and a WRITE allocate nothing from the PDU that comes in to the PDU that
// goes out, client included.
func TestReadAllocatesNothing(t *testing.T) {
	r := newRig(t, 64<<20)
	h := new(iscsi.BHS)
	allocations := testing.AllocsPerRun(500, func() {
		r.command(t, h, 0x28, 64, 8, nil)
		if status := r.answer(t); status != 0 {
			t.Fatalf("READ (10) ended with status %02Xh", status)
		}
	})
	if allocations != 0 {
		t.Errorf("%v allocations per READ, want 0", allocations)
	}
}

// Nor do reads that come together and are read together.
func TestGatheredReadsAllocateNothing(t *testing.T) {
	const reads = 32
	r := newRig(t, 64<<20)
	h, wire, batch := new(iscsi.BHS), r.conn, &segment{}
	allocations := testing.AllocsPerRun(300, func() {
		r.conn, batch.bytes = batch, batch.bytes[:0]
		for i := range reads {
			r.command(t, h, 0x28, uint32(8*i), 8, nil)
		}
		r.conn = wire
		if _, err := wire.Write(batch.bytes); err != nil {
			t.Fatal(err)
		}
		for range reads {
			if status := r.answer(t); status != 0 {
				t.Fatalf("READ (10) ended with status %02Xh", status)
			}
		}
	})
	if allocations != 0 {
		t.Errorf("%v allocations for %d READs, want 0", allocations, reads)
	}
}

func TestWriteAllocatesNothing(t *testing.T) {
	r := newRig(t, 64<<20)
	h, data := new(iscsi.BHS), make([]byte, 4096)
	allocations := testing.AllocsPerRun(500, func() {
		r.command(t, h, 0x2a, 64, 8, data)
		if status := r.answer(t); status != 0 {
			t.Fatalf("WRITE (10) ended with status %02Xh", status)
		}
	})
	if allocations != 0 {
		t.Errorf("%v allocations per WRITE, want 0", allocations)
	}
}

func BenchmarkRead4K(b *testing.B) {
	r := newRig(b, 64<<20)
	h := new(iscsi.BHS)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		r.command(b, h, 0x28, uint32(i*8)%131072, 8, nil)
		r.answer(b)
	}
}

// BenchmarkGatheredReads4K is 32 reads at once; an operation is one of them.
func BenchmarkGatheredReads4K(b *testing.B) {
	const reads = 32
	r := newRig(b, 64<<20)
	h, wire, batch := new(iscsi.BHS), r.conn, &segment{}
	b.ReportAllocs()
	for i := 0; i < b.N; i += reads {
		r.conn, batch.bytes = batch, batch.bytes[:0]
		for j := range reads {
			r.command(b, h, 0x28, uint32((i+j)*8)%131072, 8, nil)
		}
		r.conn = wire
		if _, err := wire.Write(batch.bytes); err != nil {
			b.Fatal(err)
		}
		for range reads {
			r.answer(b)
		}
	}
}

func BenchmarkWrite4K(b *testing.B) {
	r := newRig(b, 64<<20)
	h, data := new(iscsi.BHS), make([]byte, 4096)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		r.command(b, h, 0x2a, uint32(i*8)%131072, 8, data)
		r.answer(b)
	}
}
