package target

import (
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/isantarget/isantarget/backstore"
	ram "github.com/isantarget/isantarget/backstore/memory"
	"github.com/isantarget/isantarget/iscsi"
)

// patience is how long a test waits for what must happen. It decides nothing: who
// runs into it has failed.
const patience = time.Minute

// An uncachedStore has what lies below edge in memory; a read beyond it waits until
// as many are in the store as gather says.
type uncachedStore struct {
	*ram.Store
	edge   int64
	gather int32
	inside atomic.Int32
	full   chan struct{} // closed when they have gathered
}

func (s *uncachedStore) Features() backstore.Features {
	return s.Store.Features() | backstore.CanReadBatch
}

func (s *uncachedStore) TryReadBatch(reads []backstore.Read) {
	for i := range reads {
		_, reads[i].Err = s.TryReadAt(reads[i].Data, reads[i].Offset)
	}
}

func (s *uncachedStore) TryReadAt(p []byte, off int64) (int, error) {
	if off >= s.edge {
		return 0, backstore.ErrWouldBlock
	}
	return s.Store.TryReadAt(p, off)
}

func (s *uncachedStore) ReadAt(p []byte, off int64) (int, error) {
	if off >= s.edge {
		if s.inside.Add(1) == s.gather {
			close(s.full)
		}
		<-s.full
	}
	return s.Store.ReadAt(p, off)
}

func newUncachedStore(t *testing.T, gather int32) *uncachedStore {
	t.Helper()
	store, err := ram.New(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	for off := range int64(1 << 20 / 4096) {
		if _, err := store.WriteAt([]byte{byte(off)}, off*4096); err != nil {
			t.Fatal(err)
		}
	}
	return &uncachedStore{Store: store, edge: 64 << 10, gather: gather, full: make(chan struct{})}
}

// The queue depth of the initiator reaches the medium: what is not in memory is read
// side by side, all 32 of one connection.
func TestReadsGatherInTheStore(t *testing.T) {
	const depth = 32
	r := newRigOn(t, newUncachedStore(t, depth))
	for i := range depth {
		var h iscsi.BHS
		r.command(t, &h, 0x28, uint32(8*(16+i)), 8, nil)
	}
	r.conn.SetReadDeadline(time.Now().Add(patience))
	seen := map[byte]bool{}
	for range depth {
		if status := r.answer(t); status != 0 {
			t.Fatalf("status %02Xh", status)
		}
		seen[r.in[0]] = true
	}
	for i := range depth {
		if !seen[byte(16+i)] {
			t.Errorf("the data of block %d never came", 16+i)
		}
	}
}

// Reads that hang in the store hold up neither NOP-Out nor reads from memory of their
// own connection, nor another logical unit.
func TestHangingReadHoldsUpNothing(t *testing.T) {
	const reads = 8
	store := newUncachedStore(t, reads+1)
	r := newRigOn(t, store)
	r.conn.SetReadDeadline(time.Now().Add(patience))
	for i := range reads {
		var h iscsi.BHS
		r.command(t, &h, 0x28, uint32(8*(16+i)), 8, nil)
		r.ping(t)
		if status := r.read10(t, 8, 8); status != 0 || r.in[0] != 1 {
			t.Fatalf("READ from memory beside a hanging one: status %02Xh, data %02X", status, r.in[0])
		}
		r.lun = 1
		if status := r.read10(t, 0, 8); status != 0 {
			t.Fatalf("READ of another unit beside a hanging one: status %02Xh", status)
		}
		r.lun = 0
	}
	var h iscsi.BHS
	r.command(t, &h, 0x28, 8*(16+reads), 8, nil) // the last that they wait for
	for range reads + 1 {
		if status := r.answer(t); status != 0 {
			t.Fatalf("a READ that hung ended with status %02Xh", status)
		}
	}
}

// Two hundred connections fill their windows with writes whose data never comes and
// reads whose answers nobody takes: the memory that costs is what the limit says, and
// what a connection and its commands cost without data.
func TestMemoryOfFullWindows(t *testing.T) {
	const (
		connections = 200
		limit       = 64 << 20
		overhead    = 400 << 10    // of a connection with a full window of tasks, both ends
		patience    = 4 * patience // thousands of commands, and goroutines
	)
	store, err := ram.New(8 << 20)
	if err != nil {
		t.Fatal(err)
	}
	before := heap()
	r := newRigWith(t, store, Options{Limits: Limits{
		Memory: limit, Connections: 2 * connections, SessionsPerInitiator: 2 * connections,
		NopInterval: time.Hour, // on a busy machine peers that take nothing would be gone before all have begun
	}})
	var all []*rig
	for i := range connections {
		o := r.another(t, func(p *iscsi.LoginRequest) { p.ISID[1], p.ISID[2] = byte(i), 1 })
		o.conn.SetDeadline(time.Now().Add(patience))
		if s := o.loginStatus(t); s != iscsi.LoginSuccess {
			t.Fatal(s)
		}
		o.in = nil // it reads no more
		all = append(all, o)
	}
	for i, o := range all {
		for range 128 {
			var h iscsi.BHS
			if i%2 == 0 {
				o.command(t, &h, 0x28, 0, 512, nil)
			} else {
				o.command(t, &h, 0x2a, 0, 512, []byte{})
			}
		}
	}
	e := r.entity
	for deadline := time.Now().Add(patience); e.memory.used.Load() < e.memory.limit-MaxTransfer || e.memory.queued.Load() == 0; {
		if time.Now().After(deadline) {
			t.Fatalf("%d bytes of %d are in use, %d wait", e.memory.used.Load(), e.memory.limit, e.memory.queued.Load())
		}
		time.Sleep(time.Millisecond)
	}
	if used := heap() - before; used > limit+connections*overhead {
		t.Errorf("the heap has grown by %d MiB, with a limit of %d MiB for data", used>>20, limit>>20)
	}
	for _, o := range all {
		o.conn.Close()
	}
	for deadline := time.Now().Add(patience); e.memory.used.Load() != 0 || e.burstMemory.used.Load() != 0; {
		if time.Now().After(deadline) {
			t.Fatalf("%d and %d bytes are booked when all have gone", e.memory.used.Load(), e.burstMemory.used.Load())
		}
		time.Sleep(time.Millisecond)
	}
}

// heap is how many bytes of it are in use.
func heap() int64 {
	runtime.GC()
	runtime.GC() // what pools have kept over the first
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse)
}

// Reads that came together are answered, each with its own data, whatever comes behind
// them in the same segment: a write, a ping, the abort of one of them, the end.
func TestGatheredReads(t *testing.T) {
	r := newRig(t, 8<<20)
	r.conn.SetDeadline(time.Now().Add(patience))
	for i := range 64 {
		var h iscsi.BHS
		r.command(t, &h, 0x2a, uint32(8*i), 8, append([]byte{byte(i)}, make([]byte, 4095)...))
		if status := r.answer(t); status != 0 {
			t.Fatal(status)
		}
	}
	wire := r.conn
	for round := range 50 {
		segment := &segment{Conn: wire}
		r.conn = segment
		first := r.cmdSN
		const reads = 40
		for i := range reads {
			var h iscsi.BHS
			r.command(t, &h, 0x28, uint32(8*(i+round%20)), 8, nil)
		}
		kind := round % 4
		switch kind {
		case 1:
			var h iscsi.BHS
			r.command(t, &h, 0x2a, 4096, 8, make([]byte, 4096))
		case 2:
			r.manage(t, iscsi.AbortTaskSet)
		}
		if _, err := wire.Write(segment.bytes); err != nil {
			t.Fatal(err)
		}
		r.conn = wire
		left := map[uint32]bool{}
		for i := range reads {
			left[first+uint32(i)] = true
		}
		managed, written := kind != 2, kind != 1
		for len(left) > 0 && (kind != 2 || !managed) || !managed || !written {
			h := r.receive(t)
			tag := h.InitiatorTaskTag()
			switch h.Opcode() {
			case iscsi.OpTaskManagementResponse:
				managed = true
			case iscsi.OpSCSIResponse:
				written = true
			case iscsi.OpDataIn:
				if want := byte(tag - first + uint32(round%20)); !left[tag] || h[3] != 0 || r.in[0] != want {
					t.Fatalf("round %d: data %02X of command %d, status %02Xh, want %02X", round, r.in[0], tag-first, h[3], want)
				}
				delete(left, tag)
			default:
				t.Fatalf("%v", h.Opcode())
			}
		}
	}
	r.ping(t)
}

// A segment keeps what is written to it.
type segment struct {
	net.Conn
	bytes []byte
}

func (s *segment) Write(p []byte) (int, error) {
	s.bytes = append(s.bytes, p...)
	return len(p), nil
}
