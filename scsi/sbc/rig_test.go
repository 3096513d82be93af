package sbc

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/isantarget/isantarget/backstore"
	"github.com/isantarget/isantarget/backstore/memory"
	"github.com/isantarget/isantarget/scsi"
)

// A rig is a device in its logical unit, mostly upon a store that keeps a diary.
type rig struct {
	t      testing.TB
	unit   *scsi.LogicalUnit
	device *Device
	store  *recorder // nil: another one
	nexus  *scsi.Nexus
	blocks uint64
	tag    atomic.Uint32
}

// mib is enough medium for all tests but those of limits.
const mib = 1 << 20

// newRig makes a thin rig of 4 MiB with write cache, unless change says otherwise.
func newRig(t testing.TB, change func(*Options, *recorder)) *rig {
	t.Helper()
	o := Options{BlockSize: 512, WriteCache: true, Thin: true, ExplicitAccess: true}
	store := newRecorder(t, 4*mib)
	if change != nil {
		change(&o, store)
	}
	r := newRigUpon(t, backstore.Bind(store), o)
	r.store = store
	return r
}

// newRigUpon makes a rig upon any medium.
func newRigUpon(t testing.TB, m *backstore.Medium, o Options) *rig {
	t.Helper()
	o.Medium = m
	device, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, device: device, blocks: uint64(m.Geometry().Size) / uint64(o.BlockSize)}
	r.unit, err = scsi.NewLogicalUnit(scsi.Identity{Name: "test", Serial: "0123456789abcdef"}, device, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.unit.Report = func(err error) { t.Errorf("the unit reports: %v", err) }
	r.nexus = r.attach("iqn.2026-11.test:one")
	t.Cleanup(device.Close)
	return r
}

// attach makes a nexus that has seen its unit attentions.
func (r *rig) attach(name string) *scsi.Nexus {
	n := &scsi.Nexus{Initiator: scsi.TransportID{Name: name}, TargetPort: &scsi.TargetPort{Device: "iqn.2026-11.test:target", Group: 1, RelativeID: 1}}
	r.unit.Attach(n)
	for r.unit.TakeAttention(n) != nil {
	}
	return n
}

// bothSizes runs a test with blocks of 512 and of 4096 bytes.
func bothSizes(t *testing.T, test func(t *testing.T, r *rig)) {
	for _, size := range []int{512, 4096} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			test(t, newRig(t, func(o *Options, _ *recorder) { o.BlockSize = size }))
		})
	}
}

// An answer is how a command ended.
type answer struct {
	status scsi.Status
	sense  []byte
	in     []byte
	length int
	silent bool
}

// exchange is the Delivery of one command.
type exchange struct {
	command  scsi.Command
	out      []byte // what the initiator promises
	expected int    // how much it takes
	in       []byte
	done     chan struct{}
	wait     chan struct{} // set: ReceiveDataOut waits for it, or for the abort
	abort    chan struct{}
	once     sync.Once
}

func (x *exchange) DataInBuffer(n int) ([]byte, error) {
	n = min(n, x.expected)
	if len(x.in) < n {
		x.in = make([]byte, n)
	}
	return x.in[:n], nil
}

func (x *exchange) ReceiveDataOut(n int) ([]byte, error) {
	if x.wait != nil {
		if !x.command.MayBlock {
			return nil, scsi.ErrWouldBlock
		}
		x.command.StepBack()
		select {
		case <-x.wait:
		case <-x.abort:
			return nil, scsi.ErrAborted
		}
		if err := x.command.StepForward(); err != nil {
			return nil, err
		}
	}
	return x.out[:min(n, len(x.out))], nil
}

func (x *exchange) AbortCommand()        { x.once.Do(func() { close(x.abort) }) }
func (x *exchange) SendCommandComplete() { close(x.done) }

// start sends a command without waiting for its end.
func (r *rig) start(n *scsi.Nexus, cdb, out []byte, expected int) *exchange {
	x := &exchange{out: out, expected: expected, done: make(chan struct{}), abort: make(chan struct{})}
	r.send(n, x, cdb)
	return x
}

func (r *rig) send(n *scsi.Nexus, x *exchange, cdb []byte) {
	x.command.Nexus, x.command.CDB, x.command.Delivery = n, cdb, x
	x.command.Tag = scsi.Tag(r.tag.Add(1))
	r.unit.Execute(&x.command)
}

func (x *exchange) answer() answer {
	<-x.done
	c := &x.command
	return answer{c.Status, slices.Clone(c.Sense), c.DataIn, c.Length, c.Silent}
}

// run sends a command and waits; the initiator expects as much as MAXIMUM
// TRANSFER LENGTH.
func (r *rig) run(cdb, out []byte) answer {
	return r.start(r.nexus, cdb, out, MaximumTransferLength).answer()
}

// good is run for a command that must succeed.
func (r *rig) good(cdb, out []byte) []byte {
	r.t.Helper()
	a := r.run(cdb, out)
	if a.status != scsi.Good {
		r.t.Fatalf("% x: %v, %s", cdb, a.status, a.describe())
	}
	return a.in
}

// refused is run for a command that must end with this sense key and code.
func (r *rig) refused(cdb, out []byte, key scsi.SenseKey, code scsi.SenseCode) answer {
	r.t.Helper()
	a := r.run(cdb, out)
	a.want(r.t, cdb, key, code)
	return a
}

func (a answer) want(t testing.TB, cdb []byte, key scsi.SenseKey, code scsi.SenseCode) {
	t.Helper()
	if a.status != scsi.CheckCondition || a.key() != key || a.code() != code {
		t.Errorf("% x: %v, %s; want %v, %v", cdb, a.status, a.describe(), key, code)
	}
}

// The accessors of fixed format sense data.
func (a answer) key() scsi.SenseKey {
	if len(a.sense) < 18 {
		return 0
	}
	return scsi.SenseKey(a.sense[2] & 0xf)
}

func (a answer) code() scsi.SenseCode {
	if len(a.sense) < 18 {
		return 0
	}
	return scsi.SenseCode(binary.BigEndian.Uint16(a.sense[12:]))
}

func (a answer) deferred() bool { return len(a.sense) > 0 && a.sense[0]&0x7f == 0x71 }

func (a answer) describe() string {
	return fmt.Sprintf("%v, %v (% x)", a.key(), a.code(), a.sense)
}

// information is the INFORMATION field, or -1.
func (a answer) information() int64 {
	if len(a.sense) < 18 || a.sense[0]&0x80 == 0 {
		return -1
	}
	return int64(binary.BigEndian.Uint32(a.sense[3:]))
}

// field is the field pointer: the byte, negative for one in the parameter list,
// and the bit or -1. Without one it is (0, -2).
func (a answer) field() (at, bit int) {
	if len(a.sense) < 18 || a.sense[15]&0x80 == 0 {
		return 0, -2
	}
	at, bit = int(binary.BigEndian.Uint16(a.sense[16:])), -1
	if a.sense[15]&0x40 == 0 {
		at = -at
	}
	if a.sense[15]&0x08 != 0 {
		bit = int(a.sense[15] & 7)
	}
	return at, bit
}

func (a answer) wantField(t testing.TB, at, bit int) {
	t.Helper()
	if gotAt, gotBit := a.field(); gotAt != at || gotBit != bit {
		t.Errorf("field pointer: byte %d bit %d; want byte %d bit %d", gotAt, gotBit, at, bit)
	}
}

// cdb builds the CDB of a command of blocks; code is the service action in the
// 32-byte form.
func cdb(f form, code byte, flags byte, lba, blocks uint64) []byte {
	c := make([]byte, int(f))
	c[0] = code
	switch f {
	case form6:
		c[1], c[2], c[3], c[4] = byte(lba>>16), byte(lba>>8), byte(lba), byte(blocks)
		return c
	case form10:
		binary.BigEndian.PutUint32(c[2:], uint32(lba))
		binary.BigEndian.PutUint16(c[7:], uint16(blocks))
	case form12:
		binary.BigEndian.PutUint32(c[2:], uint32(lba))
		binary.BigEndian.PutUint32(c[6:], uint32(blocks))
	case form16:
		binary.BigEndian.PutUint64(c[2:], lba)
		binary.BigEndian.PutUint32(c[10:], uint32(blocks))
	case form32:
		c[0], c[7], c[9] = variableLength, 24, code
		binary.BigEndian.PutUint64(c[12:], lba)
		binary.BigEndian.PutUint32(c[28:], uint32(blocks))
	}
	c[f.flagsByte()] |= flags
	return c
}

func read10(lba, blocks uint64) []byte  { return cdb(form10, 0x28, 0, lba, blocks) }
func write10(lba, blocks uint64) []byte { return cdb(form10, 0x2a, 0, lba, blocks) }

// pattern is n bytes that differ with seed and from block to block.
func pattern(n int, seed byte) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i) ^ byte(i>>9)*31 ^ seed
	}
	return p
}

// content is what the store holds, read around the device.
func (r *rig) content(lba, blocks uint64) []byte {
	r.t.Helper()
	p := make([]byte, int(blocks)*r.device.blockSize)
	if _, err := r.store.Store.ReadAt(p, r.device.offset(lba)); err != nil {
		r.t.Fatal(err)
	}
	return p
}

func (r *rig) wantContent(lba uint64, want []byte) {
	r.t.Helper()
	got := r.content(lba, uint64(len(want)/r.device.blockSize))
	if i := difference(got, want); i >= 0 {
		r.t.Errorf("the medium differs from byte %d of block %d on: %x, want %x", i%r.device.blockSize,
			lba+uint64(i/r.device.blockSize), got[i], want[i])
	}
}

// A recorder is a volatile memory store that notes what is asked of it, and fails
// as it is told.
type recorder struct {
	*memory.Store
	size     int64
	features backstore.Features
	geometry func(*backstore.Geometry)
	fail     func(op string, off, n int64) error // nil: nothing fails
	space    func() (backstore.Space, error)     // asked with TellsSpace among the features

	mu    sync.Mutex
	diary []string

	writes, throughs, syncs, unmaps, zeros, reads atomic.Int64
}

func newRecorder(t testing.TB, size int64) *recorder {
	t.Helper()
	s, err := memory.New(size)
	if err != nil {
		t.Fatal(err)
	}
	return &recorder{Store: s, size: size, features: s.Features() | backstore.CanWriteThrough}
}

func (s *recorder) Features() backstore.Features { return s.features }

func (s *recorder) Geometry() backstore.Geometry {
	g := s.Store.Geometry()
	g.Volatile = true
	if s.geometry != nil {
		s.geometry(&g)
	}
	return g
}

func (s *recorder) Space() (backstore.Space, error) { return s.space() }

func (s *recorder) note(op string, off, n int64) error {
	s.mu.Lock()
	s.diary = append(s.diary, op)
	s.mu.Unlock()
	if s.fail != nil {
		return s.fail(op, off, n)
	}
	return nil
}

func (s *recorder) ReadAt(p []byte, off int64) (int, error) {
	s.reads.Add(1)
	if s.fail != nil {
		if err := s.fail("read", off, int64(len(p))); err != nil {
			return 0, err
		}
	}
	return s.Store.ReadAt(p, off)
}

func (s *recorder) TryReadAt(p []byte, off int64) (int, error) { return s.ReadAt(p, off) }

func (s *recorder) WriteAt(p []byte, off int64) (int, error) {
	s.writes.Add(1)
	if err := s.note("write", off, int64(len(p))); err != nil {
		return 0, err
	}
	return s.Store.WriteAt(p, off)
}

func (s *recorder) TryWriteAt(p []byte, off int64) (int, error) { return s.WriteAt(p, off) }

func (s *recorder) WriteThroughAt(p []byte, off int64) (int, error) {
	s.throughs.Add(1)
	if err := s.note("write through", off, int64(len(p))); err != nil {
		return 0, err
	}
	return s.Store.WriteAt(p, off)
}

func (s *recorder) Sync() error {
	s.syncs.Add(1)
	return s.note("sync", 0, 0)
}

func (s *recorder) UnmapAt(off, n int64) error {
	s.unmaps.Add(1)
	if err := s.note("unmap", off, n); err != nil {
		return err
	}
	return s.Store.UnmapAt(off, n)
}

func (s *recorder) ZeroAt(off, n int64, unmap bool) error {
	s.zeros.Add(1)
	if err := s.note("zero", off, n); err != nil {
		return err
	}
	return s.Store.ZeroAt(off, n, unmap)
}

// forget empties the diary.
func (s *recorder) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.diary = nil
}

// noted is the diary.
func (s *recorder) noted() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.diary)
}

// wantNoted compares the diary, and empties it.
func (r *rig) wantNoted(want ...string) {
	r.t.Helper()
	if got := r.store.noted(); !slices.Equal(got, want) {
		r.t.Errorf("the store was asked to %q, want %q", got, want)
	}
	r.store.forget()
}
