package backstore_test

import (
	"errors"
	"fmt"
	"io"
	"math"
	"syscall"
	"testing"

	"github.com/isantarget/isantarget/backstore"
)

// plain is a store without any capability. What it was asked is in calls; err
// makes a call fail after n bytes.
type plain struct {
	geometry backstore.Geometry
	bytes    []byte
	calls    []string
	n        int
	err      error
}

func newPlain(size int) *plain {
	return &plain{geometry: backstore.Geometry{Size: int64(size), Volatile: true}, bytes: make([]byte, size)}
}

func (s *plain) called(format string, args ...any) {
	s.calls = append(s.calls, fmt.Sprintf(format, args...))
}

func (s *plain) ReadAt(p []byte, off int64) (int, error) {
	s.called("ReadAt(%d, %d)", len(p), off)
	if s.err != nil {
		return s.n, s.err
	}
	return copy(p, s.bytes[off:]), nil
}

func (s *plain) WriteAt(p []byte, off int64) (int, error) {
	s.called("WriteAt(%d, %d)", len(p), off)
	if s.err != nil {
		return s.n, s.err
	}
	return copy(s.bytes[off:], p), nil
}

func (s *plain) Sync() error                  { s.called("Sync"); return s.err }
func (s *plain) Geometry() backstore.Geometry { return s.geometry }
func (s *plain) Close() error                 { s.called("Close"); return s.err }

func (s *plain) expect(t *testing.T, want ...string) {
	t.Helper()
	if fmt.Sprint(s.calls) != fmt.Sprint(want) {
		t.Errorf("the store was asked %v, want %v", s.calls, want)
	}
	s.calls = nil
}

// capable has all capabilities, and says which of them hold.
type capable struct {
	*plain
	features backstore.Features
	answer   error // of ZeroAt, UnmapAt and CopyAt
	pieces   int64 // bytes of an extent; each second one is a hole
}

func (s capable) Features() backstore.Features { return s.features }
func (s capable) UnmapAt(off, length int64) error {
	s.called("UnmapAt(%d, %d)", off, length)
	return s.answer
}
func (s capable) ZeroAt(off, length int64, unmap bool) error {
	s.called("ZeroAt(%d, %d, %v)", off, length, unmap)
	return s.answer
}
func (s capable) ExtentAt(off, length int64) (backstore.Extent, error) {
	s.called("ExtentAt(%d, %d)", off, length)
	e := backstore.Extent{Offset: off, Length: min(length, s.pieces-off%s.pieces)}
	if off/(4*s.pieces)%2 == 1 {
		e.State = backstore.Deallocated
	}
	return e, s.answer
}
func (s capable) WriteThroughAt(p []byte, off int64) (int, error) {
	s.called("WriteThroughAt(%d, %d)", len(p), off)
	return len(p), s.answer
}
func (s capable) CopyAt(off int64, from backstore.Store, fromOff, length int64) error {
	s.called("CopyAt(%d, %d, %d)", off, fromOff, length)
	return s.answer
}
func (s capable) CompareAndWriteAt(old, new []byte, off int64) (int, error) {
	s.called("CompareAndWriteAt(%d, %d)", len(new), off)
	return -1, s.answer
}
func (s capable) TryReadAt(p []byte, off int64) (int, error) {
	s.called("TryReadAt(%d, %d)", len(p), off)
	return len(p), s.answer
}
func (s capable) TryReadBatch(reads []backstore.Read) {
	for i := range reads {
		s.called("TryReadBatch(%d, %d)", len(reads[i].Data), reads[i].Offset)
		reads[i].Err = s.answer
	}
}
func (s capable) TryWriteAt(p []byte, off int64) (int, error) {
	s.called("TryWriteAt(%d, %d)", len(p), off)
	return len(p), s.answer
}

const everything = backstore.ReadsZeros<<1 - 1

// all calls everything a medium can do, once, on a range of 10 bytes at 100.
func all(m *backstore.Medium) []error {
	p := make([]byte, 10)
	errs := make([]error, 11)
	_, errs[0] = m.ReadAt(p, 100)
	_, errs[1] = m.TryReadAt(p, 100)
	_, errs[2] = m.WriteAt(p, 100)
	_, errs[3] = m.TryWriteAt(p, 100)
	_, errs[4] = m.WriteThroughAt(p, 100)
	errs[5] = m.UnmapAt(100, 10)
	errs[6] = m.ZeroAt(100, 10, true)
	_, errs[7] = m.ExtentAt(100, 10)
	errs[8] = m.CopyAt(100, m, 200, 10)
	_, errs[9] = m.CompareAndWriteAt(p, p, 100)
	together := []backstore.Read{{Data: p, Offset: 100}}
	m.TryReadBatch(together)
	errs[10] = together[0].Err
	return errs
}

func TestMedium_Native(t *testing.T) {
	s := capable{plain: newPlain(1000), features: everything, pieces: 1000}
	for i, err := range all(backstore.Bind(s)) {
		if err != nil {
			t.Errorf("call %d: %v", i, err)
		}
	}
	s.expect(t, "ReadAt(10, 100)", "TryReadAt(10, 100)", "WriteAt(10, 100)", "TryWriteAt(10, 100)", "WriteThroughAt(10, 100)",
		"UnmapAt(100, 10)", "ZeroAt(100, 10, true)", "ExtentAt(100, 10)", "CopyAt(100, 200, 10)", "CompareAndWriteAt(10, 100)", "TryReadBatch(10, 100)")
}

// What a store has methods for, but denies, is emulated as if it had none.
func TestMedium_Emulated(t *testing.T) {
	denying := capable{plain: newPlain(1000), pieces: 1000}
	for name, store := range map[string]interface {
		backstore.Store
		expect(*testing.T, ...string)
	}{"without methods": newPlain(1000), "without features": denying} {
		t.Run(name, func(t *testing.T) {
			m := backstore.Bind(store)
			if m.Features() != 0 {
				t.Errorf("the features are %v", m.Features())
			}
			for i, err := range all(m) {
				switch i {
				case 1, 3, 10:
					if err != backstore.ErrWouldBlock {
						t.Errorf("call %d: %v, want ErrWouldBlock itself", i, err)
					}
				case 5:
					if !errors.Is(err, errors.ErrUnsupported) {
						t.Errorf("UnmapAt: %v, want errors.ErrUnsupported", err)
					}
				default:
					if err != nil {
						t.Errorf("call %d: %v", i, err)
					}
				}
			}
			store.expect(t, "ReadAt(10, 100)", "WriteAt(10, 100)",
				"WriteAt(10, 100)", "Sync", // through
				"WriteAt(10, 100)",                    // zeros
				"ReadAt(10, 200)", "WriteAt(10, 100)", // copy
				"ReadAt(10, 100)", "WriteAt(10, 100)") // compare and write
		})
	}
}

func TestMedium_ZerosInPieces(t *testing.T) {
	s := newPlain(200 << 10)
	for i := range s.bytes {
		s.bytes[i] = 0xff
	}
	if err := backstore.Bind(s).ZeroAt(100, 150<<10, false); err != nil {
		t.Fatal(err)
	}
	s.expect(t, "WriteAt(65536, 100)", "WriteAt(65536, 65636)", "WriteAt(22528, 131172)")
	for i, b := range s.bytes {
		if inside := i >= 100 && i < 100+150<<10; (b == 0) != inside {
			t.Fatalf("byte %d is %#x", i, b)
		}
	}
}

// A store that cannot zero this range asks for the zeros to be written; one that
// leaves zeros where it unmaps can do it that way.
func TestMedium_ZeroFallback(t *testing.T) {
	s := capable{plain: newPlain(1000), features: everything &^ backstore.CanUnmap, answer: errors.ErrUnsupported}
	if err := backstore.Bind(s).ZeroAt(5, 10, true); err != nil {
		t.Error(err)
	}
	s.expect(t, "ZeroAt(5, 10, true)", "WriteAt(10, 5)")
	for features, want := range map[backstore.Features]string{
		backstore.CanUnmap | backstore.ReadsZeros: "UnmapAt(5, 10)",
		backstore.CanUnmap:                        "WriteAt(10, 5)",
	} {
		s := capable{plain: newPlain(1000), features: features}
		if err := backstore.Bind(s).ZeroAt(5, 10, true); err != nil {
			t.Error(err)
		}
		s.expect(t, want)
	}
}

func TestMedium_JoinsExtents(t *testing.T) {
	s := capable{plain: newPlain(100000), features: everything, pieces: 10}
	m := backstore.Bind(s)
	for off, want := range map[int64]backstore.Extent{
		0:  {Offset: 0, Length: 40, State: backstore.Mapped},
		15: {Offset: 15, Length: 25, State: backstore.Mapped},
		40: {Offset: 40, Length: 40, State: backstore.Deallocated},
	} {
		if got, err := m.ExtentAt(off, 1000); err != nil || got != want {
			t.Errorf("ExtentAt(%d) is %v, %v, want %v", off, got, err, want)
		}
	}
	// A mapped run without end: the work is bounded, the answer is true.
	s = capable{plain: newPlain(100000), features: everything, pieces: 1 << 40}
	s.plain.geometry.Size = 1 << 50
	if got, err := backstore.Bind(s).ExtentAt(0, 1<<41); err != nil || got.State != backstore.Mapped || got.Length <= 0 {
		t.Errorf("ExtentAt is %v, %v", got, err)
	}
}

func TestMedium_Ranges(t *testing.T) {
	s := capable{plain: newPlain(1000), features: everything, pieces: 1000}
	m := backstore.Bind(s)
	for _, r := range [][3]int64{ // offset, length, first byte that is not there
		{-1, 10, -1}, {math.MinInt64, 10, math.MinInt64}, {1000, 1, 1000}, {995, 10, 1000}, {2000, 10, 2000},
		{math.MaxInt64, 10, math.MaxInt64}, {1001, 0, 1001}, {0, 1001, 1000},
	} {
		p := make([]byte, r[1])
		_, readErr := m.ReadAt(p, r[0])
		_, tryErr := m.TryReadAt(p, r[0])
		_, writeErr := m.WriteAt(p, r[0])
		_, tryWriteErr := m.TryWriteAt(p, r[0])
		_, throughErr := m.WriteThroughAt(p, r[0])
		_, mapErr := m.ExtentAt(r[0], r[1])
		_, compareErr := m.CompareAndWriteAt(p, p, r[0])
		for i, err := range []error{readErr, tryErr, writeErr, tryWriteErr, throughErr, mapErr, compareErr,
			m.UnmapAt(r[0], r[1]), m.ZeroAt(r[0], r[1], true), m.CopyAt(r[0], m, 0, r[1]), m.CopyAt(0, m, r[0], r[1])} {
			var e *backstore.Error
			if !errors.Is(err, backstore.ErrRange) || !errors.As(err, &e) {
				t.Errorf("call %d, %d bytes at %d: %v, want ErrRange", i, r[1], r[0], err)
			} else if e.Offset != r[2] && i != 9 && i != 10 {
				t.Errorf("call %d, %d bytes at %d: the first byte that is not there is said to be %d", i, r[1], r[0], e.Offset)
			}
		}
	}
	for _, err := range []error{m.UnmapAt(0, -1), m.ZeroAt(0, math.MinInt64, false), m.CopyAt(0, m, 0, -1)} {
		if !errors.Is(err, backstore.ErrRange) {
			t.Errorf("a negative length: %v, want ErrRange", err)
		}
	}
	s.expect(t)
	for i, err := range []error{m.UnmapAt(1000, 0), m.ZeroAt(1000, 0, true), m.CopyAt(1000, m, 0, 0)} {
		if err != nil {
			t.Errorf("empty range %d: %v", i, err)
		}
	}
	if e, err := m.ExtentAt(1000, 0); err != nil || e.Length != 0 {
		t.Errorf("an empty range: %v, %v", e, err)
	}
	s.expect(t)
}

func TestMedium_ReadOnly(t *testing.T) {
	s := capable{plain: newPlain(1000), features: everything, pieces: 1000}
	s.plain.geometry.ReadOnly = true
	for i, err := range all(backstore.Bind(s)) {
		switch i {
		case 0, 1, 7, 10:
			if err != nil {
				t.Errorf("call %d: %v", i, err)
			}
		default:
			if !errors.Is(err, backstore.ErrReadOnly) {
				t.Errorf("call %d: %v, want ErrReadOnly", i, err)
			}
		}
	}
	s.expect(t, "ReadAt(10, 100)", "TryReadAt(10, 100)", "ExtentAt(100, 10)", "TryReadBatch(10, 100)")
}

// An error names the first byte that failed, whoever made it, and keeps its cause.
func TestMedium_ErrorOffsets(t *testing.T) {
	s := newPlain(1000)
	m := backstore.Bind(s)
	p := make([]byte, 100)
	s.err = syscall.EIO
	for _, n := range []int{-1, 0, 37, 99} {
		s.n = n
		_, readErr := m.ReadAt(p, 200)
		_, writeErr := m.WriteAt(p, 200)
		for _, err := range []error{readErr, writeErr, m.ZeroAt(200, 100, false)} {
			var e *backstore.Error
			if want := int64(200 + max(n, 0)); !errors.As(err, &e) || e.Offset != want || e.Length != 300-want || !errors.Is(err, syscall.EIO) {
				t.Errorf("after %d bytes: %v, want byte %d", n, err, want)
			}
		}
	}
	for i, err := range all(m) {
		var e *backstore.Error
		if i == 1 || i == 3 || i == 5 || i == 7 || i == 10 { // nothing was asked of the store
			continue
		}
		if !errors.As(err, &e) || !errors.Is(err, syscall.EIO) {
			t.Errorf("call %d: %v, want EIO in an Error", i, err)
		}
	}
	deep := &backstore.Error{Op: "decrypt", Offset: 7, Length: 3, Err: syscall.EBADMSG}
	s.err = fmt.Errorf("layer: %w", deep)
	var e *backstore.Error
	if _, err := m.ReadAt(p, 200); !errors.As(err, &e) || e != deep {
		t.Errorf("the Error of a store does not come through: %v", err)
	}
	if err := m.Sync(); !errors.As(err, &e) || e.Op != deep.Op || e.Offset != deep.Offset || !errors.Is(err, deep.Err) || !errors.Is(err, backstore.ErrLost) {
		t.Errorf("the Error of Sync does not come through: %v", err)
	}
}

// Stores that break the contracts of io.ReaderAt and io.WriterAt.
func TestMedium_ShortTransfers(t *testing.T) {
	s := short{newPlain(1000)}
	m := backstore.Bind(s)
	p := make([]byte, 100)
	var e *backstore.Error
	if n, err := m.ReadAt(p, 0); n != 60 || !errors.Is(err, io.ErrUnexpectedEOF) || !errors.As(err, &e) || e.Offset != 60 {
		t.Errorf("a short read: %d, %v", n, err)
	}
	if n, err := m.WriteAt(p, 0); n != 60 || !errors.Is(err, io.ErrShortWrite) || !errors.As(err, &e) || e.Offset != 60 {
		t.Errorf("a short write: %d, %v", n, err)
	}
	s.plain.err, s.plain.n = io.EOF, 100 // io.ReaderAt allows it at the end
	if n, err := backstore.Bind(s.plain).ReadAt(p, 900); n != 100 || err != nil {
		t.Errorf("a whole read with io.EOF: %d, %v", n, err)
	}
	s.plain.err = backstore.ErrGone // it was closed meanwhile: whatever was moved is not its content
	for what, call := range map[string]func([]byte, int64) (int, error){
		"read": backstore.Bind(s.plain).ReadAt, "write": backstore.Bind(s.plain).WriteAt,
	} {
		if _, err := call(p, 900); !errors.Is(err, backstore.ErrGone) || !errors.As(err, &e) || e.Offset != 900 {
			t.Errorf("a whole %s with an error: %v", what, err)
		}
	}
}

type short struct{ *plain }

func (s short) ReadAt(p []byte, off int64) (int, error)  { return len(p) * 6 / 10, nil }
func (s short) WriteAt(p []byte, off int64) (int, error) { return len(p) * 6 / 10, nil }

// Only a volatile store has to sync after an emulated write through; and if the
// sync fails, no byte of the write can be relied on.
func TestMedium_WriteThroughEmulated(t *testing.T) {
	s := newPlain(1000)
	s.geometry.Volatile = false
	if _, err := backstore.Bind(s).WriteThroughAt(make([]byte, 10), 0); err != nil {
		t.Error(err)
	}
	s.expect(t, "WriteAt(10, 0)")
	n, err := backstore.Bind(failingSync{newPlain(1000)}).WriteThroughAt(make([]byte, 10), 5)
	var e *backstore.Error
	if n != 0 || !errors.Is(err, syscall.EIO) || !errors.As(err, &e) || e.Offset != 5 || e.Length != 10 {
		t.Errorf("a failed sync: %d, %v", n, err)
	}
}

type failingSync struct{ *plain }

func (failingSync) Sync() error { return syscall.EIO }

func TestMedium_CopyOverItself(t *testing.T) {
	const size = 2 << 20
	for _, c := range [][3]int{{1000, 0, 700000}, {0, 1000, 700000}, {300000, 0, size - 300000}, {0, 600000, 600000}, {9, 9, 100}} {
		s := newPlain(size)
		for i := range s.bytes {
			s.bytes[i] = byte(i * 7 / 1000)
		}
		want := append([]byte(nil), s.bytes...)
		copy(want[c[0]:c[0]+c[2]], s.bytes[c[1]:c[1]+c[2]])
		m := backstore.Bind(s)
		if err := m.CopyAt(int64(c[0]), m, int64(c[1]), int64(c[2])); err != nil {
			t.Fatal(err)
		}
		for i := range want {
			if s.bytes[i] != want[i] {
				t.Fatalf("CopyAt%v: byte %d differs", c, i)
			}
		}
	}
}

func TestMedium_CopyErrors(t *testing.T) {
	from, to := newPlain(1000), newPlain(1000)
	from.err, from.n = syscall.EIO, 3
	var e *backstore.Error
	err := backstore.Bind(to).CopyAt(0, backstore.Bind(from), 500, 100)
	if !errors.As(err, &e) || e.Op != "copy from" || e.Offset != 503 {
		t.Errorf("a source that fails: %v", err)
	}
	from.err = nil
	to.err, to.n = syscall.ENOSPC, 4
	err = backstore.Bind(to).CopyAt(10, backstore.Bind(from), 500, 100)
	if !errors.As(err, &e) || e.Op == "copy from" || e.Offset != 14 || !errors.Is(err, backstore.ErrNoSpace) {
		t.Errorf("a target that fails: %v", err)
	}
}

func TestMedium_TryAnswers(t *testing.T) {
	for _, c := range []struct{ answer, want error }{
		{backstore.ErrWouldBlock, backstore.ErrWouldBlock}, {syscall.EIO, syscall.EIO}, {nil, nil},
	} {
		m := backstore.Bind(capable{plain: newPlain(1000), features: everything, answer: c.answer})
		_, readErr := m.TryReadAt(make([]byte, 10), 0)
		_, writeErr := m.TryWriteAt(make([]byte, 10), 0)
		together := []backstore.Read{{Data: make([]byte, 10)}}
		m.TryReadBatch(together)
		for _, err := range []error{readErr, writeErr, together[0].Err} {
			if !errors.Is(err, c.want) || (c.want == backstore.ErrWouldBlock && err != backstore.ErrWouldBlock) {
				t.Errorf("a try that the store answers with %v: %v", c.answer, err)
			}
		}
	}
}

// A layer that embeds the interface Store hides what the store below can do.
func TestFeatures_HiddenByEmbedding(t *testing.T) {
	below := capable{plain: newPlain(1000), features: everything}
	if f := backstore.FeaturesOf(below); f != everything {
		t.Errorf("the store has %v", f)
	}
	if f := backstore.FeaturesOf(struct{ backstore.Store }{below}); f != 0 {
		t.Errorf("through a careless layer come %v", f)
	}
}

func TestFeatures_Text(t *testing.T) {
	for f, want := range map[backstore.Features]string{
		0: "none", backstore.CanUnmap: "unmap", backstore.CanMap | backstore.ReadsZeros: "map, reads zeros",
	} {
		if got := f.String(); got != want {
			t.Errorf("%d is %q, want %q", f, got, want)
		}
	}
}

// A flaky store fails its syncs while fail is set, and its write throughs.
type flaky struct {
	*plain
	fail error
}

func (f *flaky) Sync() error { return f.fail }
func (f *flaky) Geometry() backstore.Geometry {
	g := f.plain.Geometry()
	g.Volatile = true
	return g
}

// Once a sync has failed, no success of the store makes good for it: only who knows
// what may be lost.
func TestMedium_FailedSync(t *testing.T) {
	for name, first := range map[string]func(*backstore.Medium) error{
		"sync":          (*backstore.Medium).Sync,
		"write through": func(m *backstore.Medium) error { _, err := m.WriteThroughAt([]byte{1}, 0); return err },
	} {
		s := &flaky{plain: newPlain(1000)}
		m := backstore.Bind(s)
		if _, unsynced := m.Unsynced(); unsynced {
			t.Error("a new medium is unsynced")
		}
		m.WriteAt([]byte{7}, 0)
		before, unsynced := m.Unsynced()
		if !unsynced || m.Lost() != nil {
			t.Errorf("after a write: unsynced %v, lost %v", unsynced, m.Lost())
		}
		s.fail = syscall.EIO
		if err := first(m); !errors.Is(err, backstore.ErrLost) || !errors.Is(err, syscall.EIO) {
			t.Errorf("the %s that fails: %v", name, err)
		}
		s.fail = nil
		p := make([]byte, 1)
		for what, do := range map[string]func() error{
			"Sync": m.Sync, "WriteAt": func() error { _, err := m.WriteAt(p, 0); return err },
			"UnmapAt": func() error { return m.UnmapAt(0, 1) }, "ZeroAt": func() error { return m.ZeroAt(0, 1, false) },
			"CopyAt":            func() error { return m.CopyAt(0, m, 1, 1) },
			"WriteThroughAt":    func() error { _, err := m.WriteThroughAt(p, 0); return err },
			"CompareAndWriteAt": func() error { _, err := m.CompareAndWriteAt(p, p, 0); return err },
		} {
			if err := do(); !errors.Is(err, backstore.ErrLost) || !errors.Is(err, syscall.EIO) {
				t.Errorf("%s after the failed %s: %v", what, name, err)
			}
		}
		if _, err := m.ReadAt(p, 0); err != nil {
			t.Errorf("a read after the failed %s: %v", name, err)
		}
		if since, unsynced := m.Unsynced(); !unsynced || !since.Equal(before) {
			t.Errorf("unsynced %v since %v, want since %v", unsynced, since, before)
		}
		s.fail = syscall.EIO
		if err := m.Trust(); !errors.Is(err, syscall.EIO) || m.Lost() == nil {
			t.Errorf("Trust in a store that cannot sync: %v", err)
		}
		s.fail = nil
		if err := m.Trust(); err != nil || m.Lost() != nil {
			t.Errorf("Trust: %v", err)
		}
		if _, err := m.WriteAt(p, 0); err != nil {
			t.Errorf("a write after Trust: %v", err)
		}
		if err := m.Sync(); err != nil {
			t.Errorf("a sync after Trust: %v", err)
		}
		if _, unsynced := m.Unsynced(); unsynced {
			t.Error("unsynced after a sync")
		}
	}
}

// hanging is a store whose Sync waits to be told how it ends.
type hanging struct {
	*plain
	begun chan struct{}
	ends  chan error
}

func (h hanging) Sync() error {
	h.begun <- struct{}{}
	return <-h.ends
}

// What a sync is about to make durable is not so before it has ended: who looks meanwhile
// what is lost with a store that goes away must not find everything in order.
func TestMedium_UnsyncedMeanwhile(t *testing.T) {
	h := hanging{newPlain(1000), make(chan struct{}), make(chan error)}
	m := backstore.Bind(h)
	for _, dirty := range []bool{false, true} {
		if dirty {
			m.WriteAt([]byte{7}, 0)
		}
		ended := make(chan error)
		go func() { ended <- m.Sync() }()
		<-h.begun
		if _, unsynced := m.Unsynced(); unsynced != dirty {
			t.Errorf("while a sync is under way: unsynced %v, want %v", unsynced, dirty)
		}
		h.ends <- nil
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		if _, unsynced := m.Unsynced(); unsynced {
			t.Error("unsynced after the sync")
		}
	}
}
